//! The name of a content: an algorithm and its hash.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// A content's hash, such as `sha256:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` with 64 hex digits, or `sha512:` with 128")]
pub struct NoDigest;

impl Digest {
    /// Reads one; hex digits may be capitals.
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.trim().split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let is_hash = hex.len() == length && hex.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| Self(format!("{algorithm}:{}", hex.to_ascii_lowercase())))
    }

    /// Returns the SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// True if it is the hash of these bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        match self.0.starts_with("sha512:") {
            true => self.0 == format!("sha512:{}", hex::encode(Sha512::digest(bytes))),
            false => *self == Self::of(bytes),
        }
    }

    /// Returns it whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns as much of it as people compare.
    pub fn short(&self) -> &str {
        &self.0[.."sha256:".len() + 12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        Self::parse(&text).ok_or(NoDigest)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_an_algorithm_and_all_its_digits() {
        let hex = "0123456789abcdef".repeat(4);
        for (text, is_one) in [
            (format!("sha256:{hex}"), true),
            (format!("sha256:{}", hex.to_uppercase()), true),
            (format!("sha512:{hex}{hex}"), true),
            (format!("sha512:{hex}"), false),
            (format!("sha256:{}", &hex[1..]), false),
            (format!("sha256:{}g", &hex[1..]), false),
            (format!("md5:{hex}"), false),
            (hex.clone(), false),
            (String::new(), false),
        ] {
            assert_eq!(Digest::parse(&text).is_some(), is_one, "{text}");
        }
        let digest = Digest::parse(&format!("sha256:{}", hex.to_uppercase())).unwrap();
        assert_eq!(
            (digest.as_str(), digest.short()),
            (format!("sha256:{hex}").as_str(), "sha256:0123456789ab")
        );
    }

    #[test]
    fn bytes_are_told_from_others() {
        let digest = Digest::of(b"a");
        assert!(digest.is_of(b"a") && !digest.is_of(b"b"));
        let long = Digest::parse(&format!("sha512:{}", hex::encode(Sha512::digest(b"a")))).unwrap();
        assert!(long.is_of(b"a") && !long.is_of(b"b"));
    }
}
