//! Wires the agent: who tells whom, in which order they start, how long they may take to stop.
//!
//! Sinks start first and stop last, so that the last word about the tunnel still reaches the master.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracing::warn;

use super::command_poller::{CommandPoller, PollerParts, TunnelHand};
use super::docker_watcher::{ContainerNews, DockerWatcher, NewsHand, WatcherParts};
use super::link::LinkCell;
use super::reporter::{
    ContainerStarted, ContainerStopped, ContainersListed, LastTunnel, ListingLost, Reporter, ReporterParts,
    ReporterSettings, TunnelObserved,
};
use super::status::{ActorStatus, GetStatus};
use super::tunnel_supervisor::{CarryOut, CheckTunnel, TunnelParts, TunnelSettings, TunnelSupervisor};
use crate::actors::supervision::{ChildSpec, Overflow, Port, SupSpec, Supervise};
use crate::config::Settings;
use crate::docker::Docker;
use crate::domain::tunnel::TunnelReport;
use crate::state_dir::StateDir;
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
}

impl AgentSettings {
    /// Takes what concerns the agent from the settings. `hostname` is the machine's own name, or `None` where
    /// it says nothing, as in a container: it tells two hosts with one key apart.
    pub fn new(settings: &Settings, hostname: Option<String>) -> Self {
        let (agent, tunnel) = (&settings.agent, &settings.tunnel);
        Self {
            reporter: ReporterSettings {
                display_name: agent.display_name.clone(),
                hostname,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                interval: Duration::from_secs(agent.report_interval_seconds),
            },
            tunnel: TunnelSettings::new(&tunnel.image, &tunnel.network, tunnel.on_shutdown),
            label_prefix: settings.labels.prefix.clone(),
            resync: RESYNC,
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
}

/// The ways into a running agent, for health checks and the status command.
#[derive(Clone)]
pub struct AgentPorts {
    /// What there is with the master.
    pub link: LinkCell,
    reporter: Port<Reporter>,
    tunnel: Port<TunnelSupervisor>,
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
    /// The Engine.
    pub docker: Option<ActorStatus>,
    /// Commands.
    pub command_poller: Option<ActorStatus>,
}

impl AgentPorts {
    /// Asks every actor how it is, each for at most `max`.
    pub async fn status(&self, max: Duration) -> AgentStatus {
        let (reporter, tunnel, docker, command_poller) = futures_util::join!(
            self.reporter.ask(GetStatus, max),
            self.tunnel.ask(GetStatus, max),
            self.docker.ask(GetStatus, max),
            self.command_poller.ask(GetStatus, max),
        );
        AgentStatus {
            reporter: reporter.ok(),
            tunnel: tunnel.ok(),
            docker: docker.ok(),
            command_poller: command_poller.ok(),
        }
    }
}

/// Describes the supervisor `agent` with its children.
pub fn agent(parts: AgentParts) -> (SupSpec, AgentPorts) {
    let AgentParts { settings, docker, uplink, state } = parts;
    let (link, last_tunnel) = (LinkCell::default(), LastTunnel::default());

    let reporter_parts = ReporterParts {
        settings: settings.reporter,
        uplink: Arc::clone(&uplink),
        state: state.clone(),
        link: link.clone(),
        last_tunnel: last_tunnel.clone(),
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

    // `updates` (the scanner of this host) starts here: it reports, and it hears of images from `docker`.

    let touched = tunnel.clone();
    let watcher_parts = WatcherParts {
        docker,
        label_prefix: settings.label_prefix,
        resync: settings.resync,
        news: container_news(reporter.clone()),
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
        tunnel: tunnel_hand(tunnel.clone()),
    };
    let (poller_spec, command_poller) =
        ChildSpec::actor("command-poller", 256, Overflow::Reject, move || {
            CommandPoller::new(poller_parts.clone())
        });

    let spec = SupSpec::one_for_one()
        .intensity(10, Duration::from_secs(300))
        .child(reporter_spec.grace(REPORTER_GRACE))
        .child(tunnel_spec.grace(TUNNEL_GRACE))
        .child(docker_spec)
        .child(poller_spec);
    (spec, AgentPorts { link, reporter, tunnel, docker: docker_port, command_poller })
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

fn container_news(reporter: Port<Reporter>) -> NewsHand {
    Arc::new(move |news| match news {
        ContainerNews::Listed(list) => is_taken(&reporter, ContainersListed(list)),
        ContainerNews::ListingLost => is_taken(&reporter, ListingLost),
        ContainerNews::Started(container) => is_taken(&reporter, ContainerStarted(container)),
        ContainerNews::Stopped(id) => is_taken(&reporter, ContainerStopped(id)),
    })
}

fn is_taken<A, M>(port: &Port<A>, message: M) -> bool
where
    A: Supervise + actix::Handler<M>,
    M: actix::Message<Result = ()> + Send + 'static,
{
    port.tell(message).is_ok()
}

fn tunnel_hand(tunnel: Port<TunnelSupervisor>) -> TunnelHand {
    Arc::new(move |task| {
        tunnel.tell(CarryOut(task)).map(drop).map_err(|refused| Box::new(refused.into_inner().0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;

    use async_trait::async_trait;
    use chrono::{DateTime, Utc};
    use parking_lot::Mutex;
    use serde_json::json;

    use crate::actors::agent::testing::*;
    use crate::actors::supervision::{Change, Root, Tree};
    use crate::chance::Chance;
    use crate::clock::Clock;
    use crate::docker::{ConnectorStatus, ContainerDetails, DockerError, EngineInfo, Events, NewConnector};
    use crate::domain::container::Container;
    use crate::domain::id::ContainerId;
    use crate::domain::report::Report;
    use crate::io::Io;
    use crate::state_dir::DesiredState;

    /// An Engine that is not there.
    struct NoEngine;

    fn away<T>() -> Result<T, DockerError> {
        Err(DockerError::TimedOut { host: "unix:///nowhere".into(), what: "answer", limit: secs(1) })
    }

    #[async_trait]
    impl Docker for NoEngine {
        async fn connect(&self) -> Result<EngineInfo, DockerError> {
            away()
        }
        async fn watch(&self, _: DateTime<Utc>) -> Result<Events, DockerError> {
            away()
        }
        async fn list_running(&self) -> Result<Vec<Container>, DockerError> {
            away()
        }
        async fn find_container(&self, _: &str) -> Result<Option<ContainerDetails>, DockerError> {
            away()
        }
        async fn create_connector(&self, _: &NewConnector) -> Result<ContainerId, DockerError> {
            away()
        }
        async fn start(&self, _: &ContainerId) -> Result<(), DockerError> {
            away()
        }
        async fn stop(&self, _: &ContainerId) -> Result<(), DockerError> {
            away()
        }
        async fn remove(&self, _: &ContainerId) -> Result<(), DockerError> {
            away()
        }
        async fn rename(&self, _: &ContainerId, _: &str) -> Result<(), DockerError> {
            away()
        }
        async fn unpause(&self, _: &ContainerId) -> Result<(), DockerError> {
            away()
        }
        async fn has_image(&self, _: &str) -> Result<bool, DockerError> {
            away()
        }
        async fn pull_image(&self, _: &str) -> Result<(), DockerError> {
            away()
        }
        async fn ensure_network(&self, _: &str, _: &[(&str, &str)]) -> Result<bool, DockerError> {
            away()
        }
        async fn last_log_line(&self, _: &ContainerId) -> Result<Option<String>, DockerError> {
            away()
        }
        async fn read_connector(&self, _: SocketAddr) -> ConnectorStatus {
            ConnectorStatus::default()
        }
    }

    struct Host {
        root: Root,
        ports: AgentPorts,
        state: StateDir,
        changes: Arc<Mutex<Vec<String>>>,
    }

    /// A whole agent without an Engine.
    async fn host(master: &FakeMaster, dir: &tempfile::TempDir) -> Host {
        let state = StateDir::open(dir.path(), Io::current()).unwrap();
        let (docker, uplink) = (Arc::new(NoEngine), Arc::new(master.clone()));
        let settings = AgentSettings::new(&Settings::default(), Some("h1".into()));
        let (spec, ports) = agent(AgentParts { settings, docker, uplink, state: state.clone() });
        let changes: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&changes);
        let clock = Clock::moved(at("2026-01-31T12:00:00Z"));
        let tree = Tree::new(clock, Chance::seeded(7), move |event| match &event.change {
            Change::Started(_) => sink.lock().push(format!("+{}", event.path)),
            Change::Exited(_) => sink.lock().push(format!("-{}", event.path)),
            _ => {}
        });
        Host { root: Root::start(tree, "agent", spec).await, ports, state, changes }
    }

    #[test]
    fn sinks_start_first_and_stop_last() {
        paused(async {
            let dir = tempfile::tempdir().unwrap();
            let host = host(&FakeMaster::native(), &dir).await;
            let started: Vec<_> = host.changes.lock().drain(..).filter(|line| line != "+agent").collect();
            host.root.shutdown(secs(60)).await;
            let stopped: Vec<_> = host.changes.lock().drain(..).filter(|line| line != "-agent").collect();

            let order = ["reporter", "tunnel", "docker", "command-poller"];
            assert_eq!(started, order.map(|name| format!("+agent/{name}")));
            let mut reverse = order.map(|name| format!("-agent/{name}"));
            reverse.reverse();
            assert_eq!(stopped, reverse);
        });
    }

    #[test]
    fn without_an_engine_every_actor_still_says_how_it_is() {
        paused(async {
            let (master, dir) = (FakeMaster::native(), tempfile::tempdir().unwrap());
            let host = host(&master, &dir).await;
            master.until(1, batches).await;

            let status = host.ports.status(secs(1)).await;

            assert_eq!(status.reporter.unwrap().state, "connected");
            assert_eq!(status.docker.unwrap().state, "waiting for docker");
            assert_eq!(status.command_poller.unwrap().state, "polling");
            assert!(status.tunnel.is_some());
        });
    }

    #[test]
    fn a_command_reaches_the_tunnel_and_its_failure_the_master() {
        paused(async {
            let (master, dir) = (FakeMaster::native(), tempfile::tempdir().unwrap());
            let host = host(&master, &dir).await;
            let form =
                json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t0"});
            master.queue(delivered("c1", form));

            let tunnel_news = |heard: &Heard| {
                let (_, items) = batches(heard)?;
                items.into_iter().find_map(|item| match item {
                    Report::Tunnel { tunnel } if tunnel.tunnel_id.is_some() => tunnel.reason,
                    _ => None,
                })
            };
            let reasons = master.until(1, tunnel_news).await;

            assert!(reasons[0].contains("unix:///nowhere"), "{reasons:?}");
            let kept = host.state.tunnel_state().await.unwrap().unwrap();
            assert_eq!(
                kept.desired_state,
                DesiredState::Running,
                "it is started as soon as there is an Engine"
            );
        });
    }
}
