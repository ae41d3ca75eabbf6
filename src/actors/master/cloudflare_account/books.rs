//! How the account writes to the master's store, and how this installation is told from others.

use async_trait::async_trait;

use super::desk::{AccountStore, StoreFailed};
use crate::actors::master::bus::{Note, Notices};
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar::{FinishMove, Registrar};
use crate::actors::master::store::Ledger;
use crate::actors::supervision::Port;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{Batch, CommitError, Db, Expected, settings};
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, TunnelId};

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
        self.ledger.commit(batch).await.map(drop).map_err(|error| StoreFailed(error.to_string()))
    }

    fn announce(&self) {
        self.notices.announce(Note::Published);
    }

    fn connector_seen(&self, agent: &AgentId, to: &TunnelId) {
        // With no room it is seen again at the next look.
        let _ = self.registrar.tell(FinishMove::seen(agent, to));
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
    let event = Event::SettingChanged { key: INSTALLATION.into(), value: id.clone().into() };
    let batch = Batch::new("system", clock.now()).append(Stream::admin(), Expected::Head, vec![event]);
    db.commit(batch).await.map_err(|error: CommitError| MasterError::Database(Box::new(error)))?;
    Ok(id)
}
