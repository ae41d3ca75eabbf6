//! The account's actor alone: real client, real database, the stand-in behind it, and no other actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use lightship::actors::master::cloudflare_account::{
    AccountParts, AccountStore, Connected, PublishSettings, StoreFailed, describe,
};
use lightship::actors::master::{Account, Adopted, ApplyReport, MasterError};
use lightship::actors::supervision::{Root, SupSpec, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::cloudflare::{RouteStatusRow, TunnelStatusRow};
use lightship::db::read::{EventFilter, list_events};
use lightship::db::{Batch, Db, Expected, RowChange, cloudflare};
use lightship::domain::access::{AccessAsk, Group};
use lightship::domain::account_limits::AccountLimits;
use lightship::domain::adopt::{Meant, Offer};
use lightship::domain::drift::DriftState;
use lightship::domain::event::{
    AccessEvent, AgentEvent, Event, KeyEvent, OwnedEvent, RouteEvent, RuleEvent, Stream,
};
use lightship::domain::id::{AgentId, ContainerId, GroupId, KeyId, SecretId, TunnelId, ZoneId};
use lightship::domain::manual_rule::ManualRule;
use lightship::domain::owned::OwnedKind;
use lightship::domain::route::{AccessCheck, OriginRequest, Release, RouteKey, Service};
use lightship::io::IoRuntime;
use parking_lot::Mutex;

use super::cloudflare::{CloudflareStandIn, Op, ZONE};
use super::database::TestDatabase;
use super::until::until;

/// Time between two comparisons with the stand-in.
const COMPARE_EVERY: Duration = Duration::from_secs(300);

/// An account with its actor; a restart of the actor is a new one on the same database.
pub struct TestAccount {
    pub standin: CloudflareStandIn,
    pub db: TestDatabase,
    pub account: Connected,
    pub notes: Arc<AtomicUsize>,
    trap: Trap,
    is_full: Arc<AtomicBool>,
    delay: Delay,
    settings: Settings,
    root: Root,
    io: IoRuntime,
}

/// What an operator sets of it.
#[derive(Clone)]
pub struct Settings {
    /// How long a call may take.
    time_limit: Duration,
    compare_every: Duration,
    default_zone: Option<ZoneId>,
    clock: Clock,
    pub publish: PublishSettings,
    pub owner_email: Option<String>,
    pub limits: AccountLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(2),
            compare_every: COMPARE_EVERY,
            default_zone: None,
            clock: Clock::system(),
            publish: PublishSettings::default(),
            owner_email: None,
            limits: AccountLimits::default(),
        }
    }
}

/// A tunnel of whose rules nothing can be written without a panic, and how many times.
type Trap = Arc<Mutex<Option<(TunnelId, usize)>>>;

/// How long the next write about rules takes.
type Delay = Arc<Mutex<Option<Duration>>>;

/// Writes straight to the database.
struct DirectStore {
    db: Db,
    notes: Arc<AtomicUsize>,
    trap: Trap,
    is_full: Arc<AtomicBool>,
    delay: Delay,
}

impl DirectStore {
    fn spring(&self, batch: &Batch) {
        let mut trap = self.trap.lock();
        let Some((tunnel, left)) = trap.as_mut().filter(|(_, left)| *left > 0) else { return };
        let is_caught = |row: &RowChange| matches!(row, RowChange::PutAppliedRules { tunnel_id, .. } if tunnel_id == tunnel);
        if batch.rows.iter().any(is_caught) {
            *left -= 1;
            panic!("a fault in the work for a tunnel");
        }
    }
}

#[async_trait]
impl AccountStore for DirectStore {
    async fn commit(&self, batch: Batch) -> Result<(), StoreFailed> {
        self.spring(&batch);
        let is_about_rules = batch.rows.iter().any(|row| matches!(row, RowChange::PutAppliedRules { .. }));
        let delay = if is_about_rules { self.delay.lock().take() } else { None };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreFailed(MasterError::StorageFull));
        }
        self.db
            .commit(batch)
            .await
            .map(drop)
            .map_err(|error| StoreFailed(MasterError::Database(Box::new(error))))
    }

    fn announce(&self) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    fn connector_seen(&self, _: &AgentId, _: &TunnelId) {}
}

impl TestAccount {
    /// Starts with nothing but the stand-in's zone; calls may take 2 seconds.
    pub async fn start() -> Self {
        Self::start_with(CloudflareStandIn::start()).await
    }

    /// Starts with a stand-in that holds something already.
    pub async fn start_with(standin: CloudflareStandIn) -> Self {
        Self::with(standin, Settings::default()).await
    }

    /// Starts with other settings of what is published, and when.
    pub async fn publishing(standin: CloudflareStandIn, publish: PublishSettings) -> Self {
        Self::with(standin, Settings { publish, ..Settings::default() }).await
    }

    /// Starts with what an operator set.
    pub async fn set_up(standin: CloudflareStandIn, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self::with(standin, settings).await
    }

    /// Starts with another time limit per call.
    pub async fn with_time_limit(time_limit: Duration) -> Self {
        Self::with(CloudflareStandIn::start(), Settings { time_limit, ..Settings::default() }).await
    }

    /// Starts without comparisons but the one after the start.
    pub async fn never_compared_again() -> Self {
        let settings = Settings { compare_every: Duration::ZERO, ..Settings::default() };
        Self::with(CloudflareStandIn::start(), settings).await
    }

    /// Starts on a clock that [`TestAccount::time_passes`] moves.
    pub async fn on_a_moved_clock() -> Self {
        let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Self::with(CloudflareStandIn::start(), Settings { clock, ..Settings::default() }).await
    }

    /// Lets time pass for clock and timers; nobody waits for it.
    pub async fn time_passes(&self, by: Duration) {
        self.settings.clock.jump(TimeDelta::from_std(by).unwrap());
        tokio::time::pause();
        tokio::time::advance(by).await;
        tokio::time::resume();
    }

    /// Starts with the stand-in's first zone by setting, as `CF_ZONE_ID` does.
    pub async fn with_zone_by_setting(standin: CloudflareStandIn) -> Self {
        let default_zone = Some(ZoneId::new(standin.zone_id(ZONE)));
        Self::with(standin, Settings { default_zone, ..Settings::default() }).await
    }

    async fn with(standin: CloudflareStandIn, settings: Settings) -> Self {
        let io = IoRuntime::start().unwrap();
        let db = TestDatabase::open(io.io()).await;
        let this = Self::run(standin, io, db, settings).await;
        this.until_quiet().await;
        this
    }

    async fn run(standin: CloudflareStandIn, io: IoRuntime, db: TestDatabase, settings: Settings) -> Self {
        let (clock, notes, trap) = (settings.clock.clone(), Arc::<AtomicUsize>::default(), Trap::default());
        let (is_full, delay) = (Arc::<AtomicBool>::default(), Delay::default());
        let parts = AccountParts {
            cloudflare: standin.client(io.io()).with_time_limit(settings.time_limit),
            db: db.clone(),
            store: Arc::new(DirectStore {
                db: db.clone(),
                notes: notes.clone(),
                trap: trap.clone(),
                is_full: is_full.clone(),
                delay: delay.clone(),
            }),
            clock: clock.clone(),
            settings: settings.publish.clone(),
            default_zone: settings.default_zone.clone(),
            compare_every: settings.compare_every,
            owner_email: settings.owner_email.clone(),
            limits: settings.limits,
            installation: "test".into(),
        };
        let (spec, account) = describe(parts);
        let tree = Tree::new(clock, Chance::seeded(7), |_| {});
        let root = Root::start(tree, "master", SupSpec::one_for_one().child(spec)).await;
        Self { standin, db, account, notes, trap, is_full, delay, settings, root, io }
    }

    /// Ends the actor and starts another one, as a new process would; returns when all was compared once.
    pub async fn restart(self) -> Self {
        self.restart_after(async |_| {}).await
    }

    /// The same, with other settings of what is published, and when.
    pub async fn restart_publishing(mut self, publish: PublishSettings) -> Self {
        self.settings.publish = publish;
        self.restart().await
    }

    /// The same; `meanwhile` changes the world.
    pub async fn restart_after(self, meanwhile: impl AsyncFnOnce(&CloudflareStandIn)) -> Self {
        let this = self.restart_unchecked(meanwhile).await;
        this.until_quiet().await;
        this
    }

    /// The same; returns at once.
    pub async fn restart_unchecked(self, meanwhile: impl AsyncFnOnce(&CloudflareStandIn)) -> Self {
        self.root.shutdown(Duration::from_secs(5)).await;
        meanwhile(&self.standin).await;
        Self::run(self.standin, self.io, self.db, self.settings).await
    }

    /// The next `times` passes that change the rules of a tunnel end in a panic.
    pub fn panics_over(&self, tunnel: &TunnelId, times: usize) {
        *self.trap.lock() = Some((tunnel.clone(), times));
    }

    /// The next write of rules to the database takes so long.
    pub fn delays_rules(&self, delay: Duration) {
        *self.delay.lock() = Some(delay);
    }

    /// No space is left for the database, or there is again.
    pub fn fill_disk(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Lets the time between two comparisons pass for the actor, jitter included; nobody waits for it.
    pub async fn interval_passes(&self) {
        tokio::time::pause();
        tokio::time::advance(COMPARE_EVERY.mul_f64(1.11)).await;
        tokio::time::resume();
    }

    /// Lets the next comparison of the one tunnel come, and everything that follows from it.
    pub async fn until_compared(&self) {
        let reads = || self.standin.calls_of(Op::GetConfig).len();
        let before = reads();
        self.interval_passes().await;
        self.standin.until("it is compared", |_| reads() > before).await;
        self.until_quiet().await;
    }

    /// Registers an agent and gives it a tunnel of this name, found or made.
    pub async fn enrolled(&self, agent: &str, tunnel_name: &str) -> TunnelId {
        let (agent_id, key_id) = (AgentId::new(agent), KeyId::new(format!("key-{agent}")));
        let key = Event::Key(KeyEvent::Generated {
            key_id: key_id.clone(),
            owner: agent.into(),
            sha256: format!("{agent:0>64}"),
            rolled_from: None,
        });
        let registered = Event::Agent(AgentEvent::Registered {
            agent_id: agent_id.clone(),
            key_id,
            display_name: agent.into(),
            version: None,
            key_owner: agent.into(),
            shares_key: false,
        });
        self.append(Stream::keys(), vec![key]).await;
        self.append(Stream::agent(&agent_id), vec![registered]).await;
        self.gets_tunnel(agent, tunnel_name).await
    }

    /// Gives an agent another tunnel.
    pub async fn moves(&self, agent: &str, tunnel_name: &str) -> TunnelId {
        let to = self.gets_tunnel(agent, tunnel_name).await;
        self.account.wake();
        to
    }

    async fn gets_tunnel(&self, agent: &str, tunnel_name: &str) -> TunnelId {
        let provided =
            self.account.provide_tunnel(tunnel_name, Duration::from_secs(10)).await.expect("a tunnel");
        let enrolled = Event::Agent(AgentEvent::Enrolled {
            agent_id: AgentId::new(agent),
            account_id: provided.account_id,
            tunnel_id: provided.tunnel_id.clone(),
            tunnel_name: provided.name,
            secret_id: SecretId::new(format!("token-{agent}")),
            connectors: None,
        });
        self.append(Stream::agent(&AgentId::new(agent)), vec![enrolled]).await;
        provided.tunnel_id
    }

    /// A container of the agent claims a hostname.
    pub async fn claims(&self, agent: &str, hostname: &str) {
        self.claims_service(agent, hostname, "http://app:80").await;
    }

    /// A container of the agent claims a hostname for a service.
    pub async fn claims_service(&self, agent: &str, hostname: &str, service: &str) {
        self.claim_many(agent, &[(hostname, service)]).await;
    }

    /// Containers of the agent claim hostnames, all at once.
    pub async fn claim_many(&self, agent: &str, routes: &[(&str, &str)]) {
        let agent_id = AgentId::new(agent);
        let claim = |(hostname, service): &(&str, &str)| {
            Event::Route(RouteEvent::Claimed {
                agent_id: agent_id.clone(),
                container_id: ContainerId::new(format!("container-of-{hostname}")),
                container_name: "app".into(),
                service: wanted(hostname, service),
            })
        };
        self.append(Stream::routes(&agent_id), routes.iter().map(claim).collect()).await;
        self.account.wake_agent(&agent_id);
    }

    /// A container of the agent claims a hostname and names its zone.
    pub async fn claims_in_zone(&self, agent: &str, hostname: &str, zone: &str) {
        let agent_id = AgentId::new(agent);
        let claim = Event::Route(RouteEvent::Claimed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("container-of-{hostname}")),
            container_name: "app".into(),
            service: Service { zone_name: Some(zone.into()), ..wanted(hostname, "http://app:80") },
        });
        self.append(Stream::routes(&agent_id), vec![claim]).await;
        self.account.wake_agent(&agent_id);
    }

    /// A container of the agent claims a hostname, and asks for this protection.
    pub async fn claims_protected(&self, agent: &str, hostname: &str, access: AccessAsk) {
        self.claims_protected_service(agent, hostname, "http://app:80", access).await;
    }

    /// The same, for a service of its own.
    pub async fn claims_protected_service(
        &self,
        agent: &str,
        hostname: &str,
        service: &str,
        access: AccessAsk,
    ) {
        let agent_id = AgentId::new(agent);
        let claim = Event::Route(RouteEvent::Claimed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("container-of-{hostname}")),
            container_name: "app".into(),
            service: Service { access, ..wanted(hostname, service) },
        });
        self.append(Stream::routes(&agent_id), vec![claim]).await;
        self.account.wake_agent(&agent_id);
    }

    /// The same, and its connector is to check Access tokens, as far as that is said here.
    pub async fn claims_checked(&self, agent: &str, hostname: &str, access: AccessAsk, check: AccessCheck) {
        let agent_id = AgentId::new(agent);
        let origin_request = OriginRequest { access: Some(check), ..OriginRequest::default() };
        let claim = Event::Route(RouteEvent::Claimed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("container-of-{hostname}")),
            container_name: "app".into(),
            service: Service { access, origin_request, ..wanted(hostname, "http://app:80") },
        });
        self.append(Stream::routes(&agent_id), vec![claim]).await;
        self.account.wake_agent(&agent_id);
    }

    /// The labels of a container ask for another protection now.
    pub async fn asks_for(&self, agent: &str, hostname: &str, access: AccessAsk) {
        let agent_id = AgentId::new(agent);
        let event = Event::Route(RouteEvent::Changed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("container-of-{hostname}")),
            container_name: "app".into(),
            service: Service { access, ..wanted(hostname, "http://app:80") },
        });
        self.append(Stream::routes(&agent_id), vec![event]).await;
        self.account.wake_agent(&agent_id);
    }

    /// A person makes a group, or makes another one of it.
    pub async fn sets_group(&self, group: Group) {
        self.append(Stream::access(), vec![AccessEvent::GroupSet { group }.into()]).await;
        self.account.wake();
    }

    /// A person removes a group.
    pub async fn removes_group(&self, id: &str) {
        let event = AccessEvent::GroupRemoved { group_id: GroupId::new(id) };
        self.append(Stream::access(), vec![event.into()]).await;
        self.account.wake();
    }

    /// The labels of a container point elsewhere now.
    pub async fn changes(&self, agent: &str, hostname: &str, service: &str) {
        let agent_id = AgentId::new(agent);
        let event = Event::Route(RouteEvent::Changed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("container-of-{hostname}")),
            container_name: "app".into(),
            service: wanted(hostname, service),
        });
        self.append(Stream::routes(&agent_id), vec![event]).await;
        self.account.wake_agent(&agent_id);
    }

    /// The agent gives a hostname up.
    pub async fn releases(&self, agent: &str, hostname: &str) {
        let agent_id = AgentId::new(agent);
        let event = Event::Route(RouteEvent::Released {
            agent_id: agent_id.clone(),
            route: key(hostname),
            why: Release::Missing,
        });
        self.append(Stream::routes(&agent_id), vec![event]).await;
        self.account.wake_agent(&agent_id);
    }

    /// The agent is taken off the list.
    pub async fn removes(&self, agent: &str, tunnel: &TunnelId) {
        let agent_id = AgentId::new(agent);
        let removed = vec![Event::Agent(AgentEvent::Removed { agent_id: agent_id.clone() })];
        let batch = Batch::new("test", Clock::system().now())
            .append(Stream::agent(&agent_id), Expected::Head, removed)
            .row(RowChange::ForgetAgent { agent_id });
        self.db.commit(batch).await.unwrap();
        self.account.wake_tunnel(tunnel);
    }

    /// Orders `apply`, with 20 seconds for it.
    pub async fn apply(&self) -> ApplyReport {
        self.account.apply("alice", Duration::from_secs(20)).await.expect("a report")
    }

    /// What others made that could be made ours.
    pub async fn offers(&self) -> Vec<Offer> {
        self.account.offers(Duration::from_secs(20)).await.expect("offers")
    }

    /// Makes ours what has one of these names; all of it without one.
    pub async fn adopts(&self, names: &[&str]) -> Adopted {
        let names = (!names.is_empty()).then(|| names.iter().map(|name| (*name).to_owned()).collect());
        let meant = Meant { names, kinds: Vec::new() };
        let adopted = self.account.adopt(meant, "alice", Duration::from_secs(20)).await;
        self.until_quiet().await;
        adopted.expect("an adoption")
    }

    /// A person makes a rule in a tunnel.
    pub async fn sets_rule(&self, tunnel: &TunnelId, hostname: &str, service: &str, access: AccessAsk) {
        let spec = Service { access, ..wanted(hostname, service) };
        let rule = ManualRule { tunnel_id: tunnel.clone(), spec };
        self.append(Stream::rules(), vec![RuleEvent::Set { rule: Box::new(rule) }.into()]).await;
        self.account.wake_tunnel(tunnel);
    }

    /// A person removes a rule.
    pub async fn removes_rule(&self, tunnel: &TunnelId, hostname: &str) {
        let event = RuleEvent::Removed { tunnel_id: tunnel.clone(), route: key(hostname) };
        self.append(Stream::rules(), vec![event.into()]).await;
        self.account.wake_tunnel(tunnel);
    }

    /// What is recorded of what is ours at Cloudflare, with who said so.
    pub async fn recorded(&self) -> Vec<(String, OwnedEvent)> {
        let filter = EventFilter { stream_prefix: Some("account/".into()), ..EventFilter::default() };
        let rows = list_events(&self.db, &filter, 1_000).await.unwrap();
        let read = rows.into_iter().map(|row| match row.event {
            Event::Owned(event) => (row.actor, event),
            other => panic!("an event in the wrong stream: {other:?}"),
        });
        read.collect()
    }

    /// Kind, name and state of each finding that is recorded.
    pub async fn drifts(&self) -> Vec<(OwnedKind, String, DriftState)> {
        let found = self.recorded().await.into_iter().filter_map(|(_, event)| match event {
            OwnedEvent::Drifted { kind, name, state, .. } => Some((kind, name, state)),
            _ => None,
        });
        found.collect()
    }

    /// Waits until a route is said to be in this state; returns its row.
    pub async fn until_state(&self, agent: &str, hostname: &str, state: &str) -> RouteStatusRow {
        let what = format!("`{hostname}` is {state}");
        until(&what, async || self.status_of(agent, hostname).await.filter(|row| row.state == state)).await
    }

    /// What is said about a route.
    pub async fn status_of(&self, agent: &str, hostname: &str) -> Option<RouteStatusRow> {
        let rows = cloudflare::list_route_status(&self.db, Some(&AgentId::new(agent)), 1000).await.unwrap();
        rows.into_iter().find(|row| row.key == key(hostname))
    }

    /// What is said about a tunnel.
    pub async fn tunnel_status(&self, tunnel: &TunnelId) -> Option<TunnelStatusRow> {
        cloudflare::find_tunnel_status(&self.db, tunnel).await.unwrap()
    }

    /// Waits until a tunnel is said to be in this state; returns its row.
    pub async fn until_tunnel(&self, tunnel: &TunnelId, state: &str) -> TunnelStatusRow {
        let what = format!("tunnel is {state}");
        until(&what, async || self.tunnel_status(tunnel).await.filter(|row| row.state == state)).await
    }

    /// Waits until nothing is left to do.
    pub async fn until_quiet(&self) {
        until("the account is quiet", async || {
            self.account.status().await.filter(|status| status.busy == 0 && status.unchecked == 0)
        })
        .await;
    }

    async fn append(&self, stream: Stream, events: Vec<Event>) {
        let batch = Batch::new("test", Clock::system().now()).append(stream, Expected::Head, events);
        self.db.commit(batch).await.unwrap();
    }
}

/// The route of `app.example.com` or `app.example.com/path`.
pub fn key(name: &str) -> RouteKey {
    let (hostname, path) = name.find('/').map_or((name, ""), |at| name.split_at(at));
    RouteKey { hostname: hostname.into(), path: path.into() }
}

fn wanted(hostname: &str, service: &str) -> Service {
    Service {
        key: key(hostname),
        service: service.into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        access: AccessAsk::Nothing,
    }
}
