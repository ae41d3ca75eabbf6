//! The master as pages, API and command line see it.

mod access;
mod account;
mod admins;
mod agents;
mod notifications;
mod orders;
mod redflag;
mod rules;
mod updates;

use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};

use super::bus::Changes;
use super::directory::Directory;
use super::env::Env;
use super::error::MasterError;
use super::fleet::{WORK, Work};
use super::notifier::Notifier;
use super::pushes::PushGatherer;
use super::receipt::Reply;
use super::registrar::Registrar;
use super::token_desk::TokenDesk;
use crate::actors::supervision::{AskError, Port, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::Db;
use crate::domain::id::AgentId;

pub use orders::{MOST_HOSTS, OnHosts};
pub use rules::{Imported, RuleOrder, RulePlace, RuleSet};

/// Longest wait for a decision about identity.
const DECISION: Duration = Duration::from_secs(10);

/// Handle to the master: cheap to clone, safe to share. Reads go to `db`, changes go through here.
#[derive(Clone)]
pub struct Master {
    /// Keys and slots, for requests that change nothing.
    pub directory: Arc<Directory>,
    /// For reading.
    pub db: Db,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// The live supervision tree.
    pub tree: Tree,
    pub(super) env: Env,
    /// Who takes in what was pushed.
    pub(super) pushes: Port<PushGatherer>,
    /// Who tells people, if messages can be sent.
    pub(super) notifier: Option<Port<Notifier>>,
    /// Who decides about identity.
    pub(super) registrar: Port<Registrar>,
    /// Who takes a token for Cloudflare from a person.
    pub(super) tokens: Arc<TokenDesk>,
    /// The fleet's shards.
    #[cfg(test)]
    pub(super) routers: Vec<Port<super::router::Router>>,
}

impl Master {
    /// True if routes are published; without a Cloudflare token they are only planned.
    pub fn has_cloudflare(&self) -> bool {
        self.env.account.is_connected()
    }

    /// What Cloudflare says, if it refuses the token: nothing is published then.
    pub fn cloudflare_refusal(&self) -> Option<String> {
        self.env.account.refusal()
    }

    /// Listens to changes from now on.
    pub fn subscribe(&self) -> Changes {
        self.env.notices.subscribe()
    }

    /// Asks the registrar.
    async fn decide<M, T>(&self, question: M) -> Result<T, MasterError>
    where
        M: Message<Result = Result<T, MasterError>> + Send + 'static,
        T: Send + 'static,
        Registrar: Handler<M>,
    {
        match self.registrar.ask(question, DECISION).await {
            Ok(answer) => answer,
            Err(AskError::Full | AskError::Closed | AskError::Timeout | AskError::Lost) => {
                Err(MasterError::Busy)
            }
        }
    }

    /// Asks an agent's actors. For who is not on the list none are started.
    async fn work<T>(&self, agent: &AgentId, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, MasterError> {
        if self.directory.slot(agent).is_none() {
            return Err(MasterError::AgentNotFound(agent.clone()));
        }
        self.env.fleet.ask(agent, work).await
    }
}

async fn within<T>(
    max: Duration,
    answer: impl Future<Output = Result<T, MasterError>>,
) -> Result<T, MasterError> {
    tokio::time::timeout(max, answer).await.unwrap_or(Err(MasterError::Busy))
}
