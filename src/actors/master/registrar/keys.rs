//! Agent keys: revoked for good, and dropped from the list.

use actix::prelude::*;
use secrecy::ExposeSecret;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{KeyDropped, KeyRef};
use crate::actors::supervision::Ctx;
use crate::db::keys::KeyRow;
use crate::db::{self, Batch};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, KeyId};

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

/// Says which key, without repeating a text that may be the key itself.
const GIVEN: &str = "under what was given; the list of keys has their ids";

/// Finds a key by its id or by itself.
pub(super) async fn find(env: &Env, key: &KeyRef) -> Result<KeyRow, MasterError> {
    let (row, shown) = match key {
        KeyRef::Id(id) => {
            // Scripts written for DockFlare put the key itself where an id belongs.
            let is_id = uuid::Uuid::try_parse(id.as_str()).is_ok();
            let shown = if is_id { format!("as `{id}`") } else { GIVEN.to_owned() };
            (db::keys::find_key(&env.db, id).await?, shown)
        }
        KeyRef::Raw(raw) => {
            let digest = hex::encode(digest_key(raw.expose_secret()));
            // Never the key itself: this text goes into answers and logs.
            (db::keys::find_key_by_digest(&env.db, &digest).await?, GIVEN.to_owned())
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
    commit(env, async || {
        let keys_end = expected(env, &Stream::keys()).await?;
        let row = find(env, key).await?;
        let mut dropped =
            KeyDropped { key_id: row.id.clone(), owner: row.owner.clone(), affected_agents: Vec::new() };
        if row.status == KeyStatus::Revoked {
            return Ok(Decision { batch: env.batch(by), answer: dropped });
        }
        let Some(agent) = agent_in_force(env, &row).await? else {
            let events = vec![Event::KeyRevoked { key_id: row.id.clone() }];
            let batch = env.batch(by).append(Stream::keys(), keys_end, events);
            return Ok(Decision { batch, answer: dropped });
        };
        let batch = revoke_agent(env, &agent, by).await?;
        dropped.affected_agents.push(agent);
        Ok(Decision { batch, answer: dropped })
    })
    .await
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
pub(super) async fn revoke_agent(env: &Env, agent: &AgentId, by: &str) -> Result<Batch, MasterError> {
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
    Ok(batch)
}

async fn delete(env: &Env, key: &KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
    commit(env, async || {
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
    .await
}

async fn delete_revoked(env: &Env, by: &str) -> Result<Vec<KeyDropped>, MasterError> {
    commit(env, async || {
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
    .await
}
