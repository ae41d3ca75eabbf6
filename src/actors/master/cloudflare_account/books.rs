//! How the account writes to the master's store, and how this installation is told from others.

use async_trait::async_trait;

use super::desk::{AccountStore, StoreFailed};
use crate::actors::master::bus::{Note, Notices};
use crate::actors::master::error::MasterError;
use crate::actors::master::store::Ledger;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{Batch, CommitError, Db, Expected, settings};
use crate::domain::event::{Event, Stream};

const INSTALLATION: &str = "installation_id";

/// The master's store and bus.
pub struct Books {
    ledger: Ledger,
    notices: Notices,
}

impl Books {
    /// Takes the handles.
    pub fn new(ledger: Ledger, notices: Notices) -> Self {
        Self { ledger, notices }
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
