//! The key that a master signs with, and which keys a host trusts.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What comes before a key in what the key before it signs.
const CONTEXT: &[u8] = b"lightship key 1\n";
/// So long an exchanged key is still good for orders that were signed before: none lives longer.
pub const OVERLAP: TimeDelta = TimeDelta::days(7);
/// Most exchanges that a host follows at once.
const MOST_ENDORSEMENTS: usize = 16;

/// What a master signs with. Never shown.
pub struct SigningKey(Ed25519KeyPair);

/// The public half, by which a signature is known: 32 bytes in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// What people compare: 128 bits of a key's SHA-256, in groups of four digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// A key's word for the one that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// The key that gives its word.
    pub from: PublicKey,
    /// The one that follows.
    pub to: PublicKey,
    /// The first one's signature, in hexadecimal digits.
    pub signature: String,
}

/// The key a master shows to a host, with the exchanges that led to it, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOffer {
    /// The key it signs with.
    pub key: PublicKey,
    /// How it followed from earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endorsed: Vec<Endorsement>,
}

/// The keys that a host trusts: the one it pinned, and for a while those that were exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKeys {
    keys: Vec<PinnedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PinnedKey {
    public: PublicKey,
    /// When it ends; none for the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

/// What a host made of a key that it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is the one that is pinned.
    Same,
    /// It is pinned now, as the first one.
    First,
    /// It is pinned now: the one before said so.
    Exchanged,
    /// It is not trusted: no pinned key gave its word for it.
    Refused,
}

impl SigningKey {
    /// Makes the key that belongs to 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// Returns the half that everybody may know.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key has 32 bytes"))
    }

    /// Signs, in hexadecimal digits.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.sign(bytes))
    }

    /// Gives its word for the key that takes its place.
    pub fn endorse(&self, next: &PublicKey) -> Endorsement {
        let signature = self.sign(&[CONTEXT, &next.0].concat());
        Endorsement { from: self.public(), to: next.clone(), signature }
    }
}

impl PublicKey {
    /// Returns what people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        let digits = hex::encode(&Sha256::digest(self.0)[..16]);
        let groups: Vec<&str> = (0..digits.len()).step_by(4).map(|at| &digits[at..at + 4]).collect();
        Fingerprint(groups.join("-"))
    }

    /// True if the key made this signature of these bytes.
    pub(super) fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        let signature = hex::decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature).is_ok()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = hex::decode(text).map_err(|_| "it is not hexadecimal")?;
        bytes.try_into().map(Self).map_err(|_| "a key has 32 bytes")
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        hex::encode(key.0)
    }
}

impl Fingerprint {
    /// Reads one that a person wrote, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(text.trim().to_lowercase())).filter(Self::is_sound)
    }

    /// True if it could be one.
    pub fn is_sound(&self) -> bool {
        let is_group = |group: &str| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.0.len() == 39 && self.0.split('-').all(is_group)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Endorsement {
    fn holds(&self) -> bool {
        self.from.verifies(&[CONTEXT, &self.to.0].concat(), &self.signature)
    }
}

impl PinnedKeys {
    /// Only this one.
    pub fn only(key: PublicKey) -> Self {
        Self { keys: vec![PinnedKey { public: key, until: None }] }
    }

    /// True before a host joined.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the present one.
    pub fn present(&self) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.until.is_none()).map(|key| &key.public)
    }

    /// Returns the one with this fingerprint, if it is good now.
    pub fn find(&self, fingerprint: &Fingerprint, now: DateTime<Utc>) -> Option<&PublicKey> {
        let is_good = |key: &&PinnedKey| key.until.is_none_or(|until| now < until);
        let good = self.keys.iter().filter(is_good);
        good.map(|key| &key.public).find(|key| key.fingerprint() == *fingerprint)
    }

    /// Takes in what a master shows. The first key is pinned; another one only if the pinned one gave its word, step by step.
    pub fn offer(&mut self, offer: &KeyOffer, now: DateTime<Utc>) -> Offered {
        let Some(mut reached) = self.present().cloned() else {
            *self = Self::only(offer.key.clone());
            return Offered::First;
        };
        if reached == offer.key {
            return Offered::Same;
        }
        for endorsement in offer.endorsed.iter().take(MOST_ENDORSEMENTS) {
            if endorsement.from == reached && endorsement.holds() {
                reached = endorsement.to.clone();
            }
        }
        if reached != offer.key {
            return Offered::Refused;
        }
        self.keys.retain(|key| key.until.is_none_or(|until| now < until));
        for key in &mut self.keys {
            key.until.get_or_insert(now + OVERLAP);
        }
        self.keys.push(PinnedKey { public: reached, until: None });
        Offered::Exchanged
    }
}

impl fmt::Display for PinnedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<String> = self.keys.iter().map(|key| key.public.fingerprint().to_string()).collect();
        f.write_str(&named.join(", "))
    }
}
