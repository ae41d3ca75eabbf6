//! A RedFlag agent renews its access with its refresh token.

use actix::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::keys::revoke_agent;
use super::tokens::secret_text;
use super::{Decision, Registrar, commit};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::Renewed;
use crate::actors::supervision::Ctx;
use crate::db::{self, Expected, RowChange};
use crate::domain::event::{AgentEvent, Stream};
use crate::domain::id::AgentId;
use crate::domain::refresh::{RefreshToken, Renewal, renew};

/// Renews the access of an agent.
#[derive(Message)]
#[rtype(result = "Result<Renewed, MasterError>")]
pub struct Renew {
    /// Whose.
    pub agent: AgentId,
    /// With what.
    pub token: SecretString,
    /// True if the client can take another refresh token.
    pub rotates: bool,
}

impl Handler<Renew> for Registrar {
    type Result = AtomicResponse<Self, Result<Renewed, MasterError>>;

    fn handle(&mut self, ask: Renew, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { carry_out(&env, &ask).await })
    }
}

async fn carry_out(env: &Env, ask: &Renew) -> Result<Renewed, MasterError> {
    let slot = env.directory.slot(&ask.agent).filter(|slot| slot.status().is_heard());
    let slot = slot.ok_or(MasterError::TokenRefused)?;
    let digest = hex::encode(digest_key(ask.token.expose_secret()));
    let answer = commit(env, async || {
        let known = db::refresh_tokens::list_refresh_tokens(&env.db, &ask.agent).await?;
        let text = ask.rotates.then(|| secret_text(env));
        let next = text
            .as_ref()
            .map(|text| (env.chance.uuid().to_string(), hex::encode(digest_key(text.expose_secret()))));
        match renew(&known, &digest, next, env.now()) {
            Renewal::Unknown => Err(MasterError::TokenRefused),
            Renewal::Reused(revoked) => refuse_copy(env, &ask.agent, revoked).await,
            Renewal::Granted { key_id, changed, forgotten, successor } => {
                if !slot.accepts(&key_id) {
                    return Err(MasterError::TokenRefused);
                }
                let mut batch = env.batch(format!("agent:{}", ask.agent));
                let puts =
                    changed.into_iter().chain(successor.map(|next| *next)).map(RowChange::PutRefreshToken);
                batch.rows.extend(puts);
                batch.rows.extend(forgotten.into_iter().map(|id| RowChange::DeleteRefreshToken { id }));
                Ok(Decision { batch, answer: Some(Renewed { key_id, refresh_token: text }) })
            }
        }
    })
    .await?;
    slot.touch(env.clock.now());
    slot.spoke();
    answer.ok_or(MasterError::TokenRefused)
}

/// Somebody has a copy. Access that was given before lasts a day, so the agent's key goes too.
async fn refuse_copy(
    env: &Env,
    agent: &AgentId,
    revoked: Vec<RefreshToken>,
) -> Result<Decision<Option<Renewed>>, MasterError> {
    tracing::warn!(agent.id = %agent, "a replaced refresh token was used again: the agent's credentials are revoked");
    let (mut batch, _) = revoke_agent(env, agent, "system").await?;
    let reused = AgentEvent::CredentialReused { agent_id: agent.clone() };
    batch = batch.append(Stream::agent(agent), Expected::Head, vec![reused]);
    batch.rows.extend(revoked.into_iter().map(RowChange::PutRefreshToken));
    Ok(Decision { batch, answer: None })
}
