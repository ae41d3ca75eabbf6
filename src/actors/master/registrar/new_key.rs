//! Agent keys: made once and kept as digests; an agent's is replaced by one that is limited as it was.

use actix::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::{Decision, Registrar, commit, expected, limits};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::NewKey;
use crate::actors::supervision::Ctx;
use crate::db;
use crate::domain::agent::AgentStatus;
use crate::domain::event::{AgentEvent, KeyEvent, Stream};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::registration::MAX_NAME_CHARS;

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

async fn generate(env: &Env, ask: GenerateKey) -> Result<NewKey, MasterError> {
    let owner: String = ask.owner.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    let patterns = limits::patterns(&ask.hostname_patterns)?;
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
