//! The Docker side of an agent: its watcher and its tunnel supervisor in a real tree, without a master.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lightship::actors::agent::command_poller::{TaskReply, TunnelTask, TunnelWork};
use lightship::actors::agent::docker_watcher::{DockerWatcher, WatcherParts};
use lightship::actors::agent::label_prefix::LabelPrefix;
use lightship::actors::agent::link::CurrentLink;
use lightship::actors::agent::reporter::ContainerNews;
use lightship::actors::agent::tunnel_supervisor::{
    CarryOut, CheckTunnel, TunnelParts, TunnelSettings, TunnelSupervisor,
};
use lightship::actors::supervision::{ChildSpec, Overflow, Port, Root, SupSpec, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::config::OnShutdown;
use lightship::docker::{BollardDocker, Docker};
use lightship::domain::agent_tunnel::ConnectorOptions;
use lightship::domain::command::Outcome;
use lightship::domain::id::{AgentId, CommandId, TunnelId};
use lightship::domain::tunnel::{TunnelHealth, TunnelReport};
use lightship::io::IoRuntime;
use lightship::protocol::command::TunnelOrder;
use lightship::state_dir::{StateDir, StateError};
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::docker::CLOUDFLARED_IMAGE;
use super::until::{DEADLINE, until};

/// The network that tunnels of these tests join.
pub const NETWORK: &str = "edge";
/// Who the agent is.
pub const AGENT: &str = "agent-1";

/// How the agent is set up.
pub struct Setup<'a> {
    pub docker_host: String,
    pub state_dir: &'a Path,
    pub on_shutdown: OnShutdown,
    pub label_prefix: Option<String>,
    pub options: ConnectorOptions,
}

/// The two actors, and what they tell.
pub struct HostAgent {
    root: Option<Root>,
    tunnel: Port<TunnelSupervisor>,
    news: mpsc::UnboundedReceiver<ContainerNews>,
    reports: watch::Receiver<Option<TunnelReport>>,
    pub state: StateDir,
    _io: IoRuntime,
}

impl HostAgent {
    pub async fn start(setup: Setup<'_>) -> Self {
        let io = IoRuntime::start().unwrap();
        // As soon as the last write of its former holder is done.
        let state = until("the former holder lets go", || async {
            match StateDir::open(setup.state_dir, io.io()) {
                Err(StateError::InUse { .. }) => None,
                other => Some(other.unwrap()),
            }
        })
        .await;
        if state.agent_id().await.unwrap().is_none() {
            state.put_agent_id(&AgentId::new(AGENT)).await.unwrap();
        }
        let docker: Arc<dyn Docker> = Arc::new(BollardDocker::new(&setup.docker_host, io.io()).unwrap());
        let (told, reports) = watch::channel(None);
        let mut settings = TunnelSettings::new(CLOUDFLARED_IMAGE, NETWORK, setup.on_shutdown);
        settings.options = setup.options;
        // Rare, so that what is repaired at once is repaired because of an event.
        settings.check = Duration::from_secs(600);
        let tunnel_parts = TunnelParts {
            docker: Arc::clone(&docker),
            state: state.clone(),
            link: CurrentLink::default(),
            settings,
            observed: Arc::new(move |report| drop(told.send(Some(report)))),
        };
        let (tunnel_spec, tunnel) = ChildSpec::actor("tunnel", 64, Overflow::Reject, move || {
            TunnelSupervisor::new(tunnel_parts.clone())
        });
        let (send_news, news) = mpsc::unbounded_channel();
        let touched = tunnel.clone();
        let watcher_parts = WatcherParts {
            docker,
            label_prefix: LabelPrefix::new(setup.label_prefix),
            resync: Duration::from_secs(600),
            tell_reporter: Arc::new(move |news| send_news.send(news).is_ok()),
            connector_touched: Arc::new(move || {
                let _ = touched.tell(CheckTunnel);
            }),
        };
        let (watcher_spec, _watcher) = ChildSpec::actor("docker", 64, Overflow::Reject, move || {
            DockerWatcher::new(watcher_parts.clone())
        });
        let spec =
            SupSpec::one_for_one().child(tunnel_spec.grace(Duration::from_secs(90))).child(watcher_spec);
        let tree = Tree::new(Clock::system(), Chance::seeded(1), |_| {});
        let root = Root::start(tree, "agent", spec).await;
        Self { root: Some(root), tunnel, news, reports, state, _io: io }
    }

    /// Returns the next news of containers.
    pub async fn news(&mut self) -> ContainerNews {
        timeout(DEADLINE, self.news.recv()).await.expect("news in time").expect("the watcher lives")
    }

    /// Skips news until one passes `choose`.
    pub async fn news_until(&mut self, mut choose: impl FnMut(&ContainerNews) -> bool) -> ContainerNews {
        loop {
            let news = self.news().await;
            if choose(&news) {
                return news;
            }
        }
    }

    /// Hands a command over; the answer comes later.
    pub fn order(&self, id: &str, work: TunnelWork) -> oneshot::Receiver<Option<Outcome>> {
        let (tell, told) = oneshot::channel();
        let reply = TaskReply::new(move |outcome| drop(tell.send(outcome)));
        self.tunnel.tell(CarryOut(TunnelTask { id: CommandId::new(id), work, reply })).unwrap();
        told
    }

    /// Hands a command over and waits for its result.
    pub async fn carry_out(&self, id: &str, work: TunnelWork) -> Outcome {
        timeout(DEADLINE, self.order(id, work)).await.expect("a result in time").unwrap().unwrap()
    }

    /// Waits until the tunnel is reported as `health`.
    pub async fn until_health(&mut self, health: TunnelHealth) -> TunnelReport {
        let mut reports = self.reports.clone();
        let is_so = |report: &Option<TunnelReport>| report.as_ref().is_some_and(|r| r.health == health);
        let seen = timeout(DEADLINE, reports.wait_for(is_so)).await.map(|report| report.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("wanted {health:?}, reported {:?}", self.reports.borrow())).unwrap()
    }

    /// Has it compare now.
    pub fn check_tunnel(&self) {
        self.tunnel.tell(CheckTunnel).unwrap();
    }

    /// Ends as on SIGTERM.
    pub async fn stop(mut self) {
        self.root.take().unwrap().shutdown(Duration::from_secs(60)).await;
    }
}

/// `start_tunnel` with all its parts.
pub fn start(token: &str) -> TunnelWork {
    TunnelWork::Start(TunnelOrder {
        tunnel_id: Some(TunnelId::new("t1")),
        tunnel_name: Some("home".into()),
        token: Some(SecretString::from(token)),
    })
}

/// `restart_tunnel`
pub fn restart(token: &str) -> TunnelWork {
    TunnelWork::Restart {
        tunnel_id: TunnelId::new("t1"),
        tunnel_name: "home".into(),
        token: SecretString::from(token),
    }
}
