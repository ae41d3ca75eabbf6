//! A master's registry desk, and what it knows from one start to the next.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::run::Start;
use crate::registry::{DockerLogins, Kept, Lookup, RegistryClient, Settings};
use crate::state_dir::replace_file;

/// Where it is kept. It can be lost: then registries are asked again.
const FILE: &str = "registries.json";
/// Largest file that is read.
const SIZE_LIMIT: u64 = 32 << 20;

/// Asks registries for the whole fleet.
pub(super) struct RegistryDesk {
    client: RegistryClient,
    file: PathBuf,
}

impl RegistryDesk {
    /// Takes up what the last process knew: answers that are still good, and until when a registry wants to be left alone.
    pub(super) fn open(start: &Start) -> anyhow::Result<Self> {
        let settings =
            Settings { insecure: start.loaded.settings.registry.insecure(), ..Settings::default() };
        let logins = Arc::new(DockerLogins::of_this_user());
        let client = RegistryClient::new(settings, logins, start.clock.clone(), start.io.clone())
            .context("cannot prepare to ask registries")?;
        let desk = Self { client, file: start.state_dir.join(FILE) };
        if let Some(kept) = desk.kept() {
            desk.client.resume(kept);
        }
        Ok(desk)
    }

    /// Who answers.
    pub(super) fn lookup(&self) -> Arc<dyn Lookup> {
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
