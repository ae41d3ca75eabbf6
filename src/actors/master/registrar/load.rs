//! Keeps the directory equal to the database: at start, and after each decision.

use std::collections::{HashMap, HashSet};

use crate::actors::master::bus::Note;
use crate::actors::master::directory::{Directory, KeyAccess, KeyDigest};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::slot::Slot;
use crate::actors::master::work::Work;
use crate::db::agents::AgentRow;
use crate::db::keys::KeyRow;
use crate::db::{self, Db};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::delivery::Dialect;
use crate::domain::id::{AgentId, KeyId};

/// Reads every key and agent. Slots that exist keep what only memory knows, such as parked polls.
pub async fn load_directory(db: &Db, directory: &Directory) -> Result<(), MasterError> {
    let keys = db::keys::load_keys(db).await?;
    let agents = db::agents::load_agents(db).await?;
    let open: HashSet<AgentId> =
        db::commands::list_agents_with_open_commands(db).await?.into_iter().collect();
    let mut keys_of: HashMap<AgentId, Vec<KeyRow>> = HashMap::new();
    let mut entries: HashMap<KeyDigest, KeyAccess> = HashMap::new();
    for key in keys.into_iter().filter(|key| key.status == KeyStatus::Active) {
        if let Some(digest) = digest_of(&key) {
            entries.insert(
                digest,
                KeyAccess::new(key.id.clone(), key.owner.clone(), key.bound_agent_id.clone()),
            );
        }
        if let Some(agent) = key.bound_agent_id.clone() {
            keys_of.entry(agent).or_default().push(key);
        }
    }
    directory.replace_keys(entries);
    for agent in agents {
        let keys = keys_of.remove(&agent.id).unwrap_or_default();
        let has_open = open.contains(&agent.id);
        if let Some(slot) = place(directory, agent, &keys) {
            // Open is not yet waiting: the dispatcher counts exactly when the agent asks.
            slot.set_queued(usize::from(has_open));
        }
    }
    directory.set_loaded();
    Ok(())
}

/// Makes the directory and the agent's actors follow what was decided about an agent.
pub(super) async fn follow(env: &Env, agent: &AgentId) -> Result<(), MasterError> {
    let row = db::agents::find_agent(&env.db, agent).await?;
    let keys = super::keys::active_keys_of(env, agent).await?;
    for key in &keys {
        if let Some(access) = env.directory.find_key(&key.id) {
            access.bind(agent.clone());
        }
    }
    if let Some(slot) = row.and_then(|row| place(&env.directory, row, &keys)) {
        slot.forget_reports();
        // A removed one keeps it for its last command and the result of that.
        if slot.status() == AgentStatus::Revoked {
            slot.close_session();
        }
    }
    env.fleet.nudge(agent, Work::StandingChanged);
    env.notices.announce(Note::Agent(agent.clone()));
    Ok(())
}

/// Puts an agent in its slot; a removed one stays only while a key of it still fetches its last command.
fn place(directory: &Directory, row: AgentRow, keys: &[KeyRow]) -> Option<std::sync::Arc<Slot>> {
    if row.status == AgentStatus::Removed && keys.is_empty() {
        directory.drop_slot(&row.id);
        return None;
    }
    let (current, previous) = in_force(row.key_id.as_ref(), keys);
    let slot = match directory.slot(&row.id) {
        Some(slot) => slot,
        None => {
            let slot = Slot::new(row.id.clone(), row.status, None, row.last_seen);
            // Later the sweep alone says it: a row read before its commit would undo that and have it told twice.
            slot.set_offline(row.offline_since.is_some());
            slot.set_dialect(row.dialect.as_deref().map_or(Dialect::V2, Dialect::of));
            directory.put_slot(slot)
        }
    };
    slot.set_status(row.status);
    slot.set_keys(current, previous);
    slot.set_identity(identity_digest(&row.display_name, row.custom_name, row.version.as_deref()));
    Some(slot)
}

/// Says which key is in force and which one it replaces. A removed agent has none in force: any of its own will do.
fn in_force(current: Option<&KeyId>, keys: &[KeyRow]) -> (Option<KeyId>, Option<KeyId>) {
    let active = |id: &KeyId| keys.iter().any(|key| key.id == *id);
    let current = current.filter(|id| active(id)).cloned().or_else(|| keys.first().map(|key| key.id.clone()));
    let previous = keys.iter().map(|key| &key.id).find(|id| Some(*id) != current.as_ref()).cloned();
    (current, previous)
}

/// Returns what tells whether a registration brings anything new.
pub fn identity_digest(display_name: &str, custom_name: bool, version: Option<&str>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (if custom_name { None } else { Some(display_name) }, version).hash(&mut hasher);
    hasher.finish()
}

fn digest_of(key: &KeyRow) -> Option<KeyDigest> {
    let mut digest = KeyDigest::default();
    match hex::decode_to_slice(&key.sha256, &mut digest) {
        Ok(()) => Some(digest),
        Err(error) => {
            tracing::error!(key.id = %key.id, %error, "the digest of a key cannot be read; the key opens nothing");
            None
        }
    }
}
