//! Wires the agent: who tells whom, in which order they start, how long they may take to stop.
//!
//! Sinks start first and stop last, so that the last word about the tunnel still reaches the master.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracing::warn;

use super::command_poller::{CommandPoller, PollerParts, SendHostTask, SendTask};
use super::docker_watcher::{DockerWatcher, TellReporter, WatcherParts};
use super::label_prefix::LabelPrefix;
use super::link::CurrentLink;
use super::reporter::{
    ContainerNews, HostSeen, LastContainers, LastSeen, LastTunnel, Reporter, ReporterParts, ReporterSettings,
    ResultSpooled, RunSeen, TunnelObserved,
};
use super::status::{ActorStatus, GetStatus};
use super::tunnel_supervisor::{
    CarryOut, CheckTunnel, NoCommands, ReadLog, TunnelParts, TunnelSettings, TunnelSupervisor,
};
use super::update_installer::{Install, InstallerParts, TellRun, UpdateInstaller};
use super::update_scanner::{ImagesChanged, LookAtHost, Looked, ScanNow, ScannerParts, Seen, UpdateScanner};
use crate::actors::supervision::{ChildSpec, Overflow, Port, SupSpec};
use crate::config::Settings;
use crate::docker::Docker;
use crate::domain::tunnel::TunnelReport;
use crate::state_dir::StateDir;
use crate::updates::Hands;
use crate::uplink::Uplink;

/// Time between two listings of all containers while no event is missed.
const RESYNC: Duration = Duration::from_secs(60);
/// A connector gets 30 s for the requests it is serving when it is stopped, and its removal takes a moment.
const TUNNEL_GRACE: Duration = Duration::from_secs(60);
const REPORTER_GRACE: Duration = Duration::from_secs(5);

/// How this host's agent is to be.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Name and interval of its reports.
    pub reporter: ReporterSettings,
    /// Image and network of its connector.
    pub tunnel: TunnelSettings,
    /// The operator's own label prefix, if any.
    pub label_prefix: Option<String>,
    /// Time between two listings of all containers while no event is missed.
    pub resync: Duration,
    /// Time between two looks for updates.
    pub scan_interval: Duration,
}

impl AgentSettings {
    /// Takes what concerns the agent from the settings. `hostname` is the machine's own name, or `None` where
    /// it says nothing, as a container's made-up one: it tells two hosts with one key apart.
    pub fn new(settings: &Settings, hostname: Option<String>) -> Self {
        let (agent, tunnel) = (&settings.agent, &settings.tunnel);
        Self {
            reporter: ReporterSettings {
                display_name: agent.display_name.clone(),
                hostname,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                interval: Duration::from_secs(agent.report_interval_seconds),
            },
            tunnel: TunnelSettings {
                options: tunnel.options().unwrap_or_default(),
                is_external: tunnel.external,
                ..TunnelSettings::new(&tunnel.image, &tunnel.network, tunnel.on_shutdown)
            },
            label_prefix: settings.labels.prefix.clone(),
            resync: RESYNC,
            scan_interval: Duration::from_secs(settings.updates.scan_interval_seconds),
        }
    }
}

/// What the agent works with.
pub struct AgentParts {
    /// How it is to be.
    pub settings: AgentSettings,
    /// The Engine of this host.
    pub docker: Arc<dyn Docker>,
    /// The way to the master.
    pub uplink: Arc<dyn Uplink>,
    /// Its files.
    pub state: StateDir,
    /// What there will be with the master; empty still.
    pub link: CurrentLink,
    /// Looks at the host for updates.
    pub look: LookAtHost,
    /// Plans and carries out changes of the host. They work off the arbiter.
    pub hands: Arc<dyn Hands>,
}

/// The ways into a running agent, for health checks and the status command.
#[derive(Clone)]
pub struct AgentPorts {
    /// What there is with the master.
    pub link: CurrentLink,
    reporter: Port<Reporter>,
    tunnel: Port<TunnelSupervisor>,
    updates: Port<UpdateScanner>,
    installer: Port<UpdateInstaller>,
    docker: Port<DockerWatcher>,
    command_poller: Port<CommandPoller>,
}

/// How every actor of the agent is; `None` for one that did not answer.
#[derive(Debug, Clone, Serialize)]
pub struct AgentStatus {
    /// The way to the master.
    pub reporter: Option<ActorStatus>,
    /// The connector.
    pub tunnel: Option<ActorStatus>,
    /// Pending updates.
    pub updates: Option<ActorStatus>,
    /// Plans and runs.
    pub installer: Option<ActorStatus>,
    /// The Engine.
    pub docker: Option<ActorStatus>,
    /// Commands.
    pub command_poller: Option<ActorStatus>,
}

impl AgentPorts {
    /// Asks every actor how it is, each for at most `max`.
    pub async fn status(&self, max: Duration) -> AgentStatus {
        let (reporter, tunnel, updates, installer, docker, command_poller) = futures_util::join!(
            self.reporter.ask(GetStatus, max),
            self.tunnel.ask(GetStatus, max),
            self.updates.ask(GetStatus, max),
            self.installer.ask(GetStatus, max),
            self.docker.ask(GetStatus, max),
            self.command_poller.ask(GetStatus, max),
        );
        AgentStatus {
            reporter: reporter.ok(),
            tunnel: tunnel.ok(),
            updates: updates.ok(),
            installer: installer.ok(),
            docker: docker.ok(),
            command_poller: command_poller.ok(),
        }
    }
}

/// Describes the supervisor `agent` with its children.
pub fn agent(parts: AgentParts) -> (SupSpec, AgentPorts) {
    let AgentParts { settings, docker, uplink, state, link, look, hands } = parts;
    let label_prefix = LabelPrefix::new(settings.label_prefix);
    let (last_tunnel, last_containers) = (LastTunnel::default(), LastContainers::default());
    let last_seen = LastSeen::default();

    let reporter_parts = ReporterParts {
        settings: settings.reporter,
        uplink: Arc::clone(&uplink),
        state: state.clone(),
        link: link.clone(),
        last_tunnel: last_tunnel.clone(),
        last_containers: last_containers.clone(),
        last_seen: last_seen.clone(),
        label_prefix: label_prefix.clone(),
        hands: Arc::clone(&hands),
    };
    let (reporter_spec, reporter) =
        ChildSpec::actor("reporter", 1024, Overflow::Reject, move || Reporter::new(reporter_parts.clone()));

    let tunnel_parts = TunnelParts {
        docker: Arc::clone(&docker),
        state: state.clone(),
        link: link.clone(),
        settings: settings.tunnel,
        observed: tunnel_reports(reporter.clone(), last_tunnel),
    };
    let (tunnel_spec, tunnel) =
        ChildSpec::actor("tunnel", 64, Overflow::Reject, move || TunnelSupervisor::new(tunnel_parts.clone()));

    let scanner_parts = ScannerParts {
        look,
        interval: settings.scan_interval,
        tell_reporter: host_seen(reporter.clone(), last_seen),
    };
    let (updates_spec, updates) =
        ChildSpec::actor("updates", 16, Overflow::Reject, move || UpdateScanner::new(scanner_parts.clone()));

    let installer_parts = InstallerParts {
        hands,
        state: state.clone(),
        link: link.clone(),
        scan: scan_now(updates.clone()),
        tell_run: run_seen(reporter.clone()),
        spooled: result_spooled(reporter.clone()),
    };
    let (installer_spec, installer) = ChildSpec::actor("installer", 32, Overflow::Reject, move || {
        UpdateInstaller::new(installer_parts.clone())
    });

    let touched = tunnel.clone();
    let watcher_parts = WatcherParts {
        docker,
        label_prefix,
        resync: settings.resync,
        tell_reporter: container_news(reporter.clone(), updates.clone(), last_containers),
        // A full mailbox holds a comparison already.
        connector_touched: Arc::new(move || {
            let _ = touched.tell(CheckTunnel);
        }),
    };
    let (docker_spec, docker_port) =
        ChildSpec::actor("docker", 64, Overflow::Reject, move || DockerWatcher::new(watcher_parts.clone()));

    let poller_parts = PollerParts {
        uplink,
        state,
        link: link.clone(),
        reporter: reporter.clone(),
        tunnel: send_task(tunnel.clone()),
        host: send_host_task(installer.clone()),
        scan: scan_now(updates.clone()),
        connector_log: connector_log(tunnel.clone()),
        no_commands: no_commands(tunnel.clone()),
    };
    let (poller_spec, command_poller) =
        ChildSpec::actor("command-poller", 256, Overflow::Reject, move || {
            CommandPoller::new(poller_parts.clone())
        });

    let spec = SupSpec::one_for_one()
        .intensity(10, Duration::from_secs(300))
        .child(reporter_spec.grace(REPORTER_GRACE))
        .child(tunnel_spec.grace(TUNNEL_GRACE))
        .child(updates_spec)
        .child(installer_spec)
        .child(docker_spec)
        .child(poller_spec);
    (spec, AgentPorts { link, reporter, tunnel, updates, installer, docker: docker_port, command_poller })
}

/// What the tunnel supervisor sees goes to the reporter, and is kept for one that restarts.
fn tunnel_reports(reporter: Port<Reporter>, last: LastTunnel) -> Arc<dyn Fn(TunnelReport) + Send + Sync> {
    Arc::new(move |report| {
        last.set(report.clone());
        if reporter.tell(TunnelObserved(report)).is_err() {
            warn!("the reporter is busy; it looks at the tunnel with its next sign of life");
        }
    })
}

/// What is seen of the host goes to the reporter, and is kept for one that restarts.
fn host_seen(reporter: Port<Reporter>, last: LastSeen) -> Arc<dyn Fn(Seen) -> bool + Send + Sync> {
    Arc::new(move |Seen { scan, host }| {
        let seen = HostSeen { scan, host };
        last.set(seen.clone());
        reporter.tell(seen).is_ok()
    })
}

/// What the watcher sees goes to the reporter, and is kept for one that restarts.
fn container_news(
    reporter: Port<Reporter>,
    updates: Port<UpdateScanner>,
    last: LastContainers,
) -> TellReporter {
    Arc::new(move |news| {
        last.note(&news);
        if matches!(news, ContainerNews::Started(_)) {
            // A full mailbox holds a look already.
            let _ = updates.tell(ImagesChanged);
        }
        reporter.tell(news).is_ok()
    })
}

fn send_task(tunnel: Port<TunnelSupervisor>) -> SendTask {
    Arc::new(move |task| {
        tunnel.tell(CarryOut(task)).map(drop).map_err(|refused| Box::new(refused.into_inner().0))
    })
}

fn send_host_task(installer: Port<UpdateInstaller>) -> SendHostTask {
    Arc::new(move |task| {
        installer.tell(Install(task)).map(drop).map_err(|refused| Box::new(refused.into_inner().0))
    })
}

/// Said again every few seconds, so one that was not taken is no loss.
fn run_seen(reporter: Port<Reporter>) -> TellRun {
    Arc::new(move |progress| {
        let _ = reporter.tell(RunSeen(progress.map(Box::new)));
    })
}

/// The result of the command follows, and has the reporter look once more.
fn result_spooled(reporter: Port<Reporter>) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || {
        let _ = reporter.tell(ResultSpooled);
    })
}

/// What is not taken is dropped, and whoever waits hears of that.
fn scan_now(updates: Port<UpdateScanner>) -> Arc<dyn Fn(Looked) -> bool + Send + Sync> {
    Arc::new(move |done| updates.tell(ScanNow { done }).is_ok())
}

/// The same.
fn connector_log(tunnel: Port<TunnelSupervisor>) -> Arc<dyn Fn(Looked) -> bool + Send + Sync> {
    Arc::new(move |done| tunnel.tell(ReadLog { done }).is_ok())
}

/// Said again at every attempt, so one that was not taken is no loss.
fn no_commands(tunnel: Port<TunnelSupervisor>) -> Arc<dyn Fn(Option<String>) + Send + Sync> {
    Arc::new(move |why| {
        let _ = tunnel.tell(NoCommands(why));
    })
}

#[cfg(test)]
mod tests;
