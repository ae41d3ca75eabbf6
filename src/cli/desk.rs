//! A master's registry desk, and what it knows from one start to the next.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;

use super::run::Start;
use crate::db::{Db, registry_logins, secrets};
use crate::registry::{Credentials, DockerLogins, Kept, Login, Registries, RegistryClient, Secret, Settings};
use crate::state_dir::replace_file;

/// Where it is kept. It can be lost: then registries are asked again.
const FILE: &str = "registries.json";
/// Largest file that is read.
const SIZE_LIMIT: u64 = 32 << 20;

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
pub(super) struct RegistryDesk {
    client: RegistryClient,
    file: PathBuf,
}

impl RegistryDesk {
    /// Takes up what the last process knew: answers that are still good, and until when a registry wants to be left alone.
    pub(super) fn open(start: &Start, db: Db) -> anyhow::Result<Self> {
        let settings =
            Settings { insecure: start.loaded.settings.registry.insecure(), ..Settings::default() };
        let logins = StoredLogins { db, others: DockerLogins::of_this_user() };
        let client = RegistryClient::new(settings, Arc::new(logins), start.clock.clone(), start.io.clone())
            .context("cannot prepare to ask registries")?;
        let desk = Self { client, file: start.state_dir.join(FILE) };
        if let Some(kept) = desk.kept() {
            desk.client.resume(kept);
        }
        Ok(desk)
    }

    /// Who answers.
    pub(super) fn registries(&self) -> Arc<dyn Registries> {
        Arc::new(self.client.clone())
    }

    /// Writes down what it knows.
    pub(super) fn keep(&self) {
        let json = serde_json::to_vec(&self.client.keep()).expect("it holds nothing that JSON cannot");
        if let Err(error) = replace_file(&self.file, &json) {
            tracing::warn!(%error, "what registries said is not kept; they are asked again after the next start");
        }
    }

    fn kept(&self) -> Option<Kept> {
        let found = self.file.metadata().ok().filter(|found| found.is_file() && found.len() <= SIZE_LIMIT);
        serde_json::from_slice(&std::fs::read(&self.file).ok().filter(|_| found.is_some())?).ok()
    }
}
