//! A host registers itself with a registration token: it becomes an agent with a key of its own, takes a seat of the token,
//! and needs no further yes. All of it is one commit, expected where the token's stream was read: of two hosts that come for
//! the last seat one is told that there is none.
//!
//! A RedFlag agent is never shown its key, whose text nobody knows: its access tokens speak for it, so that revoking the key
//! ends them.

use actix::prelude::*;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::tokens::secret_text;
use super::{Decision, Registrar, commit, expected, open_session, version_of};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{Joined, RegisterInput};
use crate::actors::master::slot::Slot;
use crate::actors::supervision::Ctx;
use crate::db::agents::AgentRow;
use crate::db::tokens::TokenRow;
use crate::db::{self, Batch, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::delivery::Dialect;
use crate::domain::event::{AgentEvent, KeyEvent, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::presence::{Presence, presence};
use crate::domain::refresh::{self, RefreshToken, Standing};
use crate::domain::registration::{Namesake, Place, same_again, shown_name};
use crate::domain::text::spell_out;
use crate::domain::token::{TokenEvent, TokenState};

/// How long after it was let in an agent is heard by that alone.
const LETTING_IN: TimeDelta = TimeDelta::seconds(5);

/// Registers a host with a registration token.
#[derive(Message)]
#[rtype(result = "Result<Joined, MasterError>")]
pub struct Join {
    /// The token it came with.
    pub token: SecretString,
    /// What it says of itself.
    pub input: RegisterInput,
    /// What it speaks: ours, or RedFlag's.
    pub dialect: Dialect,
}

impl Handler<Join> for Registrar {
    type Result = AtomicResponse<Self, Result<Joined, MasterError>>;

    fn handle(&mut self, ask: Join, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { join(&env, &ask).await })
    }
}

/// What is made for a host that joins.
struct Newcomer {
    agent: AgentId,
    key_id: KeyId,
    /// The text of its key, and of what renews its access.
    key: SecretString,
    refresh: SecretString,
}

async fn join(env: &Env, ask: &Join) -> Result<Joined, MasterError> {
    let mut newcomer = Newcomer {
        agent: ask.input.agent_id.clone().unwrap_or_else(|| AgentId::new(env.chance.uuid().to_string())),
        key_id: KeyId::new(env.chance.sorted_uuid(&env.clock).to_string()),
        key: env.chance.key().into(),
        refresh: secret_text(env),
    };
    // One at a time: once one host is it, the agent is heard, and a second one is another.
    let again = former(env, ask).await?;
    if let Some(former) = &again {
        newcomer.agent = former.clone();
    }
    let created = commit(env, async || decide(env, ask, &newcomer, again.is_some()).await).await?;
    let slot = env.directory.slot(&newcomer.agent).ok_or(MasterError::Busy)?;
    let session = match ask.dialect {
        Dialect::Native => open_session(env, &slot, &ask.input),
        dialect => {
            slot.registered_from(env.now(), ask.input.peer, ask.input.hostname.as_deref());
            slot.set_dialect(dialect);
            None
        }
    };
    slot.let_in();
    Ok(Joined {
        agent_id: newcomer.agent,
        key_id: newcomer.key_id,
        created,
        key: (ask.dialect == Dialect::Native).then_some(newcomer.key),
        refresh_token: (ask.dialect == Dialect::RedFlag).then_some(newcomer.refresh),
        session,
    })
}

/// Returns the agent that a host was before it lost what it was given, or was never told because the answer was cut off.
async fn former(env: &Env, ask: &Join) -> Result<Option<AgentId>, MasterError> {
    let (Some(hostname), None) = (&ask.input.hostname, &ask.input.agent_id) else { return Ok(None) };
    let there = db::updates::agents_on(&env.db, &spell_out(hostname)).await?;
    if let Some(seated) = seated(env, ask, &there).await? {
        return Ok(Some(seated));
    }
    if ask.dialect != Dialect::RedFlag {
        return Ok(None);
    }
    let mut namesakes = Vec::new();
    for id in there {
        let slot = env.directory.slot(&id).filter(|slot| slot.dialect() == Dialect::RedFlag);
        namesakes.extend(slot.map(|slot| Namesake {
            id,
            status: slot.status(),
            is_heard: is_heard(env, &slot),
        }));
    }
    Ok(same_again(&namesakes).cloned())
}

/// Returns the agent on a seat of a token that has none left, if it is this host and nothing was heard of it since it was let
/// in. A token with seats left lets it in as another one, which harms nobody.
async fn seated(env: &Env, ask: &Join, there: &[AgentId]) -> Result<Option<AgentId>, MasterError> {
    let digest = hex::encode(digest_key(ask.token.expose_secret()));
    let Some(token) = db::tokens::find_token_by_digest(&env.db, &digest).await? else { return Ok(None) };
    if token.state(env.now()) != TokenState::Used {
        return Ok(None);
    }
    let (input, mut namesakes) = (&ask.input, Vec::new());
    for id in db::tokens::list_token_users(&env.db, &token.id).await? {
        let Some(slot) = env.directory.slot(&id).filter(|slot| slot.dialect() == ask.dialect) else {
            continue;
        };
        let Some(row) = db::agents::find_agent(&env.db, &id).await? else { continue };
        let own_name = shown_name(input.display_name.as_deref(), input.hostname.as_deref(), &id);
        let has_its_name = there.contains(&id) || (!row.custom_name && row.display_name == own_name);
        if has_its_name && slot.place(input.peer, input.hostname.as_deref()) != Place::Elsewhere {
            let is_heard = is_heard(env, &slot) && has_spoken(env, &slot).await?;
            namesakes.push(Namesake { id, status: slot.status(), is_heard });
        }
    }
    Ok(same_again(&namesakes).cloned())
}

fn is_heard(env: &Env, slot: &Slot) -> bool {
    let silence = slot.dialect().silence(env.settings.offline_after);
    presence(slot.last_seen(), env.now(), silence, Some(env.started_at)) == Presence::Online
}

/// True if anything came from an agent after it was let in. Over a restart of the master only times are left to tell.
async fn has_spoken(env: &Env, slot: &Slot) -> Result<bool, MasterError> {
    if let Some(has_spoken) = slot.has_spoken() {
        return Ok(has_spoken);
    }
    let Some(last_seen) = slot.last_seen() else { return Ok(false) };
    for key in env.directory.look(|roster| roster.own_keys(slot.id())) {
        let let_in = db::keys::find_key(&env.db, &key).await?.map(|key| key.created_at);
        if let_in.is_some_and(|at| last_seen - at <= LETTING_IN) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn decide(
    env: &Env,
    ask: &Join,
    newcomer: &Newcomer,
    is_again: bool,
) -> Result<Decision<bool>, MasterError> {
    let digest = hex::encode(digest_key(ask.token.expose_secret()));
    let known = db::tokens::find_token_by_digest(&env.db, &digest).await?.ok_or(MasterError::TokenRefused)?;
    let token_stream = Stream::token(&known.id);
    let token_end = expected(env, &token_stream).await?;
    let keys_end = env.directory.keys_end();
    let agent_stream = Stream::agent(&newcomer.agent);
    let agent_end = match is_again || ask.input.agent_id.is_some() {
        true => expected(env, &agent_stream).await?,
        false => Expected::Version(0),
    };
    // Read after where its stream ends: what is written in between is a conflict.
    let token = db::tokens::find_token(&env.db, &known.id).await?.ok_or(MasterError::TokenRefused)?;
    let is_seated = db::tokens::list_token_users(&env.db, &token.id).await?.contains(&newcomer.agent);
    let has_seat = token.state(env.now()) == TokenState::Active || (is_again && is_seated);
    if !token.is_in_force(env.now()) || !has_seat {
        return Err(MasterError::TokenRefused);
    }
    let known = db::agents::find_agent(&env.db, &newcomer.agent).await?;
    let before = known.as_ref().map(|row| row.status);
    match before {
        // Meanwhile a person decided otherwise.
        Some(status) if is_again && status != AgentStatus::Enrolled => return Err(MasterError::Busy),
        // Its own key opens it; a token would let anybody be it.
        Some(status) if !is_again && status.is_heard() => return Err(MasterError::KeyMismatch),
        _ => {}
    }
    let owner = format!("registration token `{}`", token.label);
    let made = KeyEvent::Generated {
        key_id: newcomer.key_id.clone(),
        owner: owner.clone(),
        sha256: hex::encode(digest_key(newcomer.key.expose_secret())),
        rolled_from: None,
    };
    let mut batch = env.batch(format!("agent:{}", newcomer.agent));
    // Who sits on one of its seats already takes no second one.
    if !is_seated {
        let taken = TokenEvent::SeatTaken { token_id: token.id.clone(), agent_id: newcomer.agent.clone() };
        batch = batch.append(token_stream, token_end, vec![taken]);
    }
    let mut keys = vec![made];
    if is_again {
        // Whoever has what was lost gets nothing for it.
        let own = env.directory.look(|roster| roster.own_keys(&newcomer.agent));
        keys.extend(own.into_iter().map(|key_id| KeyEvent::Revoked { key_id }));
        let lost = db::refresh_tokens::list_refresh_tokens(&env.db, &newcomer.agent).await?;
        batch.rows.extend(lost.into_iter().map(|token| RowChange::DeleteRefreshToken { id: token.id }));
    }
    let batch = batch.append(Stream::keys(), keys_end, keys);
    let batch = batch.append(agent_stream, agent_end, came(ask, newcomer, owner, known.as_ref()));
    Ok(Decision { batch: with_rows(env, batch, ask, newcomer, &token), answer: before.is_none() })
}

/// The events of the agent. One that a person revoked is known again, and waits for a person.
fn came(ask: &Join, newcomer: &Newcomer, key_owner: String, known: Option<&AgentRow>) -> Vec<AgentEvent> {
    let (input, agent) = (&ask.input, &newcomer.agent);
    let given = known.filter(|row| row.custom_name && row.status != AgentStatus::Removed);
    let own_name = || shown_name(input.display_name.as_deref(), input.hostname.as_deref(), agent);
    let registered = AgentEvent::Registered {
        agent_id: agent.clone(),
        key_id: newcomer.key_id.clone(),
        display_name: given.map_or_else(own_name, |row| row.display_name.clone()),
        version: version_of(input),
        key_owner,
        shares_key: false,
    };
    let approved = AgentEvent::Approved { agent_id: agent.clone() };
    let is_wanted = known.is_none_or(|row| row.status != AgentStatus::Revoked);
    std::iter::once(registered).chain(is_wanted.then_some(approved)).collect()
}

fn with_rows(env: &Env, batch: Batch, ask: &Join, newcomer: &Newcomer, token: &TokenRow) -> Batch {
    let agent_id = newcomer.agent.clone();
    let batch = batch.row(RowChange::PutAgentDialect { agent_id: agent_id.clone(), dialect: ask.dialect });
    if ask.dialect != Dialect::RedFlag {
        return batch;
    }
    tracing::info!(agent.id = %agent_id, token.id = %token.id, "a RedFlag agent registered");
    let (now, id) = (batch.at, env.chance.uuid().to_string());
    batch.row(RowChange::PutRefreshToken(RefreshToken {
        family: id.clone(),
        id,
        agent_id,
        key_id: newcomer.key_id.clone(),
        sha256: hex::encode(digest_key(newcomer.refresh.expose_secret())),
        generation: 0,
        standing: Standing::Live,
        created_at: now,
        last_used_at: None,
        expires_at: now + refresh::LIFE,
    }))
}
