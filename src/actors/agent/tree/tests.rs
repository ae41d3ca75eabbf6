//! The wired agent, without an Engine.

mod external;
mod failures;
mod handover;
mod networks;
mod repairs;
mod troubles;

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
use crate::domain::update::HostScan;
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
    async fn network_name(&self, _: &str) -> Result<Option<String>, DockerError> {
        away()
    }
    async fn last_log_lines(&self, _: &ContainerId) -> Result<Vec<String>, DockerError> {
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
    hands: FakeHands,
}

/// A whole agent without an Engine.
async fn host(master: &FakeMaster, dir: &tempfile::TempDir) -> Host {
    host_with(NoEngine, master, dir).await
}

/// A whole agent on a host with this Engine.
async fn host_with(engine: impl Docker, master: &FakeMaster, dir: &tempfile::TempDir) -> Host {
    host_set(&Settings::default(), engine, master, dir).await
}

/// A host without anything that could be looked at for updates.
fn nothing_to_see() -> LookAtHost {
    Arc::new(|_| {
        let scan = HostScan::new(at("2026-01-31T12:00:00Z"), Vec::new());
        Box::pin(async { Ok(Seen { scan: Arc::new(scan), host: Box::default() }) })
    })
}

/// A whole agent with these settings.
async fn host_set(
    settings: &Settings,
    engine: impl Docker,
    master: &FakeMaster,
    dir: &tempfile::TempDir,
) -> Host {
    let state = StateDir::open(dir.path(), Io::current()).unwrap();
    let (docker, uplink) = (Arc::new(engine), Arc::new(master.clone()));
    let hands = FakeHands::default();
    let settings = AgentSettings::new(settings, Some("h1".into()));
    let (spec, ports) = agent(AgentParts {
        settings,
        docker,
        uplink,
        state: state.clone(),
        link: CurrentLink::default(),
        look: nothing_to_see(),
        hands: Arc::new(hands.clone()),
    });
    let changes: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&changes);
    let clock = Clock::moved(at("2026-01-31T12:00:00Z"));
    let tree = Tree::new(clock, Chance::seeded(7), move |event| match &event.change {
        Change::Started(_) => sink.lock().push(format!("+{}", event.path)),
        Change::Exited(_) => sink.lock().push(format!("-{}", event.path)),
        _ => {}
    });
    Host { root: Root::start(tree, "agent", spec).await, ports, state, changes, hands }
}

#[test]
fn sinks_start_first_and_stop_last() {
    paused(async {
        let dir = tempfile::tempdir().unwrap();
        let host = host(&FakeMaster::native(), &dir).await;
        let started: Vec<_> = host.changes.lock().drain(..).filter(|line| line != "+agent").collect();
        host.root.shutdown(secs(60)).await;
        let stopped: Vec<_> = host.changes.lock().drain(..).filter(|line| line != "-agent").collect();

        let order = ["reporter", "tunnel", "updates", "installer", "docker", "command-poller"];
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
        let form = json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t0"});
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
        assert_eq!(kept.desired_state, DesiredState::Running, "it is started as soon as there is an Engine");
    });
}

#[test]
fn a_prefix_that_the_master_tells_is_looked_for_before_anything_is_said() {
    for (own, expected) in [(None, vec!["app"]), (Some("other"), vec![])] {
        paused(async {
            // given: a container that is labelled with the prefix of the master's operator
            let (engine, master) = (FakeEngine::default(), FakeMaster::native());
            let labels = [("mine.enable", "true"), ("mine.hostname", "a.example.com")];
            let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
            engine.run(Container { name: "app".into(), labels, ..container("a") });
            master.tell_prefix("mine");
            let mut settings = Settings::default();
            settings.labels.prefix = own.map(str::to_owned);
            // when
            let dir = tempfile::tempdir().unwrap();
            let host = host_set(&settings, engine, &master, &dir).await;
            // then
            let snapshots = |heard: &Heard| {
                let (_, items) = batches(heard)?;
                items.into_iter().find_map(|item| match item {
                    Report::Snapshot { containers } => Some(containers),
                    _ => None,
                })
            };
            let first = master.until(1, snapshots).await.remove(0);
            let names: Vec<_> = first.iter().map(|found| found.name.as_str()).collect();
            assert_eq!(names, expected, "{own:?}");
            // Whoever replaces containers is told too; a setting of the host counts more there as well.
            assert_eq!(host.hands.prefix().as_deref(), Some("mine"));
        });
    }
}

#[test]
fn a_person_who_asks_for_a_look_hears_what_was_found() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), tempfile::tempdir().unwrap());
        let host = host(&master, &dir).await;
        master.queue(delivered("c1", json!({"action": "scan_updates"})));
        let result = |heard: &Heard| match heard {
            Heard::Result(id, outcome) if id.as_str() == "c1" => Some(outcome.clone()),
            _ => None,
        };
        let outcome = master.until(1, result).await.remove(0);
        assert!(outcome.succeeded && outcome.message.contains("nothing on this host"), "{outcome:?}");
        host.root.shutdown(secs(60)).await;
    });
}
