//! How the account writes to the master's store, and how this installation is told from others.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::desk::{AccountStore, StoreFailed};
use crate::actors::master::bus::{Note, Notices};
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar::{FinishMove, Registrar};
use crate::actors::master::store::{CommitFailed, Ledger};
use crate::actors::supervision::Port;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cloudflare::{BudgetKeeper, BudgetNote};
use crate::db::cloudflare::{CallBudgetRow, find_call_budget};
use crate::db::{Batch, Db, Expected, RowChange, settings};
use crate::domain::event::{AdminEvent, Event, Stream};
use crate::domain::id::{AccountId, AgentId, TunnelId};

const INSTALLATION: &str = "installation_id";

/// The master's store and bus.
pub struct Books {
    ledger: Ledger,
    notices: Notices,
    registrar: Port<Registrar>,
}

impl Books {
    /// Takes the handles.
    pub fn new(ledger: Ledger, notices: Notices, registrar: Port<Registrar>) -> Self {
        Self { ledger, notices, registrar }
    }
}

#[async_trait]
impl AccountStore for Books {
    async fn commit(&self, batch: Batch) -> Result<(), StoreFailed> {
        self.ledger.commit(batch).await.map(drop).map_err(|error| StoreFailed(error.into()))
    }

    fn announce(&self) {
        self.notices.announce(Note::Published);
    }

    fn connector_seen(&self, agent: &AgentId, to: &TunnelId) {
        // With no room it is seen again at the next look.
        let _ = self.registrar.tell(FinishMove::seen(agent, to));
    }
}

/// Notes in the database how many calls the account may still make.
pub(super) struct BudgetBook {
    pub account: AccountId,
    pub db: Db,
    pub store: Arc<dyn AccountStore>,
    pub clock: Clock,
}

#[async_trait]
impl BudgetKeeper for BudgetBook {
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
        let batch = Batch::new("system", note.at).row(RowChange::PutCallBudget(row));
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
    let batch = Batch::new("system", clock.now()).append(Stream::admin(), Expected::Head, vec![event]);
    db.commit(batch).await.map_err(CommitFailed::from)?;
    Ok(id)
}
