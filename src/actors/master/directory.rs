//! Who may speak, in memory: keys by digest, slots by agent id.
//!
//! An accepted heartbeat costs one hash, two look-ups, and one atomic store; no actor, no database,
//! no allocation. What is kept here follows the record of decisions, event by event; nobody writes it by hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use super::slot::Slot;
use crate::db::{Expected, Recorded};
use crate::domain::agent::AgentStatus;
use crate::domain::event::{AdminEvent, AgentEvent, CommandEvent, Event, KeyEvent};
use crate::domain::id::{AgentId, KeyId, TunnelId};
use crate::domain::order::{Endorsement, KeyOffer, PublicKey};
use crate::domain::registration::identity_digest;
use crate::domain::roster::{Roster, Touched};

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
}

/// What a caller wants to do with an agent's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Report something.
    Report,
    /// Register, and fetch, acknowledge or finish commands: open to a removed agent until it has done its last one.
    Commands,
}

/// A seat that a second host with a key would need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LackingSeat {
    /// The key.
    pub key_id: KeyId,
    /// How many it has.
    pub seats: u32,
    /// Whose key it is, in words.
    pub owner: String,
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
    /// The key that orders are signed with, as hosts that join are shown it.
    order_key: RwLock<Option<KeyOffer>>,
    loaded: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    roster: Roster,
    /// Version of the stream of keys that was followed.
    keys_version: u64,
    keys: HashMap<KeyDigest, Arc<KeyAccess>>,
    slots: HashMap<String, Arc<Slot>>,
}

impl Tables {
    fn is_leaving(&self, access: &KeyAccess) -> bool {
        let member = self.roster.key(&access.key_id).and_then(|key| self.roster.member(key.agent.as_ref()?));
        member.is_some_and(|member| member.status == AgentStatus::Removed)
            && self.roster.guests(&access.key_id).next().is_none()
    }

    /// Follows an event, with the roster and with what requests look into.
    fn follow(&mut self, event: &Event) -> Touched {
        if let Event::Key(KeyEvent::Revoked { key_id }) | Event::Key(KeyEvent::Deleted { key_id }) = event
            && let Some(digest) = self.roster.key(key_id).and_then(|key| digest_of(key_id, &key.sha256))
        {
            self.keys.remove(&digest);
        }
        let touched = self.roster.follow(event);
        if let Some(key) = &touched.key {
            self.settle_key(key);
        }
        for agent in &touched.agents {
            self.settle_slot(agent);
        }
        touched
    }

    fn settle_key(&mut self, id: &KeyId) {
        let Some(key) = self.roster.key(id) else { return };
        if let Some(digest) = digest_of(id, &key.sha256) {
            let access = KeyAccess { key_id: id.clone(), owner: key.owner.clone() };
            self.keys.insert(digest, Arc::new(access));
        }
    }

    /// An agent without a place in the roster has no slot.
    fn settle_slot(&mut self, id: &AgentId) {
        let Some(member) = self.roster.member(id) else {
            if let Some(dropped) = self.slots.remove(id.as_str()) {
                // Whoever still holds it is told that nothing opens it any more.
                dropped.set_keys(None, None);
            }
            return;
        };
        let slot = self.slots.entry(id.as_str().to_owned());
        let slot = slot.or_insert_with(|| Arc::new(Slot::new(id.clone(), member.status, None, None)));
        let (current, previous) = self.roster.keys_in_force(id);
        slot.set_status(member.status);
        slot.set_keys(current, previous);
        slot.set_offline(member.is_offline);
        slot.set_identity(identity_digest(
            &member.display_name,
            member.custom_name,
            member.version.as_deref(),
        ));
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

    /// Returns the agent with this key whose tunnel it is.
    pub fn agent_in(&self, access: &KeyAccess, tunnel: &TunnelId) -> Option<AgentId> {
        let tables = self.tables.read();
        let has_it = |id: &AgentId| {
            tables.roster.member(id).is_some_and(|member| member.tunnel.as_ref() == Some(tunnel))
        };
        tables.roster.users(&access.key_id).into_iter().find(has_it)
    }

    /// Returns the seat that an agent lacks: it came with the key of another host, and all of that are taken.
    pub fn lacking_seat(&self, agent: &AgentId) -> Option<LackingSeat> {
        let tables = self.tables.read();
        let member = tables.roster.member(agent)?;
        let key_id = member.shared_key.clone().filter(|shared| member.key.as_ref() == Some(shared))?;
        let waits = member.status == AgentStatus::Pending && tables.roster.has_no_seat(&key_id, agent);
        let key = tables.roster.key(&key_id).filter(|_| waits)?;
        let owner = key.agent.as_ref().and_then(|id| tables.roster.member(id));
        let owner =
            owner.map_or_else(|| "another host".into(), |member| format!("`{}`", member.display_name));
        Some(LackingSeat { key_id, seats: key.seats, owner })
    }

    /// Returns what people call an agent; its id if it is not on the list.
    pub(super) fn name_of(&self, agent: &AgentId) -> String {
        let named = self.look(|roster| roster.member(agent).map(|member| member.display_name.clone()));
        named.unwrap_or_else(|| agent.to_string())
    }

    /// Reads something of who is who.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Roster) -> T) -> T {
        at(&self.tables.read().roster)
    }

    /// Where the stream of keys ends, for a decision about what is held here of keys.
    pub(super) fn keys_end(&self) -> Expected {
        Expected::Version(self.tables.read().keys_version)
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

    /// Returns what a host that joins is shown of the key that orders are signed with; none before it was made.
    pub fn order_key(&self) -> Option<KeyOffer> {
        self.order_key.read().clone()
    }

    /// Takes the key that was read at the start.
    pub(super) fn load_order_key(&self, offer: Option<KeyOffer>) {
        *self.order_key.write() = offer;
    }

    fn follow_order_key(&self, key: &PublicKey, endorsed: Option<&Endorsement>) {
        let mut offer = self.order_key.write();
        let known = offer.take();
        if known.as_ref().is_some_and(|known| known.key == *key) {
            // It was read with the tables, and is followed once more.
            *offer = known;
            return;
        }
        let mut steps = known.map(|known| known.endorsed).unwrap_or_default();
        steps.extend(endorsed.cloned());
        *offer = Some(KeyOffer { key: key.clone(), endorsed: steps });
    }

    /// Takes what was read at the start.
    pub(super) fn load(&self, roster: Roster, keys_version: u64) {
        let mut tables = Tables { roster, keys_version, ..Tables::default() };
        let keys = tables.roster.keys().filter_map(|(id, key)| {
            let access = KeyAccess { key_id: id.clone(), owner: key.owner.clone() };
            Some((digest_of(id, &key.sha256)?, Arc::new(access)))
        });
        tables.keys = keys.collect();
        let agents: Vec<AgentId> = tables.roster.members().map(|(id, _)| id.clone()).collect();
        for id in agents {
            tables.settle_slot(&id);
        }
        *self.tables.write() = tables;
        self.loaded.store(true, Ordering::Release);
    }

    /// Follows the record by one event; returns the tunnels that an agent joined or left by it.
    pub(super) fn follow(&self, recorded: &Recorded) -> Touched {
        // Most events are about routes and commands, and change nothing of who is who.
        let touched = match &recorded.event {
            Event::Key(_) => {
                let mut tables = self.tables.write();
                tables.keys_version = tables.keys_version.max(recorded.version);
                tables.follow(&recorded.event)
            }
            Event::Agent(_) => self.tables.write().follow(&recorded.event),
            Event::Admin(AdminEvent::OrderKeySet { key, endorsed }) => {
                self.follow_order_key(key, endorsed.as_ref());
                Touched::default()
            }
            _ => Touched::default(),
        };
        let about = recorded.event.agent();
        if let Some((id, slot)) = about.and_then(|id| Some((id, self.slot(id)?))) {
            if let Some(stream) = recorded.stream.topic(id) {
                slot.set_recorded(stream, recorded.version);
            }
            match &recorded.event {
                Event::Command(CommandEvent::Queued { .. })
                | Event::Command(CommandEvent::Requeued { .. }) => slot.note_queued(),
                Event::Agent(AgentEvent::Offline { .. }) | Event::Agent(AgentEvent::Back { .. }) => {}
                // A removed one keeps its session for its last command and the result of that.
                Event::Agent(AgentEvent::Revoked { .. }) => {
                    slot.close_session();
                    slot.forget_reports();
                }
                // Whatever the agent said before is looked at again from where it stands now.
                _ if !touched.agents.is_empty() => slot.forget_reports(),
                _ => {}
            }
        }
        touched
    }

    /// What it holds of decisions, for comparison with a fresh start.
    #[cfg(test)]
    pub(super) fn roster(&self) -> Roster {
        self.tables.read().roster.clone()
    }

    /// Puts a slot in its place, for tests of many of them.
    #[cfg(test)]
    pub(super) fn put_slot(&self, slot: Slot) -> Arc<Slot> {
        let slot = Arc::new(slot);
        self.tables.write().slots.insert(slot.id().as_str().to_owned(), Arc::clone(&slot));
        slot
    }
}

fn digest_of(id: &KeyId, sha256: &str) -> Option<KeyDigest> {
    let mut digest = KeyDigest::default();
    match hex::decode_to_slice(sha256, &mut digest) {
        Ok(()) => Some(digest),
        Err(error) => {
            tracing::error!(key.id = %id, %error, "the digest of a key cannot be read; the key opens nothing");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Stream;

    /// Follows the record by these events.
    fn follow(directory: &Directory, events: Vec<Event>) {
        for (seq, event) in (1..).zip(events) {
            let stream = event.agent().map_or_else(Stream::keys, Stream::agent);
            directory.follow(&Recorded { seq, stream, version: seq, event });
        }
    }

    fn admit(directory: &Directory, raw: &str, agent: &str, errand: Errand) -> Result<Arc<Slot>, Refused> {
        directory.admit(&*directory.authenticate(raw).ok_or(Refused::UnknownKey)?, agent, errand)
    }

    fn directory() -> Directory {
        let directory = Directory::default();
        for (raw, key, agent) in [("raw-1", "k1", "a1"), ("raw-2", "k2", "a2")] {
            let (key_id, agent_id) = (KeyId::new(key), AgentId::new(agent));
            let made = Event::Key(KeyEvent::Generated {
                key_id: key_id.clone(),
                owner: "me".into(),
                sha256: hex::encode(digest_key(raw)),
                rolled_from: None,
            });
            let came = Event::Agent(AgentEvent::Registered {
                agent_id,
                key_id,
                display_name: agent.into(),
                version: None,
                key_owner: "me".into(),
                shares_key: false,
            });
            follow(&directory, vec![made, came]);
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
        follow(&directory, vec![Event::Key(KeyEvent::Revoked { key_id: KeyId::new("k1") })]);
        assert_eq!(admit(&directory, "raw-1", "a1", Errand::Report).err(), Some(Refused::UnknownKey));
    }

    #[test]
    fn a_removed_agent_may_fetch_its_last_command_and_nothing_else() {
        let directory = directory();
        follow(&directory, vec![Event::Agent(AgentEvent::Removed { agent_id: AgentId::new("a1") })]);
        assert!(admit(&directory, "raw-1", "a1", Errand::Commands).is_ok());
        for agent in ["a1", "a2", "a9"] {
            assert_eq!(admit(&directory, "raw-1", agent, Errand::Report).err(), Some(Refused::UnknownKey));
        }
    }
}
