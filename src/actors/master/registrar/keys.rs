//! Agent keys: made once and kept as digests, given seats, replaced by one that is limited as the old one was, revoked for
//! good, and dropped from the list.

use actix::prelude::*;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{KeyDropped, KeyRef, NewKey, TakenKey};
use crate::actors::supervision::Ctx;
use crate::db::keys::KeyRow;
use crate::db::removals::withdrawn_among;
use crate::db::{self, Batch, Expected};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::event::{AgentEvent, KeyEvent, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::limits::parse_patterns;
use crate::domain::registration::MAX_NAME_CHARS;
use crate::domain::removal::Withdrawn;

/// Makes a key that no agent uses yet.
#[derive(Message)]
#[rtype(result = "Result<NewKey, MasterError>")]
pub struct GenerateKey {
    /// Who it is for, in words.
    pub owner: String,
    /// Hostnames that its agent may claim, as they were written; none: any.
    pub hostname_patterns: Vec<String>,
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

    /// The events that write it down, limited to these hostnames.
    fn generated(
        &self,
        owner: &str,
        rolled_from: Option<KeyId>,
        hostname_patterns: Vec<String>,
    ) -> Vec<KeyEvent> {
        let sha256 = hex::encode(digest_key(self.raw.expose_secret()));
        let key_id = || self.key_id.clone();
        let mut events =
            vec![KeyEvent::Generated { key_id: key_id(), owner: owner.into(), sha256, rolled_from }];
        if !hostname_patterns.is_empty() {
            events.push(KeyEvent::Limited { key_id: key_id(), hostname_patterns });
        }
        events
    }

    /// What is shown of it, once.
    fn shown(self, env: &Env, owner: String, hostname_patterns: Vec<String>) -> NewKey {
        NewKey { key_id: self.key_id, raw: self.raw, owner, hostname_patterns, created_at: env.now() }
    }
}

/// Takes over a key that another program made, by its digest: the key itself is never told.
#[derive(Message)]
#[rtype(result = "Result<TakenKey, MasterError>")]
pub struct TakeKey {
    /// Hex SHA-256 of the key.
    pub sha256: String,
    /// Whom it is for, in words.
    pub owner: String,
    /// How many agents may be enrolled with it.
    pub seats: u32,
    /// Who asks.
    pub by: String,
}

impl Handler<TakeKey> for Registrar {
    type Result = AtomicResponse<Self, Result<TakenKey, MasterError>>;

    fn handle(&mut self, ask: TakeKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { take(&env, &ask).await })
    }
}

/// A key that is known already stays as it is, and one that was revoked stays shut, also once it is off the list.
async fn take(env: &Env, ask: &TakeKey) -> Result<TakenKey, MasterError> {
    if ask.sha256.len() != 64 || !ask.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let reason = "the digest of a key is its SHA-256 as 64 small hex digits; the key itself is not taken";
        return Err(MasterError::Invalid(reason.into()));
    }
    check_seats(ask.seats)?;
    let owner = owner_of(&ask.owner);
    commit(env, async || {
        let keys_end = env.directory.keys_end();
        if let Some(row) = db::keys::find_key_by_digest(&env.db, &ask.sha256).await? {
            if row.status == KeyStatus::Revoked {
                let reason = format!("this key was revoked here as `{}`; make a new one", row.id);
                return Err(MasterError::Invalid(reason));
            }
            let answer = TakenKey { key_id: row.id, is_new: false };
            return Ok(Decision { batch: env.batch(&ask.by), answer });
        }
        let dropped = withdrawn_among(&env.db, Withdrawn::Key, std::slice::from_ref(&ask.sha256)).await?;
        if !dropped.is_empty() {
            let reason = "this key was revoked here and dropped from the list; make a new one";
            return Err(MasterError::Invalid(reason.into()));
        }
        let key_id = KeyId::new(env.chance.sorted_uuid(&env.clock).to_string());
        let (owner, sha256) = (owner.clone(), ask.sha256.clone());
        let mut events =
            vec![KeyEvent::Generated { key_id: key_id.clone(), owner, sha256, rolled_from: None }];
        if ask.seats != 1 {
            events.push(KeyEvent::Seated { key_id: key_id.clone(), seats: ask.seats });
        }
        let batch = env.batch(&ask.by).append(Stream::keys(), keys_end, events);
        Ok(Decision { batch, answer: TakenKey { key_id, is_new: true } })
    })
    .await
}

/// What is kept of the words that say whom a key is for.
fn owner_of(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

fn check_seats(seats: u32) -> Result<(), MasterError> {
    match (1..=MOST_SEATS).contains(&seats) {
        true => Ok(()),
        false => Err(MasterError::Invalid(format!("`seats` is a number from 1 to {MOST_SEATS}"))),
    }
}

async fn generate(env: &Env, ask: GenerateKey) -> Result<NewKey, MasterError> {
    let owner = owner_of(&ask.owner);
    let patterns = patterns(&ask.hostname_patterns)?;
    let draft = commit(env, async || {
        let draft = Draft::new(env);
        let expected = env.directory.keys_end();
        let events = draft.generated(&owner, None, patterns.clone());
        let batch = env.batch(&ask.by).append(Stream::keys(), expected, events);
        Ok(Decision { batch, answer: draft })
    })
    .await?;
    Ok(draft.shown(env, owner, patterns))
}

async fn roll(env: &Env, agent: &AgentId, by: &str) -> Result<NewKey, MasterError> {
    let (draft, owner, patterns) = commit(env, async || {
        let keys_end = env.directory.keys_end();
        let agent_end = expected(env, &Stream::agent(agent)).await?;
        let row = db::agents::find_agent(&env.db, agent).await?;
        let row = row.filter(|row| row.status != AgentStatus::Removed);
        let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        let (in_use, unused) = sort_out(env, agent, row.key_id.as_ref());
        let draft = Draft::new(env);
        let mut events: Vec<_> = unused.iter().map(|key| KeyEvent::Revoked { key_id: key.clone() }).collect();
        // Or a new key would open what the old one did not.
        let patterns = db::agents::find_limits(&env.db, agent).await?.key;
        events.extend(draft.generated(&row.key_owner, in_use, patterns.clone()));
        let rolled = AgentEvent::KeyRolled { agent_id: agent.clone(), key_id: draft.key_id.clone() };
        let batch = env.batch(by).append(Stream::keys(), keys_end, events).append(
            Stream::agent(agent),
            agent_end,
            vec![rolled],
        );
        Ok(Decision { batch, answer: (draft, row.key_owner, patterns) })
    })
    .await?;
    Ok(draft.shown(env, owner, patterns))
}

/// Splits an agent's keys: the one it really uses, and those that were made for it and never used.
///
/// A key that was rolled in and not used yet has a predecessor that still works; rolling again replaces it.
fn sort_out(env: &Env, agent: &AgentId, current: Option<&KeyId>) -> (Option<KeyId>, Vec<KeyId>) {
    let previous = env.directory.slot(agent).and_then(|slot| slot.previous_key_id());
    let in_use = previous.or_else(|| current.cloned());
    let mut unused = env.directory.look(|roster| roster.own_keys(agent));
    unused.retain(|id| Some(id) != in_use.as_ref());
    (in_use, unused)
}

/// Reads patterns that a person wrote.
pub(super) fn patterns(texts: &[String]) -> Result<Vec<String>, MasterError> {
    parse_patterns(texts).map_err(|error| MasterError::Invalid(error.to_string()))
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

/// Drops revoked keys from the list.
#[derive(Message)]
#[rtype(result = "Result<Vec<KeyDropped>, MasterError>")]
pub struct DeleteRevokedKeys {
    /// Those only that were revoked before; none: all of them.
    pub before: Option<DateTime<Utc>>,
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
        self.decide(move |env| async move { delete_revoked(&env, &ask).await })
    }
}

/// Most agents that may be enrolled with one key.
const MOST_SEATS: u32 = 1_000;

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

async fn revoke(env: &Env, key: &KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
    commit(env, async || {
        let keys_end = env.directory.keys_end();
        let row = find(env, key).await?;
        let mut dropped =
            KeyDropped { key_id: row.id.clone(), owner: row.owner.clone(), affected_agents: Vec::new() };
        if row.status == KeyStatus::Revoked {
            return Ok(Decision { batch: env.batch(by), answer: dropped });
        }
        let own = row.bound_agent_id.as_ref().filter(|agent| is_in_force(env, agent, &row.id));
        if let Some(agent) = own {
            let (batch, affected_agents) = revoke_agent(env, agent, by).await?;
            return Ok(Decision { batch, answer: KeyDropped { affected_agents, ..dropped } });
        }
        let revoked = vec![KeyEvent::Revoked { key_id: row.id.clone() }];
        let batch = env.batch(by).append(Stream::keys(), keys_end, revoked);
        let (batch, affected) = silence_guests(env, batch, &[row.id]).await?;
        dropped.affected_agents = affected;
        Ok(Decision { batch, answer: dropped })
    })
    .await
}

/// True if this is the agent's key in force, and it is heard at all.
fn is_in_force(env: &Env, agent: &AgentId, key: &KeyId) -> bool {
    env.directory.look(|roster| {
        roster
            .member(agent)
            .is_some_and(|member| member.status.is_heard() && member.key.as_ref() == Some(key))
    })
}

/// Revokes an agent with every key of its own, and with them those that share one; returns them all. One that only
/// shares a key is not heard any more, and the key goes on.
pub(super) async fn revoke_agent(
    env: &Env,
    agent: &AgentId,
    by: &str,
) -> Result<(Batch, Vec<AgentId>), MasterError> {
    let keys_end = env.directory.keys_end();
    let agent_end = expected(env, &Stream::agent(agent)).await?;
    let row = db::agents::find_agent(&env.db, agent).await?;
    let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let revoked = env.directory.look(|roster| roster.own_keys(agent));
    let mut batch = env.batch(by);
    let events: Vec<_> = revoked.iter().map(|key_id| KeyEvent::Revoked { key_id: key_id.clone() }).collect();
    if !events.is_empty() {
        batch = batch.append(Stream::keys(), keys_end, events);
    }
    if let Some(key_id) = row.key_id.filter(|_| row.status != AgentStatus::Revoked) {
        let event = AgentEvent::Revoked { agent_id: agent.clone(), key_id };
        batch = batch.append(Stream::agent(agent), agent_end, vec![event]);
    }
    let (batch, guests) = silence_guests(env, batch, &revoked).await?;
    Ok((batch, std::iter::once(agent.clone()).chain(guests).collect()))
}

/// Agents that share keys which are revoked are not heard any more either; returns them.
async fn silence_guests(
    env: &Env,
    mut batch: Batch,
    keys: &[KeyId],
) -> Result<(Batch, Vec<AgentId>), MasterError> {
    let guests: Vec<(AgentId, KeyId)> = env.directory.look(|roster| {
        let of = |key: &KeyId| roster.guests(key).map(|id| (id.clone(), key.clone())).collect::<Vec<_>>();
        keys.iter().flat_map(of).collect()
    });
    let mut silenced = Vec::new();
    for (agent_id, key_id) in guests {
        if is_in_force(env, &agent_id, &key_id) {
            let end = expected(env, &Stream::agent(&agent_id)).await?;
            let event = AgentEvent::Revoked { agent_id: agent_id.clone(), key_id };
            batch = batch.append(Stream::agent(&agent_id), end, vec![event]);
            silenced.push(agent_id);
        }
    }
    Ok((batch, silenced))
}

/// An agent uses these keys no more: they are revoked, or go on with those that share them.
pub(super) fn give_up(env: &Env, mut batch: Batch, agent: &AgentId, keys: &[KeyId]) -> Batch {
    let is_shared = |key: &&KeyId| env.directory.look(|roster| roster.guests(key).next().is_some());
    let (shared, alone): (Vec<&KeyId>, Vec<&KeyId>) = keys.iter().partition(is_shared);
    let revoked: Vec<_> = alone.into_iter().map(|key| KeyEvent::Revoked { key_id: key.clone() }).collect();
    if !revoked.is_empty() {
        batch = batch.append(Stream::keys(), env.directory.keys_end(), revoked);
    }
    let left: Vec<_> = shared
        .into_iter()
        .map(|key| AgentEvent::LeftKey { agent_id: agent.clone(), key_id: key.clone() })
        .collect();
    if !left.is_empty() {
        batch = batch.append(Stream::agent(agent), Expected::Head, left);
    }
    batch
}

/// Lets more agents, or fewer, be enrolled with a key; those that are enrolled stay.
#[derive(Message)]
#[rtype(result = "Result<KeyDropped, MasterError>")]
pub struct SeatKey {
    /// Which key.
    pub key: KeyRef,
    /// How many agents may be enrolled with it.
    pub seats: u32,
    /// Who asks.
    pub by: String,
}

impl Handler<SeatKey> for Registrar {
    type Result = AtomicResponse<Self, Result<KeyDropped, MasterError>>;

    fn handle(&mut self, ask: SeatKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { seat(&env, &ask).await })
    }
}

async fn seat(env: &Env, ask: &SeatKey) -> Result<KeyDropped, MasterError> {
    check_seats(ask.seats)?;
    commit(env, async || {
        let keys_end = env.directory.keys_end();
        let row = find(env, &ask.key).await?;
        if row.status == KeyStatus::Revoked {
            return Err(MasterError::KeyRevoked);
        }
        let mut batch = env.batch(&ask.by);
        if row.seats != ask.seats {
            let event = KeyEvent::Seated { key_id: row.id.clone(), seats: ask.seats };
            batch = batch.append(Stream::keys(), keys_end, vec![event]);
        }
        let affected_agents = env.directory.look(|roster| roster.users(&row.id));
        Ok(Decision { batch, answer: KeyDropped { key_id: row.id, owner: row.owner, affected_agents } })
    })
    .await
}

async fn delete(env: &Env, key: &KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
    commit(env, async || {
        let keys_end = env.directory.keys_end();
        let row = find(env, key).await?;
        if row.status != KeyStatus::Revoked {
            return Err(MasterError::KeyInUse(row.id));
        }
        let events = vec![KeyEvent::Deleted { key_id: row.id.clone() }];
        let batch = env.batch(by).append(Stream::keys(), keys_end, events);
        Ok(Decision {
            batch,
            answer: KeyDropped { key_id: row.id, owner: row.owner, affected_agents: Vec::new() },
        })
    })
    .await
}

async fn delete_revoked(env: &Env, ask: &DeleteRevokedKeys) -> Result<Vec<KeyDropped>, MasterError> {
    let is_old = |row: &KeyRow| ask.before.is_none_or(|before| row.revoked_at.is_some_and(|at| at < before));
    commit(env, async || {
        let keys_end = env.directory.keys_end();
        let mut rows = db::keys::load_keys(&env.db).await?;
        rows.retain(|row| row.status == KeyStatus::Revoked && is_old(row));
        let events: Vec<_> = rows.iter().map(|row| KeyEvent::Deleted { key_id: row.id.clone() }).collect();
        let mut batch = env.batch(&ask.by);
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
