//! What the master is to know of this host, and which part of it was not said yet.
//!
//! Changes of one container coalesce. After an outage nothing is replayed: one fresh snapshot says it all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::messages::HostSeen;
use crate::domain::container::Container;
use crate::domain::host::Host;
use crate::domain::id::ContainerId;
use crate::domain::order::Fingerprint;
use crate::domain::report::{GoneCause, Report};
use crate::domain::tunnel::TunnelReport;
use crate::domain::update::{Kind, RunProgress};

/// More changes than this in one go are said as a snapshot.
const CHANGES_LIMIT: usize = 200;

/// A report together with the container it is about, which the DockFlare dialect also tells.
#[derive(Debug, Clone, PartialEq)]
pub struct DueReport {
    /// The report.
    pub report: Report,
    /// The container that is gone.
    pub container: Option<Container>,
}

/// The host as it is, and what is still to be said.
#[derive(Debug, Default)]
pub struct View {
    /// `None` until a listing succeeded: an unknown list is never sent as an empty one.
    containers: Option<BTreeMap<ContainerId, Container>>,
    tunnel: Option<TunnelReport>,
    /// In the order they happened, at most one of each container.
    changes: VecDeque<Change>,
    is_snapshot_due: bool,
    is_tunnel_due: bool,
    /// The run that is under way.
    run: Option<Box<RunProgress>>,
    is_run_due: bool,
    is_heartbeat_due: bool,
    seen: Option<HostSeen>,
    /// The machine as the master was told of it.
    told_host: Option<Box<Host>>,
    is_scan_due: bool,
    /// Scanners whose findings the master asks for.
    wanted: BTreeSet<Kind>,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Seen(Container),
    /// Its last known form.
    Gone(Container),
}

impl Change {
    fn id(&self) -> &ContainerId {
        match self {
            Self::Seen(container) | Self::Gone(container) => &container.id,
        }
    }
}

impl View {
    /// A listing succeeded. One that says nothing new is not sent.
    pub fn listed(&mut self, list: Vec<Container>) {
        let list: BTreeMap<_, _> = list.into_iter().map(|c| (c.id.clone(), c)).collect();
        if self.containers.as_ref() != Some(&list) {
            self.containers = Some(list);
            self.ask_for_snapshot();
        }
    }

    /// Docker cannot be asked: what was listed counts no more.
    pub fn listing_lost(&mut self) {
        self.containers = None;
        self.changes.clear();
        self.is_snapshot_due = false;
    }

    /// A container runs.
    pub fn started(&mut self, container: Container) {
        let Some(known) = &mut self.containers else { return };
        if known.get(&container.id) == Some(&container) {
            return;
        }
        known.insert(container.id.clone(), container.clone());
        self.change(Change::Seen(container));
    }

    /// A container runs no more. One that was never listed is nobody's business.
    pub fn stopped(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.as_mut().and_then(|known| known.remove(id)) else { return };
        self.change(Change::Gone(container));
    }

    /// The tunnel was looked at. The time of looking alone is no news.
    pub fn tunnel(&mut self, report: TunnelReport) {
        let timeless = |report: &TunnelReport| TunnelReport { observed_at: None, ..report.clone() };
        let is_news = self.tunnel.as_ref().map(timeless) != Some(timeless(&report));
        self.tunnel = Some(report);
        self.is_tunnel_due |= is_news;
    }

    /// A run goes on, or ended: that is told otherwise. Only the latest word counts.
    pub fn run(&mut self, progress: Option<Box<RunProgress>>) {
        self.is_run_due = progress.is_some();
        self.run = progress;
    }

    /// Orders are known by this key; the master hears of it with what the host is.
    pub fn knows_orders_by(&mut self, key: Option<Fingerprint>) {
        if let Some(seen) = self.seen.as_mut().filter(|seen| seen.host.order_key != key) {
            seen.host.order_key = key;
            self.is_scan_due = true;
        }
    }

    /// The host was looked at. Every look is told: the master is to know how old what it knows is.
    pub fn seen(&mut self, seen: HostSeen) {
        self.seen = Some(seen);
        self.is_scan_due = true;
    }

    /// The master does not have what these scanners found.
    pub fn ask_for_findings(&mut self, wanted: impl IntoIterator<Item = Kind>) {
        self.wanted.extend(wanted);
    }

    /// It is time to show a sign of life.
    pub fn ask_for_heartbeat(&mut self) {
        self.is_heartbeat_due = true;
    }

    /// The whole list is to be said instead of its changes.
    pub fn ask_for_snapshot(&mut self) {
        self.is_snapshot_due = self.containers.is_some();
        self.changes.clear();
    }

    /// Everything is to be said again: the master is new, or did not hear us.
    pub fn say_all_again(&mut self) {
        self.ask_for_snapshot();
        self.is_tunnel_due = self.tunnel.is_some();
        self.is_run_due = self.run.is_some();
        self.is_heartbeat_due = true;
        self.told_host = None;
        self.is_scan_due = self.seen.is_some();
        self.wanted.clear();
    }

    /// Every container is to be said one by one as well, as DockFlare agents do when they start.
    pub fn announce_each(&mut self) {
        let known = self.containers.iter().flat_map(BTreeMap::values).cloned();
        self.changes = known.map(Change::Seen).collect();
    }

    /// Says if there is anything to say.
    pub fn is_due(&self) -> bool {
        let is_known_due = self.is_scan_due || !self.wanted.is_empty();
        self.is_heartbeat_due
            || self.is_snapshot_due
            || self.is_tunnel_due
            || self.is_run_due
            || is_known_due
            || !self.changes.is_empty()
    }

    /// Takes everything that is due, in the order a master should read it.
    ///
    /// A heartbeat alone is a report; together with others it would say nothing more. Findings end it: those of one
    /// scanner may fill a batch.
    pub fn take_all(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while let Some(said) = self.take_next() {
            let is_large = matches!(said.report, Report::Findings { .. });
            reports.push(said.report);
            if is_large {
                break;
            }
        }
        if reports.len() > 1 {
            reports.retain(|report| *report != Report::Heartbeat);
        }
        reports
    }

    /// Takes the one report that is due next.
    pub fn take_next(&mut self) -> Option<DueReport> {
        let plain = |report| Some(DueReport { report, container: None });
        if std::mem::take(&mut self.is_heartbeat_due) {
            return plain(Report::Heartbeat);
        }
        if std::mem::take(&mut self.is_snapshot_due)
            && let Some(known) = &self.containers
        {
            return plain(Report::Snapshot { containers: known.values().cloned().collect() });
        }
        match self.changes.pop_front() {
            Some(Change::Seen(container)) => return plain(Report::ContainerSeen { container }),
            Some(Change::Gone(container)) => {
                let report = Report::ContainerGone { id: container.id.clone(), cause: GoneCause::Stopped };
                return Some(DueReport { report, container: Some(container) });
            }
            None => {}
        }
        if std::mem::take(&mut self.is_tunnel_due)
            && let Some(tunnel) = self.tunnel.clone()
        {
            return plain(Report::Tunnel { tunnel });
        }
        if std::mem::take(&mut self.is_run_due)
            && let Some(progress) = self.run.clone()
        {
            return plain(Report::Run { progress });
        }
        self.take_of_host().map(|report| DueReport { report, container: None })
    }

    fn take_of_host(&mut self) -> Option<Report> {
        let seen = self.seen.as_ref()?;
        if self.is_scan_due {
            let is_news = |told: &Host| seen.host.is_news_after(told);
            if self.told_host.as_deref().is_none_or(is_news) {
                self.told_host = Some(seen.host.clone());
                return Some(Report::Host { host: seen.host.clone() });
            }
            self.is_scan_due = false;
            return Some(Report::Scanned { scan: seen.scan.scanned().clone() });
        }
        while let Some(kind) = self.wanted.pop_first() {
            if let Some(findings) = seen.scan.findings(kind) {
                return Some(Report::Findings { findings });
            }
        }
        None
    }

    /// Returns how many containers are known; `None` while none could be listed.
    pub fn count_containers(&self) -> Option<usize> {
        self.containers.as_ref().map(BTreeMap::len)
    }

    fn change(&mut self, change: Change) {
        if self.is_snapshot_due {
            return;
        }
        self.changes.retain(|earlier| earlier.id() != change.id());
        self.changes.push_back(change);
        if self.changes.len() > CHANGES_LIMIT {
            self.ask_for_snapshot();
        }
    }
}

#[cfg(test)]
mod tests;
