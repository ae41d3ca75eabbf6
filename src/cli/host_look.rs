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
use crate::domain::update::{Checked, Findings, HostScan, Kind};
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
        let scan = self.keep(scan).await;
        let host = self.host(&scan.scanned().scanners).await;
        Seen { scan: Arc::new(scan), host: Box::new(host) }
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

    /// Keeps it for the next look and the next start, and hands back what was found.
    async fn keep(&self, scan: LastScan) -> HostScan {
        let dir = self.dir.clone();
        let keep = move || {
            let written = write_last_scan(&dir, &scan);
            if let Err(error) = &written {
                let error = error as &dyn std::error::Error;
                warn!(error, "what was found is not kept for the next start");
            }
            // There may be thousands: what is on the disk is not in memory too.
            let unwritten = written.is_err().then(|| scan.clone());
            (HostScan::new(scan.at, scan.scanners), unwritten)
        };
        let (scan, unwritten) = match tokio::task::spawn_blocking(keep).await {
            Ok(kept) => kept,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going away: so is the process.
            Err(_) => std::future::pending().await,
        };
        *self.last.lock() = unwritten;
        scan
    }

    /// What the machine is, and what can be done here.
    async fn host(&self, scanners: &[Checked]) -> Host {
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
        host.abilities.checks_images = match scanners.iter().find(|one| one.kind == Kind::DockerImage) {
            Some(checked) if checked.as_of.is_some() || checked.ok => Ability::yes(),
            Some(checked) => Ability { yes: false, problem: checked.problem.clone() },
            None => Ability { yes: false, problem: host.abilities.publishes.problem.clone() },
        };
        let hands = self.hands.status().await;
        host.abilities.installs_packages = hands.installs_packages;
        host.abilities.replaces_containers = hands.replaces_containers;
        host.order_key = hands.key;
        host
    }
}
