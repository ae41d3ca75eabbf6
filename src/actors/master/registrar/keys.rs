//! Agent keys: made once, kept as digests, revoked for good.

use actix::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::load::follow;
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::bus::Note;
use crate::actors::master::directory::{KeyAccess, digest_key};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{KeyDropped, KeyRef, NewKey};
use crate::actors::supervision::Ctx;
use crate::db::keys::KeyRow;
use crate::db::{self, Batch};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::registration::MAX_NAME_CHARS;

/// Makes a key that no agent uses yet.
#[derive(Message)]
#[rtype(result = "Result<NewKey, MasterError>")]
pub struct GenerateKey {
    /// Who it is for, in words.
    pub owner: String,
    /// Who asks.
    pub by: String,
}

/// Revokes a key, and its agent with it unless the key was being replaced anyway.
#[derive(Message)]
#[rtype(result = "Result<KeyDropped, MasterError>")]
pub struct RevokeKey {
    /// Which key.
    pub key: KeyRef,
    /// Who asks.
    pub by: String,
}

/// Drops a revoked key from the list.
#[derive(Message)]
#[rtype(result = "Result<KeyDropped, MasterError>")]
pub struct DeleteKey {
    /// Which key.
    pub key: KeyRef,
    /// Who asks.
    pub by: String,
}

/// Drops every revoked key from the list.
#[derive(Message)]
#[rtype(result = "Result<Vec<KeyDropped>, MasterError>")]
pub struct DeleteRevokedKeys {
    /// Who asks.
    pub by: String,
}

/// Gives an agent a new key; the old one works until the agent registers with the new one.
#[derive(Message)]
#[rtype(result = "Result<NewKey, MasterError>")]
pub struct RollKey {
    /// Whose key.
    pub agent: AgentId,
    /// Who asks.
    pub by: String,
}

impl Handler<GenerateKey> for Registrar {
    type Result = AtomicResponse<Self, Result<NewKey, MasterError>>;

    fn handle(&mut self, ask: GenerateKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { generate(&env, ask).await })
    }
}

impl Handler<RevokeKey> for Registrar {
    type Result = AtomicResponse<Self, Result<KeyDropped, MasterError>>;

    fn handle(&mut self, ask: RevokeKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { revoke(&env, &ask.key, &ask.by).await })
    }
}

impl Handler<DeleteKey> for Registrar {
    type Result = AtomicResponse<Self, Result<KeyDropped, MasterError>>;

    fn handle(&mut self, ask: DeleteKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { delete(&env, &ask.key, &ask.by).await })
    }
}

impl Handler<DeleteRevokedKeys> for Registrar {
    type Result = AtomicResponse<Self, Result<Vec<KeyDropped>, MasterError>>;

    fn handle(&mut self, ask: DeleteRevokedKeys, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { delete_revoked(&env, &ask.by).await })
    }
}

impl Handler<RollKey> for Registrar {
    type Result = AtomicResponse<Self, Result<NewKey, MasterError>>;

    fn handle(&mut self, ask: RollKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { roll(&env, &ask.agent, &ask.by).await })
    }
}

/// A key that was made but is not written yet.
struct Draft {
    key_id: KeyId,
    raw: SecretString,
}

impl Draft {
    fn new(env: &Env) -> Self {
        Self {
            key_id: KeyId::new(env.chance.sorted_uuid(&env.clock).to_string()),
            raw: env.chance.key().into(),
        }
    }

    fn generated(&self, owner: &str, rolled_from: Option<KeyId>) -> Event {
        let sha256 = hex::encode(digest_key(self.raw.expose_secret()));
        Event::KeyGenerated { key_id: self.key_id.clone(), owner: owner.into(), sha256, rolled_from }
    }

    fn announce(self, env: &Env, owner: String, bound: Option<AgentId>) -> NewKey {
        let digest = digest_key(self.raw.expose_secret());
        env.directory.put_key(digest, KeyAccess::new(self.key_id.clone(), owner.clone(), bound));
        env.notices.announce(Note::Keys);
        NewKey { key_id: self.key_id, raw: self.raw, owner, created_at: env.now() }
    }
}

async fn generate(env: &Env, ask: GenerateKey) -> Result<NewKey, MasterError> {
    let owner: String = ask.owner.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    let draft = commit(env, async || {
        let draft = Draft::new(env);
        let expected = expected(env, &Stream::keys()).await?;
        let batch = env.batch(&ask.by).append(Stream::keys(), expected, vec![draft.generated(&owner, None)]);
        Ok(Decision { batch, answer: draft })
    })
    .await?;
    Ok(draft.announce(env, owner, None))
}

/// Finds a key by its id or by itself.
pub(super) async fn find(env: &Env, key: &KeyRef) -> Result<KeyRow, MasterError> {
    let (row, shown) = match key {
        KeyRef::Id(id) => (db::keys::find_key(&env.db, id).await?, id.to_string()),
        KeyRef::Raw(raw) => {
            let digest = hex::encode(digest_key(raw.expose_secret()));
            // Never the key itself: this text goes into answers and logs.
            (db::keys::find_key_by_digest(&env.db, &digest).await?, "(as given)".into())
        }
    };
    row.ok_or(MasterError::KeyNotFound(shown))
}

/// Returns the keys of an agent that still open it.
pub(super) async fn active_keys_of(env: &Env, agent: &AgentId) -> Result<Vec<KeyRow>, MasterError> {
    let mut keys = db::keys::list_agent_keys(&env.db, agent).await?;
    keys.retain(|key| key.status == KeyStatus::Active);
    Ok(keys)
}

async fn revoke(env: &Env, key: &KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
    let (dropped, revoked, bound) = commit(env, async || {
        let keys_end = expected(env, &Stream::keys()).await?;
        let row = find(env, key).await?;
        let mut dropped =
            KeyDropped { key_id: row.id.clone(), owner: row.owner.clone(), affected_agents: Vec::new() };
        if row.status == KeyStatus::Revoked {
            return Ok(Decision { batch: env.batch(by), answer: (dropped, Vec::new(), None) });
        }
        let Some(agent) = agent_in_force(env, &row).await? else {
            let events = vec![Event::KeyRevoked { key_id: row.id.clone() }];
            let batch = env.batch(by).append(Stream::keys(), keys_end, events);
            return Ok(Decision { batch, answer: (dropped, vec![row.id], row.bound_agent_id) });
        };
        let (batch, revoked) = revoke_agent(env, &agent, by).await?;
        dropped.affected_agents.push(agent.clone());
        Ok(Decision { batch, answer: (dropped, revoked, Some(agent)) })
    })
    .await?;
    forget_keys(env, &revoked);
    if let Some(agent) = bound {
        follow(env, &agent).await?;
    }
    Ok(dropped)
}

/// Returns the agent whose key in force this is, if it is heard at all.
async fn agent_in_force(env: &Env, key: &KeyRow) -> Result<Option<AgentId>, MasterError> {
    let Some(bound) = &key.bound_agent_id else {
        return Ok(None);
    };
    let agent = db::agents::find_agent(&env.db, bound).await?;
    Ok(agent
        .filter(|agent| {
            agent.key_id.as_ref() == Some(&key.id)
                && matches!(agent.status, AgentStatus::Pending | AgentStatus::Enrolled)
        })
        .map(|agent| agent.id))
}

/// Revokes an agent with every key that opens it.
pub(super) async fn revoke_agent(
    env: &Env,
    agent: &AgentId,
    by: &str,
) -> Result<(Batch, Vec<KeyId>), MasterError> {
    let keys_end = expected(env, &Stream::keys()).await?;
    let agent_end = expected(env, &Stream::agent(agent)).await?;
    let row = db::agents::find_agent(&env.db, agent).await?;
    let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let revoked: Vec<KeyId> = active_keys_of(env, agent).await?.into_iter().map(|key| key.id).collect();
    let mut batch = env.batch(by);
    let events: Vec<Event> =
        revoked.iter().map(|key_id| Event::KeyRevoked { key_id: key_id.clone() }).collect();
    if !events.is_empty() {
        batch = batch.append(Stream::keys(), keys_end, events);
    }
    if let Some(key_id) = row.key_id.filter(|_| row.status != AgentStatus::Revoked) {
        let event = Event::AgentRevoked { agent_id: agent.clone(), key_id };
        batch = batch.append(Stream::agent(agent), agent_end, vec![event]);
    }
    Ok((batch, revoked))
}

pub(super) fn forget_keys(env: &Env, keys: &[KeyId]) {
    for key in keys {
        env.directory.drop_key(key);
    }
    if !keys.is_empty() {
        env.notices.announce(Note::Keys);
    }
}

async fn delete(env: &Env, key: &KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
    let dropped = commit(env, async || {
        let keys_end = expected(env, &Stream::keys()).await?;
        let row = find(env, key).await?;
        if row.status != KeyStatus::Revoked {
            return Err(MasterError::KeyInUse(row.id));
        }
        let events = vec![Event::KeyDeleted { key_id: row.id.clone() }];
        let batch = env.batch(by).append(Stream::keys(), keys_end, events);
        Ok(Decision {
            batch,
            answer: KeyDropped { key_id: row.id, owner: row.owner, affected_agents: Vec::new() },
        })
    })
    .await?;
    env.notices.announce(Note::Keys);
    Ok(dropped)
}

async fn delete_revoked(env: &Env, by: &str) -> Result<Vec<KeyDropped>, MasterError> {
    let dropped = commit(env, async || {
        let keys_end = expected(env, &Stream::keys()).await?;
        let mut rows = db::keys::load_keys(&env.db).await?;
        rows.retain(|row| row.status == KeyStatus::Revoked);
        let events: Vec<Event> =
            rows.iter().map(|row| Event::KeyDeleted { key_id: row.id.clone() }).collect();
        let mut batch = env.batch(by);
        if !events.is_empty() {
            batch = batch.append(Stream::keys(), keys_end, events);
        }
        let dropped = rows
            .into_iter()
            .map(|row| KeyDropped { key_id: row.id, owner: row.owner, affected_agents: Vec::new() })
            .collect();
        Ok(Decision { batch, answer: dropped })
    })
    .await?;
    env.notices.announce(Note::Keys);
    Ok(dropped)
}

async fn roll(env: &Env, agent: &AgentId, by: &str) -> Result<NewKey, MasterError> {
    let (draft, owner, unused) = commit(env, async || {
        let keys_end = expected(env, &Stream::keys()).await?;
        let agent_end = expected(env, &Stream::agent(agent)).await?;
        let row = db::agents::find_agent(&env.db, agent).await?;
        let row = row.filter(|row| row.status != AgentStatus::Removed);
        let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        let keys = active_keys_of(env, agent).await?;
        let (in_use, unused) = sort_out(env, agent, keys, row.key_id.as_ref());
        let draft = Draft::new(env);
        let mut events: Vec<Event> =
            unused.iter().map(|key| Event::KeyRevoked { key_id: key.clone() }).collect();
        events.push(draft.generated(&row.key_owner, in_use));
        let rolled = Event::AgentKeyRolled { agent_id: agent.clone(), key_id: draft.key_id.clone() };
        let batch = env.batch(by).append(Stream::keys(), keys_end, events).append(
            Stream::agent(agent),
            agent_end,
            vec![rolled],
        );
        Ok(Decision { batch, answer: (draft, row.key_owner, unused) })
    })
    .await?;
    forget_keys(env, &unused);
    let new_key = draft.announce(env, owner, Some(agent.clone()));
    follow(env, agent).await?;
    Ok(new_key)
}

/// Splits an agent's keys: the one it really uses, and those that were made for it and never used.
///
/// A key that was rolled in and not used yet has a predecessor that still works; rolling again replaces it.
fn sort_out(
    env: &Env,
    agent: &AgentId,
    keys: Vec<KeyRow>,
    current: Option<&KeyId>,
) -> (Option<KeyId>, Vec<KeyId>) {
    let previous = env.directory.slot(agent).and_then(|slot| slot.previous_key_id());
    let in_use = previous.or_else(|| current.cloned());
    let unused = keys.into_iter().map(|key| key.id).filter(|id| Some(id) != in_use.as_ref()).collect();
    (in_use, unused)
}
