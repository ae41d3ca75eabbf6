//! The single writer of who is who: keys, agents, administrators, settings, accounts at registries and where people are
//! told what happened.
//!
//! It keeps no state. Each operation reads what it decides on, appends with the version it read, and starts over
//! if another master wrote meanwhile; the directory follows the record by itself.

mod access;
mod admin;
mod agents;
mod cloudflare;
mod enrolment;
mod held_images;
mod joining;
mod keys;
mod machine;
mod notifications;
mod order_keys;
mod registries;
mod removal;
mod renewal;
mod rules;
mod said;
mod tokens;

use std::future::Future;
use std::sync::{Arc, OnceLock};

use actix::prelude::*;

use super::env::Env;
use super::error::MasterError;
use super::fleet::Work;
use super::for_registrar::EnsureOrderKey;
use super::store::CommitFailed;
use crate::actors::supervision::{Ctx, supervised};
use crate::db::{self, Batch, CommitError, Expected};
use crate::domain::agent::AgentStatus;
use crate::domain::event::Stream;

pub use access::{RemoveGroup, SetGroup};
pub use admin::{ChangeSetting, EndSession, OpenSession, SetAdminPassword, SetUpAdmin};
pub use agents::{LimitAgent, Register, Rename, Revoke, identify, open_session, version_of};
pub use cloudflare::SetCloudflareToken;
pub use enrolment::{Approve, BeginEnrolment, CommitEnrolment, Enrolment};
pub use held_images::LetImageGo;
pub use joining::Join;
pub use keys::{DeleteKey, DeleteRevokedKeys, GenerateKey, RevokeKey, RollKey, SeatKey, TakeKey};
pub use notifications::{RemoveTarget, SetTarget};
pub use order_keys::ExchangeOrderKey;
pub use registries::{RemoveRegistryLogin, SetRegistryLogin};
pub use removal::Remove;
pub use renewal::Renew;
pub use rules::{RemoveRule, RuleTunnel, RulesSet, SetRules};
pub use said::{KeepLog, NoteVersion};
pub use tokens::{DeleteToken, DropExpiredTokens, MakeToken, RevokeToken};

/// Questions that may wait.
pub const CAPACITY: usize = 256;
/// How often an operation is decided again after another master wrote in between.
const TRIES: usize = 4;

/// Decides who is who.
pub struct Registrar {
    env: Arc<OnceLock<Env>>,
}

impl Registrar {
    /// Makes a registrar; `env` holds a port to it, so it is filled in after the ports are made.
    pub fn new(env: Arc<OnceLock<Env>>) -> Self {
        Self { env }
    }

    /// Runs one operation; the next message waits for its end, so operations have one order.
    fn decide<T, F>(&self, operation: impl FnOnce(Env) -> F) -> AtomicResponse<Self, Result<T, MasterError>>
    where
        T: 'static,
        F: Future<Output = Result<T, MasterError>> + 'static,
    {
        let env = self.env.get().cloned();
        let running = env.map(operation);
        AtomicResponse::new(Box::pin(
            async move {
                match running {
                    Some(running) => running.await,
                    None => Err(MasterError::Busy),
                }
            }
            .into_actor(self),
        ))
    }
}

supervised!(Registrar);

impl Actor for Registrar {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(env) = self.env.get() {
            nudge_leaving(env);
        }
        ctx.notify(EnsureOrderKey);
    }
}

/// A removed agent may have its last command by now: its dispatcher looks.
fn nudge_leaving(env: &Env) {
    for slot in env.directory.slots() {
        if slot.status() == AgentStatus::Removed {
            env.fleet.nudge(slot.id(), Work::StandingChanged);
        }
    }
}

/// What an attempt wants written, with what it answers once that is done.
struct Decision<T> {
    batch: Batch,
    answer: T,
}

/// Decides and commits; decides again if another master wrote meanwhile.
async fn commit<T>(
    env: &Env,
    decide: impl AsyncFn() -> Result<Decision<T>, MasterError>,
) -> Result<T, MasterError> {
    for _ in 0..TRIES {
        let Decision { batch, answer } = decide().await?;
        if batch.appends.is_empty() && batch.rows.is_empty() {
            return Ok(answer);
        }
        match env.ledger.commit(batch).await {
            Ok(_) => return Ok(answer),
            Err(CommitFailed::Refused(CommitError::VersionConflict { stream, .. })) => {
                tracing::info!(%stream, "another writer was faster; deciding again");
            }
            Err(CommitFailed::Refused(
                CommitError::Claimed { hostname, .. } | CommitError::ClaimedByRule { hostname, .. },
            )) => {
                tracing::info!(hostname, "somebody else took the hostname first; deciding again");
            }
            Err(CommitFailed::Refused(CommitError::KeyTaken { key_id, .. })) => {
                tracing::info!(key.id = %key_id, "another host came first with the key; deciding again");
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    Err(MasterError::Busy)
}

/// Returns where a stream ends now. Read it before what the decision depends on.
async fn expected(env: &Env, stream: &Stream) -> Result<Expected, MasterError> {
    Ok(Expected::Version(db::events::stream_version(&env.db, stream).await?))
}
