//! Who may speak, in memory: keys by digest, slots by agent id.
//!
//! An accepted heartbeat costs one hash, two look-ups, and one atomic store; no actor, no database,
//! no allocation. The registrar writes identity here after it is committed; nobody else does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use super::slot::Slot;
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, KeyId};

/// Longest key that is looked at: our own have 43 characters.
const MAX_KEY_LEN: usize = 512;

/// SHA-256 of a raw key.
pub type KeyDigest = [u8; 32];

/// Returns the digest that a raw key is known by.
pub fn digest_key(raw: impl AsRef<[u8]>) -> KeyDigest {
    Sha256::digest(raw).into()
}

/// A key that opens something.
#[derive(Debug)]
pub struct KeyAccess {
    /// Its id.
    pub key_id: KeyId,
    /// Who it was made for, in a person's words.
    pub owner: String,
    bound: RwLock<Option<AgentId>>,
}

impl KeyAccess {
    /// Makes an entry for a key that is not revoked.
    pub fn new(key_id: KeyId, owner: String, bound: Option<AgentId>) -> Self {
        Self { key_id, owner, bound: RwLock::new(bound) }
    }

    /// Returns the agent that the key belongs to, once one registered with it.
    pub fn bound_agent(&self) -> Option<AgentId> {
        self.bound.read().clone()
    }

    pub(super) fn bind(&self, agent: AgentId) {
        *self.bound.write() = Some(agent);
    }
}

/// What a caller wants to do with an agent's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Report something.
    Report,
    /// Register, and fetch, acknowledge or finish commands: open to a removed agent until it has done its last one.
    Commands,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such key, or it was revoked, or its agent was (401).
    #[error("missing, unknown or revoked agent key")]
    UnknownKey,
    /// The key is good, the agent is not known (404).
    #[error("agent is not known; register it first")]
    UnknownAgent,
    /// The key belongs to another agent (403).
    #[error("the key belongs to another agent")]
    OtherAgent,
}

/// All keys and slots.
#[derive(Debug, Default)]
pub struct Directory {
    /// One lock for both: they change together, and rarely.
    tables: RwLock<Tables>,
    loaded: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    keys: HashMap<KeyDigest, Arc<KeyAccess>>,
    slots: HashMap<String, Arc<Slot>>,
}

impl Tables {
    fn is_leaving(&self, access: &KeyAccess) -> bool {
        let bound = access.bound.read();
        let slot = bound.as_ref().and_then(|id| self.slots.get(id.as_str()));
        slot.is_some_and(|slot| slot.status() == AgentStatus::Removed)
    }
}

impl Directory {
    /// Returns whom a raw key belongs to; none if it is unknown or revoked.
    pub fn authenticate(&self, raw: impl AsRef<[u8]>) -> Option<Arc<KeyAccess>> {
        if raw.as_ref().len() > MAX_KEY_LEN {
            return None;
        }
        let digest = digest_key(raw);
        self.tables.read().keys.get(&digest).cloned()
    }

    /// Returns the slot of an agent.
    pub fn slot(&self, id: &AgentId) -> Option<Arc<Slot>> {
        self.slot_named(id.as_str())
    }

    /// Returns the slot of an agent by the text of its id, as it stands in a path.
    pub fn slot_named(&self, id: &str) -> Option<Arc<Slot>> {
        self.tables.read().slots.get(id).cloned()
    }

    /// Decides whether the caller with this key may speak for this agent.
    pub fn admit(&self, access: &KeyAccess, agent_id: &str, errand: Errand) -> Result<Arc<Slot>, Refused> {
        let tables = self.tables.read();
        let refused = |why| Err(if tables.is_leaving(access) { Refused::UnknownKey } else { why });
        let Some(slot) = tables.slots.get(agent_id) else {
            return refused(Refused::UnknownAgent);
        };
        if !slot.accepts(&access.key_id) {
            return refused(Refused::OtherAgent);
        }
        if slot.status() == AgentStatus::Removed && errand == Errand::Report {
            return Err(Refused::UnknownKey);
        }
        Ok(Arc::clone(slot))
    }

    /// True if the key belongs to an agent that was removed and only waits for its last command.
    pub fn is_leaving(&self, access: &KeyAccess) -> bool {
        self.tables.read().is_leaving(access)
    }

    /// True once keys and agents were read: before that nobody may be told that a key is unknown.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Returns every slot, in no order.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.tables.read().slots.values().cloned().collect()
    }

    /// Returns how many agents there are.
    pub fn len(&self) -> usize {
        self.tables.read().slots.len()
    }

    /// True if no agent is known.
    pub fn is_empty(&self) -> bool {
        self.tables.read().slots.is_empty()
    }

    pub(super) fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Release);
    }

    pub(super) fn replace_keys(&self, keys: HashMap<KeyDigest, KeyAccess>) {
        let keys = keys.into_iter().map(|(digest, access)| (digest, Arc::new(access))).collect();
        self.tables.write().keys = keys;
    }

    pub(super) fn put_key(&self, digest: KeyDigest, access: KeyAccess) {
        self.tables.write().keys.insert(digest, Arc::new(access));
    }

    pub(super) fn find_key(&self, id: &KeyId) -> Option<Arc<KeyAccess>> {
        self.tables.read().keys.values().find(|access| access.key_id == *id).cloned()
    }

    pub(super) fn drop_key(&self, id: &KeyId) {
        self.tables.write().keys.retain(|_, access| access.key_id != *id);
    }

    pub(super) fn put_slot(&self, slot: Slot) -> Arc<Slot> {
        let slot = Arc::new(slot);
        self.tables.write().slots.insert(slot.id().as_str().to_owned(), Arc::clone(&slot));
        slot
    }

    pub(super) fn drop_slot(&self, id: &AgentId) {
        let dropped = self.tables.write().slots.remove(id.as_str());
        if let Some(slot) = dropped {
            // Whoever still holds it is told that nothing opens it any more.
            slot.set_keys(None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(directory: &Directory, raw: &str, agent: &str, errand: Errand) -> Result<Arc<Slot>, Refused> {
        directory.admit(&*directory.authenticate(raw).ok_or(Refused::UnknownKey)?, agent, errand)
    }

    fn directory() -> Directory {
        let directory = Directory::default();
        for (raw, key, agent) in [("raw-1", "k1", "a1"), ("raw-2", "k2", "a2")] {
            let (key, agent) = (KeyId::new(key), AgentId::new(agent));
            directory.put_key(digest_key(raw), KeyAccess::new(key.clone(), "me".into(), Some(agent.clone())));
            directory.put_slot(Slot::new(agent, AgentStatus::Pending, Some(key), None));
        }
        directory
    }

    #[test]
    fn a_key_opens_its_own_agent_and_no_other() {
        let directory = directory();
        let cases = [
            ("raw-1", "a1", None),
            ("nope", "a1", Some(Refused::UnknownKey)),
            ("raw-1", "a9", Some(Refused::UnknownAgent)),
            ("raw-1", "a2", Some(Refused::OtherAgent)),
        ];
        for (raw, agent, refused) in cases {
            assert_eq!(admit(&directory, raw, agent, Errand::Report).err(), refused, "{raw} for {agent}");
        }
        directory.drop_key(&KeyId::new("k1"));
        assert_eq!(admit(&directory, "raw-1", "a1", Errand::Report).err(), Some(Refused::UnknownKey));
    }

    #[test]
    fn a_removed_agent_may_fetch_its_last_command_and_nothing_else() {
        let directory = directory();
        directory.slot_named("a1").unwrap().set_status(AgentStatus::Removed);
        assert!(admit(&directory, "raw-1", "a1", Errand::Commands).is_ok());
        for agent in ["a1", "a2", "a9"] {
            assert_eq!(admit(&directory, "raw-1", agent, Errand::Report).err(), Some(Refused::UnknownKey));
        }
    }
}
