//! Orders: what a master wants changed on a host, signed with the master's key over all of it.
//!
//! A host carries out what a key signed that it pinned when it joined, for itself, in time, once, and in the order in which it
//! was decided. Whatever differs is refused with the reason. The signature covers the very bytes of the text that travels, so
//! that nothing depends on how two programs write JSON.

mod keys;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::{AgentId, CommandId};
use super::update::{Changes, PlanAsk, PlanId};

pub use keys::{Endorsement, Fingerprint, KeyOffer, OVERLAP, Offered, PinnedKeys, PublicKey, SigningKey};

/// What comes before the text in what is signed: nothing else that we sign can be taken for an order.
const CONTEXT: &[u8] = b"lightship order 1\n";
/// Largest text that is read: a plan of 20,000 changes fits.
pub const SIZE_LIMIT: usize = 8 * 1024 * 1024;

/// An order as it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The command that carries it.
    pub id: CommandId,
    /// For whom it is, and for nobody else.
    pub agent: AgentId,
    /// Its place among the orders for this agent: each has a greater one than those before.
    pub number: u64,
    /// What the plan was asked for: the host works it out again before it begins.
    pub ask: PlanAsk,
    /// What is to be changed, line by line: exactly this, or nothing.
    pub changes: Changes,
    /// Who said yes.
    pub by: String,
    /// When, master time.
    pub issued_at: DateTime<Utc>,
    /// After this it is not begun any more, master time.
    pub expires_at: DateTime<Utc>,
}

/// An order on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// The order, as JSON: these bytes are what was signed.
    pub content: String,
    /// The signature, in hexadecimal digits.
    pub signature: String,
    /// Whose key it is.
    pub key: Fingerprint,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// This host never saw a key of its master.
    #[error(
        "this host knows no key of its master yet; it pins the one that it is shown when it registers next"
    )]
    NoKey,
    /// Signed with a key that is not pinned.
    #[error(
        "it is signed with the key {key}, and this host trusts {trusted} only; if the master's key was exchanged on purpose, \
             run `lightship trust-key {key}` on the host"
    )]
    OtherKey {
        /// The key that it names.
        key: Fingerprint,
        /// Those that are pinned.
        trusted: String,
    },
    /// The signature does not fit the text.
    #[error("its signature does not fit: it was altered on its way, or nobody signed it")]
    Altered,
    /// The text is no order.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// For another host.
    #[error("it is for the agent {0}, not for this one")]
    Foreign(AgentId),
    /// Too late.
    #[error("it expired at {0}")]
    Expired(DateTime<Utc>),
    /// It was carried out before, or one that was decided later was.
    #[error(
        "it was used before, or one that was decided after it was: its number is {number}, the last one was {last}"
    )]
    Used {
        /// Its number.
        number: u64,
        /// The last one that was taken.
        last: u64,
    },
}

impl Order {
    /// Returns the id of its plan.
    pub fn plan(&self) -> PlanId {
        self.changes.id()
    }

    /// Writes and signs it.
    pub fn sign(&self, key: &SigningKey) -> SignedOrder {
        let content = serde_json::to_string(self).expect("it holds nothing that JSON cannot");
        let signature = key.sign(&[CONTEXT, content.as_bytes()].concat());
        SignedOrder { content, signature, key: key.public().fingerprint() }
    }

    /// Says whether it may be carried out: by this agent, now, once. `last` is the number of the last order that was taken.
    pub fn check(&self, agent: &AgentId, now: DateTime<Utc>, last: u64) -> Result<(), OrderFault> {
        if self.agent != *agent {
            return Err(OrderFault::Foreign(self.agent.clone()));
        }
        if self.number <= last {
            return Err(OrderFault::Used { number: self.number, last });
        }
        self.check_time(now)
    }

    /// Says whether it may still be begun.
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<(), OrderFault> {
        if now >= self.expires_at { Err(OrderFault::Expired(self.expires_at)) } else { Ok(()) }
    }
}

impl SignedOrder {
    /// Returns what was signed, if one of the pinned keys signed it.
    pub fn open(&self, pinned: &PinnedKeys, now: DateTime<Utc>) -> Result<Order, OrderFault> {
        if pinned.is_empty() {
            return Err(OrderFault::NoKey);
        }
        let Some(key) = pinned.find(&self.key, now) else {
            return Err(OrderFault::OtherKey { key: self.key.clone(), trusted: pinned.to_string() });
        };
        if self.content.len() > SIZE_LIMIT {
            return Err(OrderFault::Unreadable("it is larger than 8 MiB".into()));
        }
        if !key.verifies(&[CONTEXT, self.content.as_bytes()].concat(), &self.signature) {
            return Err(OrderFault::Altered);
        }
        serde_json::from_str(&self.content).map_err(|error| OrderFault::Unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
