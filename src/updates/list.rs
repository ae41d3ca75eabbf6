//! Which scanners there are, and how they are run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;

use super::apt::{Apt, AptInstaller};
use super::dnf::{Dnf, DnfInstaller};
use super::docker_image::{DockerImage, EngineLookup, ImageInstaller};
use super::installer::{Installer, Patience};
use super::known_registries::KnownRegistries;
use super::programs::HostPrograms;
use super::scanner::{ScanAsk, Scanner};
use super::windows_update::WindowsUpdate;
use super::winget::Winget;
use crate::clock::Clock;
use crate::docker::{EngineContainers, EngineImages};
use crate::domain::update::{Findings, Kind};
use crate::http_client::SetupError;
use crate::io::Io;
use crate::registry::{DockerLogins, FirstOf, Lookup, RegistryClient, Settings};

/// What registries said to this host; a master in the same directory has a file of its own.
const REGISTRIES: &str = "host_registries.json";

/// What a look at images needs: an Engine, and whoever can say what tags hold.
pub struct Images {
    engine: Arc<dyn EngineImages>,
    lookup: Arc<dyn Lookup>,
}

impl Images {
    /// Takes an Engine. Registries are asked from here, with the logins of this user; those that are not reached from here
    /// are asked by the Engine. What they said is kept in `state_dir` after each look. Blocks.
    pub fn of_this_host(
        engine: Arc<dyn EngineImages>,
        settings: Settings,
        state_dir: &Path,
        clock: &Clock,
        io: Io,
    ) -> Result<Self, SetupError> {
        let logins = Arc::new(DockerLogins::of_this_user());
        let client = RegistryClient::new(settings, logins.clone(), clock.clone(), io.clone())?;
        let every_look = TimeDelta::zero();
        let own =
            Arc::new(KnownRegistries::open(client, state_dir, REGISTRIES, every_look, clock.clone(), io));
        let engines = Arc::new(EngineLookup::new(engine.clone(), logins, clock.clone()));
        Ok(Self { engine, lookup: Arc::new(FirstOf::new(own, engines)) })
    }
}

impl Images {
    /// Has somebody else asked before any registry is asked from here.
    #[must_use]
    pub fn asking_first(self, other: Arc<dyn Lookup>) -> Self {
        Self { lookup: Arc::new(FirstOf::new(other, self.lookup)), ..self }
    }
}

/// Every scanner there is, in the order in which they run; one line each. What one keeps is in the state directory.
pub fn scanners(images: Images, state_dir: &Path) -> Vec<Arc<dyn Scanner>> {
    let programs = Arc::new(HostPrograms);
    vec![
        Arc::new(Apt::of_this_host().keeping_cache_in(state_dir.join("apt"))),
        Arc::new(Dnf::of_this_host()),
        Arc::new(DockerImage::new(images.engine, images.lookup)),
        Arc::new(WindowsUpdate::new(programs.clone())),
        Arc::new(Winget::new(programs)),
    ]
}

/// Every installer there is, in the order in which they work; one line each. `label_prefix` is the operator's own one, if
/// any: by their labels published containers are known. What was replaced within `undo_window` can be put back in any case.
pub fn installers(
    images: Images,
    containers: EngineContainers,
    patience: Patience,
    label_prefix: Option<&str>,
    undo_window: TimeDelta,
    clock: &Clock,
) -> Vec<Arc<dyn Installer>> {
    let scanner = DockerImage::new(images.engine, images.lookup);
    vec![
        Arc::new(AptInstaller::of_this_host(patience)),
        Arc::new(DnfInstaller::of_this_host(patience)),
        Arc::new(ImageInstaller::new(scanner, containers, label_prefix, undo_window, clock.clone())),
    ]
}

/// Runs those scanners that the host has a use for, one after the other. `tell` hears of each before it begins.
pub async fn scan_all(
    scanners: &[Arc<dyn Scanner>],
    clock: &Clock,
    last: &BTreeMap<Kind, Findings>,
    by_person: bool,
    mut tell: impl FnMut(Kind),
) -> Vec<Findings> {
    let mut found = Vec::new();
    for scanner in scanners {
        if !scanner.is_present().await {
            continue;
        }
        tell(scanner.kind());
        let ask = ScanAsk { now: clock.now(), last: last.get(&scanner.kind()), by_person };
        found.push(scanner.scan(&ask).await);
    }
    found
}
