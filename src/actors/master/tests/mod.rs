//! The master's tree on a real database in memory, with a publisher that only takes notes.

mod commands;
mod containers;
mod enrolment;
mod fleet;
mod keys;
mod late;
mod leaps;
mod limits;
mod lost_tunnels;
mod machines;
mod memory;
mod modes;
mod plans;
mod pushes;
mod races;
mod redflag;
mod registration;
mod removal;
mod schedules;
mod seats;
mod updates;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::task::LocalSet;

use super::router::Router;
use super::router::trials::ReapNow;
use super::store::Writer;
use super::*;
use crate::actors::supervision::{Port, Root, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::domain::command::{Command, CommandKind, CommandStatus, Outcome};
use crate::domain::connector::Connector;
use crate::domain::container::Container;
use crate::domain::event::Stream;
use crate::domain::id::{AccountId, AgentId, ContainerId, TunnelId};
use crate::domain::report::{GoneCause, Report, Reports};
use crate::domain::route::{Route, RouteState};
use crate::domain::shard::shard_of;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::io::Io;
use crate::registry::Registries;

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(10);

/// Runs a test on one thread, as an arbiter would.
fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// A publisher that provides tunnels on request and counts how often it is woken and asked to compare.
#[derive(Default)]
struct Publisher {
    woken: AtomicUsize,
    /// The same, of each agent.
    woken_for: Mutex<HashMap<AgentId, usize>>,
    compared: AtomicUsize,
    provided: AtomicUsize,
    /// What the next request for a tunnel fails with.
    refusal: Mutex<Option<MasterError>>,
    /// No Cloudflare token is set.
    has_no_token: AtomicBool,
    /// Connectors that serve every tunnel.
    connectors: Mutex<Vec<String>>,
    /// The tunnel that somebody deleted at Cloudflare.
    deleted: Mutex<Option<TunnelId>>,
    /// What the next question whether a tunnel is there fails with.
    silence: Mutex<Option<MasterError>>,
    /// Where a plan looks for routes that are held.
    db: Mutex<Option<Db>>,
    /// How many agents had some when a plan was made.
    held_at_plan: Mutex<Option<usize>>,
}

#[async_trait]
impl Account for Publisher {
    fn is_connected(&self) -> bool {
        !self.has_no_token.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        self.woken.fetch_add(1, Ordering::SeqCst);
    }

    fn wake_agent(&self, agent: &AgentId) {
        *self.woken_for.lock().entry(agent.clone()).or_default() += 1;
        self.wake();
    }

    fn compare_agent(&self, _: &AgentId) {
        self.compared.fetch_add(1, Ordering::SeqCst);
    }

    async fn provide_tunnel(&self, name: &str, _: Duration) -> Result<ProvidedTunnel, MasterError> {
        if let Some(refusal) = self.refusal.lock().take() {
            return Err(refusal);
        }
        self.provided.fetch_add(1, Ordering::SeqCst);
        let first = TunnelId::new(format!("id-of-{name}"));
        let is_deleted = self.deleted.lock().as_ref() == Some(&first);
        Ok(ProvidedTunnel {
            account_id: AccountId::new("account"),
            tunnel_id: if is_deleted { TunnelId::new(format!("id-of-new-{name}")) } else { first },
            name: name.into(),
            is_made: true,
            token: format!("token-of-{name}").into(),
            connectors: Some(self.connectors.lock().clone()),
        })
    }

    async fn has_tunnel(&self, tunnel: &TunnelId, _: Duration) -> Result<bool, MasterError> {
        match self.silence.lock().take() {
            Some(silence) => Err(silence),
            None => Ok(self.deleted.lock().as_ref() != Some(tunnel)),
        }
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        let db = self.db.lock().clone();
        if let Some(db) = db {
            *self.held_at_plan.lock() = Some(db::due::list_agents_with_held_routes(&db).await?.len());
        }
        Ok(Plan::default())
    }

    async fn apply(&self, _: &str, _: Duration) -> Result<ApplyReport, MasterError> {
        Ok(ApplyReport { finished: true, ..ApplyReport::default() })
    }

    async fn put_agent_rules(&self, _: &AgentId, _: &TunnelId) -> Result<i64, MasterError> {
        Ok(7)
    }

    async fn connectors(&self, _: &TunnelId) -> Result<Vec<Connector>, MasterError> {
        let connected = |id: &String| Connector { id: id.clone(), connections: 4, ..Connector::default() };
        Ok(self.connectors.lock().iter().map(connected).collect())
    }
}

/// A master that runs.
/// The whole way in of a caller with this key.
fn admit(directory: &Directory, raw: &str, agent: &AgentId, errand: Errand) -> Result<Arc<Slot>, Refused> {
    directory.admit(&*directory.authenticate(raw).ok_or(Refused::UnknownKey)?, agent.as_str(), errand)
}

struct Rig {
    master: Master,
    root: Root,
    publisher: Arc<Publisher>,
    settings: MasterSettings,
}

impl Rig {
    async fn start() -> Self {
        Self::with(MasterSettings::default()).await
    }

    async fn with(settings: MasterSettings) -> Self {
        let db = Db::in_memory(Io::current()).await.unwrap();
        Self::on(db, settings, Arc::default()).await
    }

    async fn on(db: Db, settings: MasterSettings, publisher: Arc<Publisher>) -> Self {
        let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Self::at(db, settings, publisher, clock).await
    }

    async fn at(db: Db, settings: MasterSettings, publisher: Arc<Publisher>, clock: Clock) -> Self {
        Self::of(db, None, None, settings, publisher, clock).await
    }

    async fn writing_through(db: Db, writer: Arc<dyn Writer>) -> Self {
        let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Self::of(db, Some(writer), None, MasterSettings::default(), Arc::default(), clock).await
    }

    async fn asking(db: Db, settings: MasterSettings, registries: Arc<dyn Registries>) -> Self {
        let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Self::of(db, None, Some(registries), settings, Arc::default(), clock).await
    }

    async fn of(
        db: Db,
        writer: Option<Arc<dyn Writer>>,
        registries: Option<Arc<dyn Registries>>,
        settings: MasterSettings,
        publisher: Arc<Publisher>,
        clock: Clock,
    ) -> Self {
        let chance = Chance::system();
        let tree = Tree::new(clock.clone(), chance.clone(), |_| {});
        let parts = MasterParts {
            cloudflare: None,
            take_token: None,
            default_zone: None,
            db,
            account: Some(publisher.clone()),
            writer,
            registries,
            messenger: None,
            settings: settings.clone(),
            clock,
            chance,
            tree: tree.clone(),
            arbiters: Vec::new(),
        };
        let (spec, master) = Master::start(parts).await.unwrap();
        let root = Root::start(tree, "master", spec).await;
        Self { master, root, publisher, settings }
    }

    /// Stops everything and starts again on the same database, as a new process would.
    async fn restart(self) -> Self {
        let Self { master, root, publisher, settings } = self;
        root.shutdown(LONG).await;
        Self::at(master.db.clone(), settings, publisher, master.clock.clone()).await
    }

    fn db(&self) -> &Db {
        &self.master.db
    }

    async fn key(&self) -> String {
        let key = self.master.generate_key("lab", "admin").await.unwrap();
        key.raw.expose_secret().to_owned()
    }

    async fn register(&self, raw: &str, input: RegisterInput) -> Result<Registered, MasterError> {
        let access = self.master.directory.authenticate(raw).ok_or(MasterError::KeyRevoked)?;
        self.master.register(access, input).await
    }

    /// A pending agent with the raw key it uses.
    async fn agent(&self) -> (AgentId, String) {
        let raw = self.key().await;
        let registered = self.register(&raw, input(None)).await.unwrap();
        (registered.agent_id, raw)
    }

    async fn enrolled(&self, tunnel: &str) -> (AgentId, String) {
        let (agent, raw) = self.agent().await;
        self.master.enroll(&agent, tunnel, "admin").await.unwrap();
        (agent, raw)
    }

    async fn report(&self, agent: &AgentId, items: Vec<Report>) {
        self.master.report(agent, items).await.unwrap();
    }

    async fn routes(&self, agent: &AgentId) -> Vec<Route> {
        db::routes::list_agent_routes(self.db(), agent).await.unwrap()
    }

    /// Why the agent's containers do not get what they ask for.
    async fn refusals(&self, agent: &AgentId) -> Vec<String> {
        let problems = db::containers::list_container_problems(self.db(), Some(agent), 100).await.unwrap();
        problems.into_iter().map(|row| row.problem.reason).collect()
    }

    async fn hostnames(&self, agent: &AgentId) -> Vec<String> {
        self.routes(agent).await.into_iter().map(|route| route.spec.key.hostname).collect()
    }

    async fn status(&self, agent: &AgentId) -> AgentStatus {
        db::agents::get_agent(self.db(), agent).await.unwrap().status
    }

    async fn command(&self, id: &crate::domain::id::CommandId) -> Command {
        db::commands::get_command(self.db(), id).await.unwrap().command
    }

    /// How many events of this type the stream holds.
    async fn events(&self, stream: &Stream, kind: &str) -> usize {
        let events = db::events::list_stream(self.db(), stream, 0, 10_000).await.unwrap();
        events.iter().filter(|row| serde_json::to_value(&row.event).unwrap()["type"] == kind).count()
    }

    /// How often the agent went and how often it came back.
    async fn presence_events(&self, stream: &Stream) -> [usize; 2] {
        [self.events(stream, "agent_offline").await, self.events(stream, "agent_back").await]
    }

    /// Waits until no agent's actors run; with an `idle_after` of zero they stop as soon as somebody looks.
    async fn until_asleep(&self, agent: &AgentId) {
        until("they sleep", async || {
            // What still waits for them is handled first, so one look may be too early.
            self.router_of(agent).tell(ReapNow).unwrap();
            self.live_subtrees() == 0
        })
        .await;
    }

    fn router_of(&self, agent: &AgentId) -> &Port<Router> {
        let routers = &self.master.routers;
        &routers[shard_of(agent, routers.len())]
    }

    /// How many messages an actor has taken from its mailbox, and how many wait in it.
    fn load(&self, path_end: &str) -> (u64, usize) {
        let rows = self.master.tree.snapshot();
        let info = rows.iter().find(|info| info.path.ends_with(path_end)).expect("it runs");
        (info.handled, info.depth)
    }

    fn live_subtrees(&self) -> usize {
        let is_agent = |path: &str| path.starts_with("master/fleet/") && path.matches('/').count() == 3;
        self.master.tree.snapshot().iter().filter(|info| is_agent(&info.path)).count()
    }
}

/// Waits for a state, not for a time.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "did not come true: {what}");
}

fn input(agent_id: Option<&AgentId>) -> RegisterInput {
    RegisterInput {
        agent_id: agent_id.cloned(),
        display_name: Some("Lab Host".into()),
        hostname: None,
        version: Some("1.0.0".into()),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        native: false,
    }
}

fn native(agent_id: Option<&AgentId>) -> RegisterInput {
    RegisterInput { native: true, ..input(agent_id) }
}

fn container(name: &str, id: &str, hostname: &str) -> Container {
    let labels = [
        ("dockflare.enable", "true".to_owned()),
        ("dockflare.hostname", hostname.to_owned()),
        ("dockflare.service", "http://app:80".to_owned()),
    ];
    Container {
        id: ContainerId::new(id),
        name: name.into(),
        labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect(),
        image: None,
        status: Some("running".into()),
        networks: None,
    }
}

fn snapshot(containers: &[Container]) -> Vec<Report> {
    vec![Report::Snapshot { containers: containers.to_vec() }]
}

fn seen(container: &Container) -> Vec<Report> {
    vec![Report::ContainerSeen { container: container.clone() }]
}

fn gone(container: &Container, cause: GoneCause) -> Vec<Report> {
    vec![Report::ContainerGone { id: container.id.clone(), cause }]
}

fn tunnel_runs(name: &str) -> Vec<Report> {
    let tunnel = TunnelReport {
        health: TunnelHealth::Running,
        tunnel_id: None,
        name: Some(name.into()),
        version: None,
        reason: None,
        ready_connections: None,
        connector_id: None,
        config_version: None,
        networks: None,
        observed_at: None,
    };
    vec![Report::Tunnel { tunnel }]
}
