//! Opens what DockFlare sealed: Fernet, AES-128 in CBC mode under HMAC-SHA256. Only reading is here.

use aes::cipher::{BlockDecrypt, KeyInit as _};
use aes::{Aes128, Block};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 0x80;
const BLOCK: usize = 16;
/// Version and time stand before the first block.
const HEAD: usize = 9;
/// The proof at the end.
const PROOF: usize = 32;

/// A key of DockFlare (`dockflare.key`).
pub(super) struct Fernet {
    signing: Zeroizing<[u8; BLOCK]>,
    sealing: Zeroizing<[u8; BLOCK]>,
}

impl Fernet {
    /// Reads a key file.
    pub(super) fn new(file: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "it is no key of DockFlare, which are 44 characters of base64";
        let bytes = Zeroizing::new(URL_SAFE.decode(file.trim_ascii()).map_err(|_| WRONG)?);
        let (signing, sealing) = bytes.split_at_checked(BLOCK).ok_or(WRONG)?;
        Ok(Self {
            signing: Zeroizing::new(signing.try_into().map_err(|_| WRONG)?),
            sealing: Zeroizing::new(sealing.try_into().map_err(|_| WRONG)?),
        })
    }

    /// Opens what was sealed with this key. How old it is does not matter.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        const WRONG: &str = "it is not what DockFlare seals, or is cut off";
        let bytes = URL_SAFE.decode(sealed.trim_ascii()).map_err(|_| WRONG)?;
        let (signed, proof) = bytes.split_at_checked(bytes.len().saturating_sub(PROOF)).ok_or(WRONG)?;
        if signed.first() != Some(&VERSION) || signed.len() < HEAD + 2 * BLOCK {
            return Err(WRONG);
        }
        let mut mac =
            <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(self.signing.as_slice()).map_err(|_| WRONG)?;
        mac.update(signed);
        mac.verify_slice(proof).map_err(|_| "it was sealed with another key, or was changed since")?;
        let (vector, text) = signed.get(HEAD..).and_then(|rest| rest.split_at_checked(BLOCK)).ok_or(WRONG)?;
        self.decrypt(vector, text).ok_or(WRONG)
    }

    /// Each block is mixed with the sealed one before it.
    fn decrypt(&self, vector: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let cipher = Aes128::new_from_slice(self.sealing.as_slice()).ok()?;
        let mut before = vector;
        let mut open = Zeroizing::new(Vec::with_capacity(text.len()));
        let blocks = text.chunks_exact(BLOCK);
        if !blocks.remainder().is_empty() {
            return None;
        }
        for sealed in blocks {
            let mut block = Block::default();
            block.copy_from_slice(sealed);
            cipher.decrypt_block(&mut block);
            open.extend(block.iter().zip(before).map(|(byte, mixed)| byte ^ mixed));
            before = sealed;
        }
        // The last byte says how many were filled in.
        let filled = usize::from(*open.last()?);
        let length = open.len().checked_sub(filled)?;
        let is_right = (1..=BLOCK).contains(&filled)
            && open.iter().skip(length).all(|byte| usize::from(*byte) == filled);
        is_right.then(|| {
            open.truncate(length);
            open
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification of Fernet.
    const KEY: &[u8] = b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n";
    const TOKEN: &[u8] =
        b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    #[test]
    fn what_the_specification_sealed_is_opened() {
        let open = Fernet::new(KEY).unwrap().open(TOKEN).unwrap();
        assert_eq!(open.as_slice(), b"hello");
    }

    #[test]
    fn what_was_changed_or_is_none_is_refused() {
        let fernet = Fernet::new(KEY).unwrap();
        let mut changed = TOKEN.to_vec();
        changed[40] ^= 1;
        for (sealed, words) in [
            (changed.as_slice(), "another key"),
            (&TOKEN[..60], "cut off"),
            (b"", "cut off"),
            (b"{\"keys\":{}}", "cut off"),
        ] {
            assert!(fernet.open(sealed).unwrap_err().contains(words), "{sealed:?}");
        }
        let other = Fernet::new(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        assert!(other.open(TOKEN).unwrap_err().contains("another key"));
        for key in [&b""[..], b"short", b"AAAAAAAAAAAAAAAAAAAAAA==", b"!"] {
            assert!(Fernet::new(key).is_err(), "{key:?}");
        }
    }
}
