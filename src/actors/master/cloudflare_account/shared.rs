//! What all work for the account shares: the client, the database and the store, what is remembered between pieces of
//! work, and one at a time on each name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::people::People;
use super::usage::Usage;
use super::zones::Zones;
use crate::actors::master::bus::{Note, Notices};
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::FinishMove;
use crate::actors::master::store::{CommitFailed, Ledger};
use crate::actors::supervision::Inlet;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cloudflare::{BudgetKeeper, BudgetNote, Cloudflare};
use crate::db::cloudflare::{CallBudgetRow, find_call_budget};
use crate::db::drifts::reviewed_agents;
use crate::db::manual_rules::{Claimant, find_claimant};
use crate::db::{Batch, Db, DbError, Expected, RowChange, agents, settings, tunnels};
use crate::domain::access::policy_mark;
use crate::domain::account_limits::AccountLimits;
use crate::domain::dns::owner_marker;
use crate::domain::event::{AdminEvent, Event, Stream};
use crate::domain::id::{AccountId, AgentId, TunnelId, ZoneId};
use crate::domain::ingress::SYSTEM;
use crate::domain::publish::PublishSettings;

/// The setting that holds this installation's own id.
const INSTALLATION: &str = "installation_id";
/// Above this, names that nobody holds are forgotten.
const TIDY_ABOVE: usize = 256;

/// The way to the store, and to those who watch.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Returns once `batch` is written; the error says why it is not known to be.
    async fn commit(&self, batch: Batch) -> Result<(), StoreFailed>;

    /// What was made of routes changed.
    fn announce(&self);

    /// A connector of the tunnel that an agent moves to is connected: its names may move.
    fn connector_seen(&self, agent: &AgentId, to: &TunnelId);
}

/// A commit that is not known to have succeeded.
#[derive(Debug, thiserror::Error)]
#[error("the database did not take it: {0}")]
pub struct StoreFailed(pub MasterError);

impl From<StoreFailed> for MasterError {
    fn from(failed: StoreFailed) -> Self {
        failed.0
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct AccountParts {
    /// The account's client; nobody else may use one.
    pub cloudflare: Cloudflare,
    /// For reading.
    pub db: Db,
    /// For writing.
    pub store: Arc<dyn AccountStore>,
    /// The time of day.
    pub clock: Clock,
    /// What may be published.
    pub settings: PublishSettings,
    /// Zone to use if the zones of the account cannot be listed (`CF_ZONE_ID`).
    pub default_zone: Option<ZoneId>,
    /// How often everything is compared with Cloudflare although nothing changed here; zero: after a start only.
    pub compare_every: Duration,
    /// E-mail address of the account's owner, whom `access.policy=authenticate` lets in; none if it is to be read.
    pub owner_email: Option<String>,
    /// How many of each kind the account may have.
    pub limits: AccountLimits,
    /// This installation's own id: its DNS records bear it, so that two installations can share an account.
    pub installation: String,
}

/// The parts, and what is remembered between pieces of work.
pub(super) struct Shared {
    pub cloudflare: Cloudflare,
    pub db: Db,
    pub store: Arc<dyn AccountStore>,
    pub clock: Clock,
    pub settings: PublishSettings,
    pub compare_every: Duration,
    pub zones: Zones,
    pub people: People,
    pub usage: Usage,
    pub locks: NameLocks,
    /// What every record that we make carries.
    pub marker: String,
    /// What the name of every policy that we make ends with.
    pub mark: String,
}

impl Shared {
    pub fn new(parts: AccountParts) -> Self {
        Self {
            marker: owner_marker(&parts.installation),
            mark: policy_mark(&parts.installation),
            people: People::new(parts.owner_email, parts.settings.access_team.clone()),
            usage: Usage::new(parts.limits),
            cloudflare: parts.cloudflare,
            db: parts.db,
            store: parts.store,
            clock: parts.clock,
            settings: parts.settings,
            compare_every: parts.compare_every,
            zones: Zones::new(parts.default_zone),
            locks: NameLocks::default(),
        }
    }

    /// An empty batch of our own.
    pub fn batch(&self) -> Batch {
        Batch::new(SYSTEM, self.clock.now())
    }

    /// Writes rows, if there are any.
    pub async fn write(&self, rows: Vec<RowChange>) -> Result<(), StoreFailed> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = Batch { rows, ..self.batch() };
        self.store.commit(batch).await
    }

    /// The tunnel of whoever holds a public name now, if it is one of this account.
    pub async fn next_tunnel(&self, name: &str) -> Result<Option<TunnelId>, DbError> {
        tunnel_of_name(&self.db, self.cloudflare.account(), name).await
    }
}

/// The tunnel of whoever holds a public name now, agent or person, if it is one of the account.
pub(super) async fn tunnel_of_name(
    db: &Db,
    account: &AccountId,
    name: &str,
) -> Result<Option<TunnelId>, DbError> {
    match find_claimant(db, name).await? {
        None => Ok(None),
        Some(Claimant::Agent(agent)) => {
            let agent = agents::find_agent(db, &agent).await?;
            let here = agent.filter(|agent| agent.account_id.as_ref() == Some(account));
            Ok(here.and_then(|agent| agent.publishes_in().cloned()))
        }
        Some(Claimant::Rule(tunnel)) => {
            let row = tunnels::find_tunnel(db, &tunnel).await?;
            Ok(row.filter(|row| row.account_id == *account).map(|row| row.id))
        }
    }
}

/// One at a time on each public name: two tunnels that exchange a name must not undo each other's record.
#[derive(Debug, Default)]
pub(super) struct NameLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// Returns once nobody else works on `name`.
    pub async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            if locks.len() > TIDY_ABOVE {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

/// The way to the master's store, bus and registrar.
pub struct MasterStore {
    ledger: Ledger,
    notices: Notices,
    finish_move: Inlet<FinishMove>,
}

impl MasterStore {
    /// Takes the handles.
    pub fn new(ledger: Ledger, notices: Notices, finish_move: Inlet<FinishMove>) -> Self {
        Self { ledger, notices, finish_move }
    }
}

#[async_trait]
impl AccountStore for MasterStore {
    async fn commit(&self, batch: Batch) -> Result<(), StoreFailed> {
        self.ledger.commit(batch).await.map(drop).map_err(|error| StoreFailed(error.into()))
    }

    fn announce(&self) {
        self.notices.announce(Note::Published);
    }

    fn connector_seen(&self, agent: &AgentId, to: &TunnelId) {
        // With no room it is seen again at the next look.
        let _ = self.finish_move.tell(FinishMove::seen(agent, to));
    }
}

/// Notes in the database how many calls the account may still make.
pub(super) struct StoredBudget {
    pub account: AccountId,
    pub db: Db,
    pub store: Arc<dyn AccountStore>,
    pub clock: Clock,
}

#[async_trait]
impl BudgetKeeper for StoredBudget {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn last(&self) -> Option<BudgetNote> {
        let row = find_call_budget(&self.db, &self.account).await;
        let row = row.inspect_err(|error| tracing::warn!(%error, "how many calls were made is not known"));
        row.ok().flatten().map(|row| BudgetNote {
            calls_left: row.calls_left,
            at: row.noted_at,
            blocked_until: row.blocked_until,
        })
    }

    async fn keep(&self, note: BudgetNote) {
        let row = CallBudgetRow {
            account_id: self.account.clone(),
            calls_left: note.calls_left,
            noted_at: note.at,
            blocked_until: note.blocked_until,
        };
        let batch = Batch::new(SYSTEM, note.at).row(RowChange::PutCallBudget(row));
        if let Err(error) = self.store.commit(batch).await {
            tracing::warn!(%error, "the number of calls made could not be noted");
        }
    }
}

/// Returns this installation's own id; it is made at the first start and never changes.
pub async fn installation(db: &Db, clock: &Clock, chance: &Chance) -> Result<String, MasterError> {
    if let Some(row) = settings::find_setting(db, INSTALLATION).await?
        && let Some(id) = row.value.as_str()
    {
        return Ok(id.to_owned());
    }
    let id = chance.uuid().to_string();
    let event =
        Event::Admin(AdminEvent::SettingChanged { key: INSTALLATION.into(), value: id.clone().into() });
    let batch = Batch::new(SYSTEM, clock.now()).append(Stream::admin(), Expected::Head, vec![event]);
    db.commit(batch).await.map_err(CommitFailed::from)?;
    Ok(id)
}

/// Without reviews nobody says yes to anything, so what was said before does not count when they begin again.
pub async fn forget_reviews(db: &Db, clock: &Clock) -> Result<(), MasterError> {
    let agents = reviewed_agents(db).await?.into_iter();
    let rows: Vec<RowChange> =
        agents.map(|agent_id| RowChange::PutReviewedRoutes { agent_id, services: Vec::new() }).collect();
    if !rows.is_empty() {
        db.commit(Batch { rows, ..Batch::new(SYSTEM, clock.now()) }).await.map_err(CommitFailed::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_others_are_free() {
        let locks = NameLocks::default();
        let held = locks.lock("a").await;
        drop(locks.lock("b").await);
        assert!(futures_util::poll!(std::pin::pin!(locks.lock("a"))).is_pending());
        drop(held);
        drop(locks.lock("a").await);
    }

    #[tokio::test]
    async fn names_that_nobody_holds_are_forgotten() {
        let locks = NameLocks::default();
        let held = locks.lock("held").await;
        for number in 0..=2 * TIDY_ABOVE {
            drop(locks.lock(&number.to_string()).await);
        }
        assert!(locks.0.lock().len() <= TIDY_ABOVE + 2);
        assert!(locks.0.lock().contains_key("held"));
        drop(held);
    }
}
