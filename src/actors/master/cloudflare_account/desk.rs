//! What every piece of work for the account shares: the client, the database, the store, what is known.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::names::NameLocks;
use super::wishes::PublishSettings;
use super::zones::Zones;
use crate::actors::master::error::MasterError;
use crate::clock::Clock;
use crate::cloudflare::Cloudflare;
use crate::db::{Batch, Db, RowChange};
use crate::domain::dns::owner_marker;
use crate::domain::id::{AgentId, TunnelId, ZoneId};

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

/// What [`CloudflareAccount`](super::CloudflareAccount) is made of.
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
    /// This installation's own id: its DNS records bear it, so that two installations can share an account.
    pub installation: String,
}

/// The parts, and what is remembered between pieces of work.
pub(super) struct Desk {
    pub cloudflare: Cloudflare,
    pub db: Db,
    pub store: Arc<dyn AccountStore>,
    pub clock: Clock,
    pub settings: PublishSettings,
    pub compare_every: Duration,
    pub zones: Zones,
    pub names: NameLocks,
    /// The comment by which we know our DNS records.
    pub marker: String,
}

impl Desk {
    pub fn new(parts: AccountParts) -> Self {
        Self {
            marker: owner_marker(&parts.installation),
            cloudflare: parts.cloudflare,
            db: parts.db,
            store: parts.store,
            clock: parts.clock,
            settings: parts.settings,
            compare_every: parts.compare_every,
            zones: Zones::new(parts.default_zone),
            names: NameLocks::default(),
        }
    }

    /// An empty batch of our own.
    pub fn batch(&self) -> Batch {
        Batch::new("system", self.clock.now())
    }

    /// Writes rows, if there are any.
    pub async fn write(&self, rows: Vec<RowChange>) -> Result<(), StoreFailed> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = Batch { rows, ..self.batch() };
        self.store.commit(batch).await
    }
}
