//! The key that secrets are sealed with, which is not in the database.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entities::secret;
use crate::chance::Chance;
use crate::domain::id::SecretId;

/// Why a secret or the key to it cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// No key was given.
    #[error("no secret key is loaded; it is `secret.key` in the state directory, or LIGHTSHIP_SECRET_KEY")]
    NoKey,
    /// The key is not 32 bytes.
    #[error(
        "secret key in {place} is not 64 hex digits or 32 bytes of base64; put back the key that was made \
             with this database, or remove it to have one made if nothing is stored yet"
    )]
    NotAKey {
        /// The file, or the variable.
        place: String,
    },
    /// The key file cannot be read or made.
    #[error("cannot use `{}`: {reason}; its folder must be writable, with space left, and the file readable for this user \
             only (mode 0600)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Stored secrets were sealed with another key.
    #[error(
        "the stored secrets were sealed with key `{stored}`, but {place} holds key `{given}`; put back the \
             key that belongs to this database (it is part of every backup)"
    )]
    WrongKey {
        /// Id of the key that is needed.
        stored: String,
        /// Id of the key that was given.
        given: String,
        /// Where that came from.
        place: String,
    },
    /// The file with the key of the stored secrets is gone.
    #[error(
        "the stored secrets were sealed with key `{stored}`, and `{}` is not there; put it back (it is part of every \
         backup), or give the key in LIGHTSHIP_SECRET_KEY", path.display()
    )]
    KeyGone {
        /// Id of the key that is needed.
        stored: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The stored bytes are not what was sealed.
    #[error("secret `{id}` cannot be opened: it was changed or sealed with another key; store it again")]
    Broken {
        /// Which secret.
        id: SecretId,
    },
}

/// The key that secrets are sealed with. Never shown; wiped with its last holder.
#[derive(Clone)]
pub struct SecretKey(Arc<Parts>);

struct Parts {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
    place: String,
    chance: Chance,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.0.id)
    }
}

impl SecretKey {
    /// Returns the key of the environment if `from_env` is set, else of the file, which is made if it is absent.
    pub fn load(file: &Path, from_env: Option<&SecretString>, chance: Chance) -> Result<Self, SecretError> {
        if let Some(text) = from_env {
            return Self::parse(text.expose_secret(), "LIGHTSHIP_SECRET_KEY", chance);
        }
        let fail = |error: std::io::Error| SecretError::File { path: file.into(), reason: error.to_string() };
        match std::fs::read(file) {
            Ok(bytes) => Self::from_file(file, &Zeroizing::new(bytes), chance),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_file(file, &chance).map_err(fail)?;
                // Read back: another process may have been first.
                let bytes = Zeroizing::new(std::fs::read(file).map_err(fail)?);
                Self::from_file(file, &bytes, chance)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// A key that nobody else has: for databases in memory.
    pub fn random(chance: Chance) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        chance.fill(bytes.as_mut());
        Self::of(bytes, "memory", chance)
    }

    /// Names the key without giving it away.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    fn from_file(file: &Path, bytes: &[u8], chance: Chance) -> Result<Self, SecretError> {
        let place = format!("`{}`", file.display());
        if let Ok(metadata) = std::fs::metadata(file)
            && metadata.mode() & 0o077 != 0
        {
            tracing::warn!(file.path = %file.display(), "secret key can be read by other users; set mode 0600");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SecretError::NotAKey { place: place.clone() })?;
        Self::parse(text, &place, chance)
    }

    fn parse(text: &str, place: &str, chance: Chance) -> Result<Self, SecretError> {
        let text = text.trim();
        let decoded = Zeroizing::new(
            hex::decode(text)
                .ok()
                .or_else(|| STANDARD.decode(text).ok())
                .or_else(|| URL_SAFE_NO_PAD.decode(text).ok())
                .unwrap_or_default(),
        );
        let bytes: [u8; 32] =
            decoded.as_slice().try_into().map_err(|_| SecretError::NotAKey { place: place.into() })?;
        Ok(Self::of(Zeroizing::new(bytes), place, chance))
    }

    fn of(bytes: Zeroizing<[u8; 32]>, place: &str, chance: Chance) -> Self {
        let digest = Sha256::new().chain_update(b"lightship secret key id\0").chain_update(*bytes).finalize();
        Self(Arc::new(Parts { bytes, id: hex::encode(&digest[..8]), place: place.into(), chance }))
    }

    /// Where it was found.
    pub(super) fn place(&self) -> &str {
        &self.0.place
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&Key::from(*self.0.bytes))
    }

    /// Seals `plain`; id and purpose are bound to it, so that rows cannot be exchanged.
    pub(super) fn seal(&self, id: &SecretId, purpose: &str, plain: &SecretString, at: i64) -> secret::Model {
        let mut nonce = [0; 12];
        self.0.chance.fill(&mut nonce);
        let bound = bound_to(id, purpose);
        let payload = Payload { msg: plain.expose_secret().as_bytes(), aad: &bound };
        let ciphertext = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .expect("secrets are far below the cipher's limit");
        secret::Model {
            id: id.as_str().into(),
            purpose: purpose.into(),
            key_id: self.0.id.clone(),
            nonce: nonce.to_vec(),
            ciphertext,
            changed_at: at,
        }
    }

    pub(super) fn open(&self, row: &secret::Model) -> Result<SecretString, SecretError> {
        let id = SecretId::new(row.id.clone());
        let broken = || SecretError::Broken { id: id.clone() };
        let nonce: [u8; 12] = row.nonce.as_slice().try_into().map_err(|_| broken())?;
        let bound = bound_to(&id, &row.purpose);
        let payload = Payload { msg: &row.ciphertext, aad: &bound };
        let plain =
            Zeroizing::new(self.cipher().decrypt(&Nonce::from(nonce), payload).map_err(|_| broken())?);
        let text = std::str::from_utf8(&plain).map_err(|_| broken())?;
        Ok(SecretString::from(text))
    }
}

fn bound_to(id: &SecretId, purpose: &str) -> Vec<u8> {
    [id.as_str().as_bytes(), b"\0", purpose.as_bytes()].concat()
}

/// Writes a new key so that the file is there whole, or not at all, and never replaces one.
fn make_file(file: &Path, chance: &Chance) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut bytes = Zeroizing::new([0; 32]);
    chance.fill(bytes.as_mut());
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", chance.uuid()));
    let draft = PathBuf::from(name);
    let written = write_draft(&draft, &bytes).and_then(|()| match std::fs::hard_link(&draft, file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    // A draft that stays behind is of no use to anybody but an attacker.
    let removed = std::fs::remove_file(&draft);
    written?;
    removed?;
    File::open(folder)?.sync_all()
}

fn write_draft(draft: &Path, bytes: &[u8; 32]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let text = Zeroizing::new(hex::encode(bytes));
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
