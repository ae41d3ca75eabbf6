//! Agents: registered, named, limited to hostnames, revoked.

use actix::prelude::*;
use chrono::TimeDelta;

use super::keys::{give_up, patterns, revoke_agent};
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{RegisterInput, Registered};
use crate::actors::supervision::Ctx;
use crate::db::agents::AgentRow;
use crate::db::{self, Assumption, Batch, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::delivery::Dialect;
use crate::domain::event::{AgentEvent, Event, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::presence::{Presence, presence};
use crate::domain::registration::{Admission, MAX_NAME_CHARS, Place, User, admit, shown_name};

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
    type Result = ResponseActFuture<Self, Result<Registered, MasterError>>;

    /// Side by side, so that many share a commit when a fleet comes: what each is decided on is assumed in its batch.
    fn handle(&mut self, ask: Register, _: &mut Ctx<Self>) -> Self::Result {
        let env = self.env.get().cloned();
        let registering = async move {
            match env {
                Some(env) => register(&env, &ask).await,
                None => Err(MasterError::Busy),
            }
        };
        Box::pin(registering.into_actor(self))
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

/// Says who registers with a key, by what is held in memory; `status_of_asked` is where the agent stands whose id the
/// caller brings, if memory does not know it.
pub fn identify(
    env: &Env,
    key: &KeyId,
    input: &RegisterInput,
    status_of_asked: Option<AgentStatus>,
) -> Result<Admission, MasterError> {
    let asked = input.agent_id.as_ref();
    let (own, guests, seats, status) = env.directory.look(|roster| {
        let open = roster.key(key).ok_or(MasterError::KeyRevoked)?;
        let known = asked.and_then(|asked| roster.member(asked)).map(|member| member.status);
        let guests: Vec<AgentId> = roster.guests(key).cloned().collect();
        Ok::<_, MasterError>((open.agent.clone(), guests, open.seats, known.or(status_of_asked)))
    })?;
    let user = |id: AgentId| {
        let slot = env.directory.slot(&id);
        let place =
            slot.as_ref().map_or(Place::Unknown, |slot| slot.place(input.peer, input.hostname.as_deref()));
        let heard_at = slot.filter(|slot| slot.status().is_heard()).and_then(|slot| slot.last_seen());
        let is_heard = presence(heard_at, env.now(), env.settings.offline_after, None) == Presence::Online;
        User { id, place, is_heard }
    };
    let own = own.map(user);
    let guests: Vec<User> = guests.into_iter().map(user).collect();
    Ok(admit(own.as_ref(), &guests, asked, status, seats as usize))
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
    let unknown = ask.input.agent_id.as_ref().filter(|id| env.directory.slot(id).is_none());
    let status = match unknown {
        Some(id) => db::agents::find_agent(&env.db, id).await?.map(|row| row.status),
        None => None,
    };
    let new_id = || AgentId::new(env.chance.uuid().to_string());
    match identify(env, &ask.key, &ask.input, status)? {
        Admission::Refused => Err(MasterError::KeyMismatch),
        Admission::Crowded => Err(MasterError::KeyCrowded(ask.key.clone())),
        Admission::Known(agent) => greet(env, ask, &agent).await,
        Admission::New(id) => take_in(env, ask, id.unwrap_or_else(new_id), false, false).await,
        Admission::Again(id) => take_in(env, ask, id, true, false).await,
        Admission::Guest(id) => take_in(env, ask, id.unwrap_or_else(new_id), false, true).await,
    }
}

/// Writes down a new agent, or one that comes back with another key; either waits for a person.
async fn take_in(
    env: &Env,
    ask: &Register,
    agent: AgentId,
    is_known: bool,
    shares_key: bool,
) -> Result<Decision<Outcome>, MasterError> {
    let stream = Stream::agent(&agent);
    // An id that was made just now has no history.
    let is_own_id = ask.input.agent_id.is_some();
    let end = if is_own_id { expected(env, &stream).await? } else { Expected::Version(0) };
    let owner = env.directory.look(|roster| roster.key(&ask.key).map(|key| key.owner.clone()));
    let owner = owner.ok_or(MasterError::KeyRevoked)?;
    let own_name = shown_name(ask.input.display_name.as_deref(), ask.input.hostname.as_deref(), &agent);
    let given = env.directory.look(|roster| {
        let member = roster.member(&agent).filter(|member| is_known && member.custom_name);
        member.map(|member| member.display_name.clone())
    });
    let event = AgentEvent::Registered {
        agent_id: agent.clone(),
        key_id: ask.key.clone(),
        display_name: given.unwrap_or(own_name),
        version: version_of(&ask.input),
        key_owner: owner,
        shares_key,
    };
    let batch = env.batch(format!("agent:{agent}"));
    let batch =
        batch.assume(Assumption::KeyOpens { key_id: ask.key.clone() }).append(stream, end, vec![event]);
    let batch = batch.row(spoken(&agent, &ask.input));
    // One that was removed and has not fetched its last command fetches it with the new key.
    let batch = give_up_other_keys(env, batch, &agent, &ask.key);
    Ok(Decision { batch, answer: Outcome { agent, created: !is_known } })
}

/// Greets a known agent: notes a new name, version or dialect, and ends the use of a key that was rolled away from. Of
/// one that was removed only the dialect is noted: it comes for its last command.
async fn greet(env: &Env, ask: &Register, agent: &AgentId) -> Result<Decision<Outcome>, MasterError> {
    let stream = Stream::agent(agent);
    let end = expected(env, &stream).await?;
    let row = db::agents::find_agent(&env.db, agent).await?;
    let row = row.filter(|row| row.status != AgentStatus::Revoked).ok_or(MasterError::KeyRevoked)?;
    let mut batch = env.batch(format!("agent:{agent}"));
    let mut events = Vec::new();
    if let Some(event) = news(&row, &ask.input).filter(|_| row.status != AgentStatus::Removed)
        && may_change(env, &stream).await?
    {
        events.push(event);
    }
    if row.dialect.as_deref().map_or(Dialect::V2, Dialect::of) != ask.input.dialect() {
        batch = batch.row(spoken(agent, &ask.input));
    }
    let uses_it = row.key_id.as_ref() == Some(&ask.key);
    if let Some(shared) = row.shared_key_id.filter(|shared| uses_it && *shared != ask.key) {
        events.push(AgentEvent::LeftKey { agent_id: agent.clone(), key_id: shared });
    }
    if !events.is_empty() {
        batch = batch.append(stream, end, events);
    }
    if uses_it {
        batch = give_up_other_keys(env, batch, agent, &ask.key);
    }
    Ok(Decision { batch, answer: Outcome { agent: agent.clone(), created: false } })
}

/// The new key was used, so the one it replaces is done with.
fn give_up_other_keys(env: &Env, batch: Batch, agent: &AgentId, key: &KeyId) -> Batch {
    let mut others = env.directory.look(|roster| roster.own_keys(agent));
    others.retain(|id| id != key);
    give_up(env, batch, agent, &others)
}

/// Notes what an agent speaks: a master that starts anew has to know that before the agent registers with it.
fn spoken(agent: &AgentId, input: &RegisterInput) -> RowChange {
    RowChange::PutAgentDialect { agent_id: agent.clone(), dialect: input.dialect() }
}

fn news(row: &AgentRow, input: &RegisterInput) -> Option<AgentEvent> {
    let own_name = shown_name(input.display_name.as_deref(), input.hostname.as_deref(), &row.id);
    let display_name = if row.custom_name { row.display_name.clone() } else { own_name };
    let version = version_of(input);
    let is_new = display_name != row.display_name || version != row.version;
    is_new.then(|| AgentEvent::Updated { agent_id: row.id.clone(), display_name, version })
}

/// True if a new name or version is written down now: history is kept for good, and any key could fill it. What was
/// left out is written down when the agent registers later.
pub(super) async fn may_change(env: &Env, stream: &Stream) -> Result<bool, MasterError> {
    let recent = db::events::list_stream_since(&env.db, stream, env.now() - CHANGES_WINDOW).await?;
    let changes = recent.iter().filter(|row| matches!(row.event, Event::Agent(AgentEvent::Updated { .. })));
    Ok(changes.count() < MOST_CHANGES)
}

/// Returns the version an agent says, cut to what is kept.
pub fn version_of(input: &RegisterInput) -> Option<String> {
    version_of_text(input.version.as_deref())
}

/// Returns a version cut to what is kept.
pub(super) fn version_of_text(text: Option<&str>) -> Option<String> {
    let version = text.map(str::trim).filter(|version| !version.is_empty())?;
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
            let event = AgentEvent::Renamed { agent_id: row.id, display_name: name.clone() };
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
        let (batch, _) = revoke_agent(env, &ask.agent, &ask.by).await?;
        Ok(Decision { batch, answer: () })
    })
    .await
}

/// Limits an agent to hostnames, beside what its key permits.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct LimitAgent {
    /// Which agent.
    pub agent: AgentId,
    /// Hostnames that it may claim, as they were written; none: any.
    pub hostname_patterns: Vec<String>,
    /// Who asks.
    pub by: String,
}

impl Handler<LimitAgent> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: LimitAgent, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { limit(&env, &ask).await })
    }
}

async fn limit(env: &Env, ask: &LimitAgent) -> Result<(), MasterError> {
    let hostname_patterns = patterns(&ask.hostname_patterns)?;
    commit(env, async || {
        let stream = Stream::agent(&ask.agent);
        let end = expected(env, &stream).await?;
        let row = listed(env, &ask.agent).await?;
        let mut batch = env.batch(&ask.by);
        if row.hostname_patterns != hostname_patterns {
            let hostname_patterns = hostname_patterns.clone();
            batch =
                batch.append(stream, end, vec![AgentEvent::Limited { agent_id: row.id, hostname_patterns }]);
        }
        Ok(Decision { batch, answer: () })
    })
    .await
}
