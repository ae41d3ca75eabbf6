//! A master's registry desk, and what it knows from one start to the next.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chrono::TimeDelta;

use super::run::Start;
use crate::db::{Db, registry_logins, secrets};
use crate::registry::{Credentials, DockerLogins, Login, Registries, RegistryClient, Secret, Settings};
use crate::updates::KnownRegistries;

/// Where it is kept.
const FILE: &str = "registries.json";
/// How often what hosts ask all the time is written down; what was learned since is asked again after a crash.
const EVERY: TimeDelta = TimeDelta::minutes(3);

/// Logins that people set at the master; where there is none, what `docker login` left.
struct StoredLogins {
    db: Db,
    others: DockerLogins,
}

#[async_trait]
impl Credentials for StoredLogins {
    async fn find(&self, registry: &str) -> Result<Option<Login>, String> {
        let unreadable = |error| {
            tracing::warn!(%error, registry, "the login of a registry cannot be read");
            "its login cannot be read; the log of the master has the cause".to_owned()
        };
        let found = registry_logins::find_registry_login(&self.db, registry).await.map_err(unreadable)?;
        let Some(row) = found else { return self.others.find(registry).await };
        let secret = registry_logins::login_secret(registry);
        // Both went while we looked.
        let password = secrets::find_secret(&self.db, &secret).await.map_err(unreadable)?;
        Ok(password.map(|password| Login { account: row.account, secret: Secret::Password(password) }))
    }
}

/// Asks registries for the whole fleet.
pub(super) struct RegistryDesk(KnownRegistries);

impl RegistryDesk {
    /// Takes up what the last process knew: answers that are still good, and until when a registry wants to be left alone.
    pub(super) fn open(start: &Start, db: Db) -> anyhow::Result<Self> {
        let settings =
            Settings { insecure: start.loaded.settings.registry.insecure(), ..Settings::default() };
        let logins = StoredLogins { db, others: DockerLogins::of_this_user() };
        let client = RegistryClient::new(settings, Arc::new(logins), start.clock.clone(), start.io.clone())
            .context("cannot prepare to ask registries")?;
        let (clock, io) = (start.clock.clone(), start.io.clone());
        Ok(Self(KnownRegistries::open(client, &start.state_dir, FILE, EVERY, clock, io)))
    }

    /// Who answers.
    pub(super) fn registries(&self) -> Arc<dyn Registries> {
        Arc::new(self.0.clone())
    }

    /// Writes down what it knows.
    pub(super) fn keep(&self) {
        self.0.keep();
    }
}
