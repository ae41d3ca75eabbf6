//! Agents: registered, named, revoked.

use actix::prelude::*;
use chrono::TimeDelta;

use super::keys::{active_keys_of, revoke_agent};
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{RegisterInput, Registered};
use crate::actors::supervision::Ctx;
use crate::db::agents::AgentRow;
use crate::db::keys::KeyRow;
use crate::db::{self, Batch, Expected, RowChange};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::delivery::Dialect;
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::registration::{Admission, MAX_NAME_CHARS, admit, shown_name};

/// Longest version text that is kept.
const MAX_VERSION_CHARS: usize = 64;
/// New names and versions of one agent that are written down in [`CHANGES_WINDOW`].
const MOST_CHANGES: usize = 10;
const CHANGES_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Registers an agent with a key that was valid when the request came.
#[derive(Message)]
#[rtype(result = "Result<Registered, MasterError>")]
pub struct Register {
    /// The key it came with.
    pub key: KeyId,
    /// What it says of itself.
    pub input: RegisterInput,
}

/// Names an agent.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct Rename {
    /// Which agent.
    pub agent: AgentId,
    /// Its new name.
    pub display_name: String,
    /// Who asks.
    pub by: String,
}

/// Revokes every key of an agent; its tunnel and routes stay.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct Revoke {
    /// Which agent.
    pub agent: AgentId,
    /// Who asks.
    pub by: String,
}

impl Handler<Register> for Registrar {
    type Result = AtomicResponse<Self, Result<Registered, MasterError>>;

    fn handle(&mut self, ask: Register, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { register(&env, &ask).await })
    }
}

impl Handler<Rename> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: Rename, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { rename(&env, &ask).await })
    }
}

impl Handler<Revoke> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: Revoke, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { revoke(&env, &ask).await })
    }
}

/// What was decided about a registration.
struct Outcome {
    agent: AgentId,
    created: bool,
}

async fn register(env: &Env, ask: &Register) -> Result<Registered, MasterError> {
    let outcome = commit(env, async || decide(env, ask).await).await?;
    let slot = env.directory.slot(&outcome.agent).ok_or(MasterError::Busy)?;
    let session = open_session(env, &slot, &ask.input);
    Ok(Registered { created: outcome.created, agent_id: outcome.agent, session })
}

/// Notes where the agent is heard from and begins its session, if it speaks our dialect.
pub fn open_session(
    env: &Env,
    slot: &crate::actors::master::slot::Slot,
    input: &RegisterInput,
) -> Option<String> {
    slot.registered_from(env.now(), input.peer, input.hostname.as_deref());
    // Whatever it said before, its next report is looked at: it may have a host behind it that changed.
    slot.forget_reports();
    slot.set_dialect(input.dialect());
    if !input.native {
        slot.close_session();
        return None;
    }
    let session = env.chance.uuid().to_string();
    slot.open_session(session.clone());
    Some(session)
}

async fn decide(env: &Env, ask: &Register) -> Result<Decision<Outcome>, MasterError> {
    let keys_end = expected(env, &Stream::keys()).await?;
    let key = db::keys::find_key(&env.db, &ask.key).await?;
    let key = key.filter(|key| key.status == KeyStatus::Active).ok_or(MasterError::KeyRevoked)?;
    let asked = match &ask.input.agent_id {
        Some(asked) => db::agents::find_agent(&env.db, asked).await?,
        None => None,
    };
    let admission = admit(
        key.bound_agent_id.as_ref(),
        ask.input.agent_id.as_ref(),
        asked.as_ref().map(|agent| agent.status),
    );
    match admission {
        Admission::Refused => Err(MasterError::KeyMismatch),
        Admission::Known(agent) => greet(env, ask, &agent, &key, keys_end).await,
        Admission::New(id) => {
            let id = id.unwrap_or_else(|| AgentId::new(env.chance.uuid().to_string()));
            take_in(env, ask, id, &key, None, keys_end).await
        }
        Admission::Again(id) => take_in(env, ask, id, &key, asked, keys_end).await,
    }
}

/// Writes down a new agent, or one that comes back with another key; either waits for a person.
async fn take_in(
    env: &Env,
    ask: &Register,
    agent: AgentId,
    key: &KeyRow,
    known: Option<AgentRow>,
    keys_end: Expected,
) -> Result<Decision<Outcome>, MasterError> {
    let stream = Stream::agent(&agent);
    let end = expected(env, &stream).await?;
    // One that was removed and has not fetched its last command fetches it with the new key.
    let retired = other_keys(env, &agent, &key.id).await?;
    let created = known.is_none();
    let own_name = shown_name(ask.input.display_name.as_deref(), ask.input.hostname.as_deref(), &agent);
    let display_name = known.filter(|row| row.custom_name).map_or(own_name, |row| row.display_name);
    let event = Event::AgentRegistered {
        agent_id: agent.clone(),
        key_id: key.id.clone(),
        display_name,
        version: version_of(&ask.input),
        key_owner: key.owner.clone(),
    };
    let batch = env.batch(format!("agent:{agent}")).append(stream, end, vec![event]);
    let batch = batch.row(spoken(&agent, &ask.input));
    let batch = retire(batch, keys_end, &retired);
    Ok(Decision { batch, answer: Outcome { agent, created } })
}

/// Greets a known agent: notes a new name, version or dialect, and ends the use of a key that was rolled away from. Of
/// one that was removed only the dialect is noted: it comes for its last command.
async fn greet(
    env: &Env,
    ask: &Register,
    agent: &AgentId,
    key: &KeyRow,
    keys_end: Expected,
) -> Result<Decision<Outcome>, MasterError> {
    let stream = Stream::agent(agent);
    let end = expected(env, &stream).await?;
    let row = db::agents::find_agent(&env.db, agent).await?;
    let row = row.filter(|row| row.status != AgentStatus::Revoked).ok_or(MasterError::KeyRevoked)?;
    let mut batch = env.batch(format!("agent:{agent}"));
    if let Some(event) = news(&row, &ask.input).filter(|_| row.status != AgentStatus::Removed)
        && may_change(env, &stream).await?
    {
        batch = batch.append(stream, end, vec![event]);
    }
    if row.dialect.as_deref().map_or(Dialect::V2, Dialect::of) != ask.input.dialect() {
        batch = batch.row(spoken(agent, &ask.input));
    }
    if row.key_id.as_ref() == Some(&key.id) {
        batch = retire(batch, keys_end, &other_keys(env, agent, &key.id).await?);
    }
    Ok(Decision { batch, answer: Outcome { agent: agent.clone(), created: false } })
}

async fn other_keys(env: &Env, agent: &AgentId, key: &KeyId) -> Result<Vec<KeyId>, MasterError> {
    let keys = active_keys_of(env, agent).await?.into_iter().map(|key| key.id);
    Ok(keys.filter(|id| id != key).collect())
}

/// The new key was used, so the one it replaces is done with.
fn retire(batch: Batch, keys_end: Expected, retired: &[KeyId]) -> Batch {
    let events: Vec<Event> =
        retired.iter().map(|key_id| Event::KeyRevoked { key_id: key_id.clone() }).collect();
    if events.is_empty() { batch } else { batch.append(Stream::keys(), keys_end, events) }
}

/// Notes what an agent speaks: a master that starts anew has to know that before the agent registers with it.
fn spoken(agent: &AgentId, input: &RegisterInput) -> RowChange {
    RowChange::PutAgentDialect { agent_id: agent.clone(), dialect: input.dialect() }
}

fn news(row: &AgentRow, input: &RegisterInput) -> Option<Event> {
    let own_name = shown_name(input.display_name.as_deref(), input.hostname.as_deref(), &row.id);
    let display_name = if row.custom_name { row.display_name.clone() } else { own_name };
    let version = version_of(input);
    let is_new = display_name != row.display_name || version != row.version;
    is_new.then(|| Event::AgentUpdated { agent_id: row.id.clone(), display_name, version })
}

/// True if a new name or version is written down now: history is kept for good, and any key could fill it. What was
/// left out is written down when the agent registers later.
async fn may_change(env: &Env, stream: &Stream) -> Result<bool, MasterError> {
    let recent = db::events::list_stream_since(&env.db, stream, env.now() - CHANGES_WINDOW).await?;
    let changes = recent.iter().filter(|row| matches!(row.event, Event::AgentUpdated { .. }));
    Ok(changes.count() < MOST_CHANGES)
}

/// Returns the version an agent says, cut to what is kept.
pub fn version_of(input: &RegisterInput) -> Option<String> {
    let version = input.version.as_deref().map(str::trim).filter(|version| !version.is_empty())?;
    Some(version.chars().filter(|c| !c.is_control()).take(MAX_VERSION_CHARS).collect())
}

async fn rename(env: &Env, ask: &Rename) -> Result<(), MasterError> {
    let name: String =
        ask.display_name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    if name.is_empty() {
        return Err(MasterError::Invalid("`display_name` is empty; give the agent a name".into()));
    }
    commit(env, async || {
        let stream = Stream::agent(&ask.agent);
        let end = expected(env, &stream).await?;
        let row = listed(env, &ask.agent).await?;
        let mut batch = env.batch(&ask.by);
        if row.display_name != name || !row.custom_name {
            let event = Event::AgentRenamed { agent_id: row.id, display_name: name.clone() };
            batch = batch.append(stream, end, vec![event]);
        }
        Ok(Decision { batch, answer: () })
    })
    .await
}

/// Returns an agent that is on the list.
pub(super) async fn listed(env: &Env, agent: &AgentId) -> Result<AgentRow, MasterError> {
    let row = db::agents::find_agent(&env.db, agent).await?;
    row.filter(|row| row.status != AgentStatus::Removed)
        .ok_or_else(|| MasterError::AgentNotFound(agent.clone()))
}

async fn revoke(env: &Env, ask: &Revoke) -> Result<(), MasterError> {
    commit(env, async || {
        listed(env, &ask.agent).await?;
        Ok(Decision { batch: revoke_agent(env, &ask.agent, &ask.by).await?, answer: () })
    })
    .await
}
