//! How the agent looks at its host: every scanner that the host has a use for, and the machine itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use crate::actors::agent::update_scanner::{LookAtHost, Seen};
use crate::clock::Clock;
use crate::config::CheckPackages;
use crate::docker::Docker;
use crate::domain::host::{Ability, Host};
use crate::domain::update::{Findings, HostScan, Kind};
use crate::io::Io;
use crate::state_dir::{LastScan, read_last_scan, write_last_scan};
use crate::updates::{Hands, HostReader, Images, Scanner, scan_all, scanners};

/// Looks now; `last` tells what did not change, what is known of what cannot be checked, and since when things are pending.
pub(super) async fn scan_after(
    last: Option<LastScan>,
    host: String,
    scanners: &[Arc<dyn Scanner>],
    clock: &Clock,
    by_person: bool,
    tell: impl FnMut(Kind),
) -> LastScan {
    let (mut first_seen, before) = match last {
        Some(last) => (last.first_seen, last.scanners),
        None => Default::default(),
    };
    let before: BTreeMap<Kind, Findings> =
        before.into_iter().map(|found| (found.checked.kind, found)).collect();
    let found = scan_all(scanners, clock, &before, by_person, tell).await;
    let at = clock.now();
    found.iter().for_each(|found| first_seen.follow(found, at));
    LastScan { host, at, scanners: found, first_seen }
}

/// What looking needs, and what was found last.
struct Looker {
    reader: HostReader,
    scanners: Vec<Arc<dyn Scanner>>,
    docker: Arc<dyn Docker>,
    hands: Arc<dyn Hands>,
    packages: CheckPackages,
    dir: PathBuf,
    clock: Clock,
    /// Only if it could not be kept on the disk.
    last: Mutex<Option<LastScan>>,
}

/// Returns what looks at this host. It runs on `io`, and keeps what it found in the state directory for `lightship status`
/// and for the next start.
pub(super) fn look_at_host(
    dir: PathBuf,
    docker: Arc<dyn Docker>,
    packages: CheckPackages,
    images: Images,
    hands: Arc<dyn Hands>,
    io: Io,
) -> LookAtHost {
    let reader = HostReader::of_this_host();
    let is_container = reader.virtualisation().is_application_container();
    let is_looked_at = match packages {
        // A container has packages of its own; they must not be taken for its host's.
        CheckPackages::Auto => !is_container,
        CheckPackages::Always => true,
        CheckPackages::Never => false,
    };
    let scanners = scanners(images, &dir)
        .into_iter()
        .filter(|scanner| is_looked_at || scanner.kind() == Kind::DockerImage)
        .collect();
    let last = Mutex::new(None);
    let clock = Clock::system();
    let looker = Arc::new(Looker { reader, scanners, docker, hands, packages, dir, clock, last });
    Arc::new(move |by_person| {
        let (looker, io) = (Arc::clone(&looker), io.clone());
        Box::pin(async move { io.run(async move { Ok(looker.look(by_person).await) }).await })
    })
}

impl Looker {
    async fn look(&self, by_person: bool) -> Seen {
        if by_person && let Err(problem) = self.hands.refresh().await {
            warn!(reason = %problem.reason, "the lists of packages are not fetched anew");
        }
        let (last, name) = (self.last().await, self.reader.hostname());
        let scan = scan_after(last, name, &self.scanners, &self.clock, by_person, |_| ()).await;
        let at = scan.at;
        let findings = self.keep(scan).await;
        let host = self.host(&findings).await;
        Seen { scan: Arc::new(HostScan { at, findings }), host: Box::new(host) }
    }

    /// What was found last, also before this start.
    async fn last(&self) -> Option<LastScan> {
        if let Some(last) = self.last.lock().clone() {
            return Some(last);
        }
        let dir = self.dir.clone();
        match tokio::task::spawn_blocking(move || read_last_scan(&dir)).await {
            Ok(Ok(last)) => last,
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "what was found before is not known");
                None
            }
            Err(_) => None,
        }
    }

    /// Keeps it for the next look and the next start, and hands back what was found. There may be thousands: what is on the
    /// disk is not in memory too.
    async fn keep(&self, scan: LastScan) -> Vec<Findings> {
        let (dir, scan) = (self.dir.clone(), Arc::new(scan));
        let written = Arc::clone(&scan);
        let written = tokio::task::spawn_blocking(move || write_last_scan(&dir, &written)).await;
        if let Ok(Err(error)) = &written {
            warn!(error = error as &dyn std::error::Error, "what was found is not kept for the next start");
        }
        *self.last.lock() = (!matches!(written, Ok(Ok(())))).then(|| LastScan::clone(&scan));
        Arc::try_unwrap(scan).map_or_else(|scan| scan.scanners.clone(), |scan| scan.scanners)
    }

    /// What the machine is, and what can be done here.
    async fn host(&self, findings: &[Findings]) -> Host {
        let mut host = self.reader.read().await;
        let packages = &mut host.abilities.checks_packages;
        match self.packages {
            CheckPackages::Auto => {}
            CheckPackages::Always => *packages = Ability::yes(),
            CheckPackages::Never => {
                let way_out = "set `LIGHTSHIP__UPDATES__CHECK_PACKAGES` to `auto`";
                *packages = Ability::no("it is told not to look at packages", Some(way_out.into()));
            }
        }
        host.abilities.publishes = match self.docker.connect().await {
            Ok(_) => Ability::yes(),
            Err(error) => {
                Ability::no(error.to_string(), Some("see that the agent reaches the Engine".into()))
            }
        };
        host.abilities.checks_images = match findings.iter().find(|one| one.checked.kind == Kind::DockerImage)
        {
            Some(found) if found.checked.as_of.is_some() || found.checked.ok => Ability::yes(),
            Some(found) => Ability { yes: false, problem: found.checked.problem.clone() },
            None => Ability { yes: false, problem: host.abilities.publishes.problem.clone() },
        };
        let hands = self.hands.status().await;
        host.abilities.installs_packages = hands.installs_packages;
        host.abilities.replaces_containers = hands.replaces_containers;
        host.order_key = hands.key;
        host
    }
}
