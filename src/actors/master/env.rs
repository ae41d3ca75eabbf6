//! What the master's actors hold in common. Cheap to clone.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

use super::bus::Notices;
use super::cloudflare_account::SharedAccount;
use super::desk::Desk;
use super::directory::Directory;
use super::error::MasterError;
use super::fleet::{Fleet, Work};
use super::for_registrar::{FinishMove, Retire, TakeOtherMachine};
use super::leaps::Leaps;
use super::scheduler::DueAt;
use super::settings::MasterSettings;
use super::store::Ledger;
use crate::actors::supervision::Inlet;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{self, Batch, Db, DbError};
use crate::domain::id::AgentId;
use crate::domain::mirror::MOVES_AFTER;
use crate::domain::publish::PublicState;

/// Services and ports that are handed to every actor of the master at its start.
#[derive(Clone)]
pub struct Env {
    /// For reading.
    pub db: Db,
    /// For writing.
    pub ledger: Ledger,
    /// For telling pages.
    pub notices: Notices,
    /// Keys and slots.
    pub directory: Arc<Directory>,
    /// The way to agents' actors.
    pub fleet: Fleet,
    /// What tags of images hold.
    pub desk: Desk,
    /// Who publishes.
    pub account: SharedAccount,
    /// Who wakes owners of what is due.
    pub due: Inlet<DueAt>,
    /// Who moves an agent's names to its new tunnel.
    pub finish_move: Inlet<FinishMove>,
    /// Who ends the use of a removed agent's key.
    pub retire: Inlet<Retire>,
    /// Who decides about an agent that speaks from another machine.
    pub other_machine: Inlet<TakeOtherMachine>,
    /// The time of day.
    pub clock: Clock,
    /// What of its leaps is not written down yet.
    pub leaps: Leaps,
    /// Randomness.
    pub chance: Chance,
    /// Times and bounds.
    pub settings: Arc<MasterSettings>,
    /// When the master started: nobody was heard before, through no fault of theirs.
    pub started_at: DateTime<Utc>,
}

impl Env {
    /// Returns the time of day as precisely as the database keeps it, so that what is read back is equal.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(6)
    }

    /// Begins a batch that `by` decided now.
    pub fn batch(&self, by: impl Into<String>) -> Batch {
        Batch::new(by, self.now())
    }

    /// Asks that an agent's actors be woken at `at`.
    pub fn due_at(&self, agent: &AgentId, at: DateTime<Utc>) {
        // Lost only if the scheduler has a thousand of them waiting; it reads the database again by itself.
        if self.due.tell(DueAt { agent: agent.clone(), at }).is_err() {
            tracing::debug!(%agent, "the scheduler has no room for another time");
        }
    }

    /// Lets agents that were refused these hostnames ask for them again; not the one that gave them up, if one did.
    pub async fn names_freed(&self, by: Option<&AgentId>, hostnames: &[String]) {
        for agent in self.who_waits_for(by, hostnames).await {
            self.fleet.nudge(&agent, Work::NameFreed);
        }
    }

    /// Lets agents that were refused these hostnames ask for them again once they may take them over.
    pub async fn names_given_up(&self, by: &AgentId, hostnames: &[String]) {
        for agent in self.who_waits_for(Some(by), hostnames).await {
            self.due_at(&agent, self.now() + MOVES_AFTER);
        }
    }

    /// Agents other than `by` that were refused one of these hostnames.
    async fn who_waits_for(&self, by: Option<&AgentId>, hostnames: &[String]) -> BTreeSet<AgentId> {
        let mut waiting = BTreeSet::new();
        // Looked up in bites: one query takes a limited number of names.
        for names in hostnames.chunks(500) {
            match db::cloudflare::list_agents_with_route_state(
                &self.db,
                PublicState::Conflict.as_str(),
                names,
            )
            .await
            {
                Ok(agents) => waiting.extend(agents.into_iter().filter(|agent| Some(agent) != by)),
                // Their next report that differs asks again.
                Err(error) => tracing::warn!(%error, "could not tell who waits for a hostname"),
            }
        }
        waiting
    }
}

impl From<DbError> for MasterError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Full { .. } => Self::StorageFull,
            error => Self::Database(Box::new(error)),
        }
    }
}
