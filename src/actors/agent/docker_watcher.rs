//! Watches the Docker Engine: which containers that want to be published run, and which no longer do.
//!
//! It subscribes to events, then lists, then reads what happened since: nothing can fall between. It does so again
//! after every loss and every so often, so that an event that was missed heals. An Engine that is away, or that
//! ends every subscription at once, is a state with its own waits, not a failure; and a listing that failed is never
//! an empty one. A paused container keeps its place: whoever paused it did not want it unpublished.

mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, SpawnHandle, WrapFuture};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use self::names::{KnownNetworks, with_names};
use super::label_prefix::{LabelPrefix, PrefixChanges};
use super::reporter::ContainerNews;
use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::{Backoff, Ctx};
use crate::docker::{Docker, DockerError, EngineAction, EngineEvent, EngineInfo, Events};
use crate::domain::agent_tunnel::{CONTAINER_NAME, NEXT_NAME};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::labels::{MAX_LABELS, concerns_us, own_labels};
use crate::domain::leap::clock_leap;

/// Waits between attempts while the Engine is away or its events end. It is on this host, so asking often costs
/// nothing.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter: 0.5,
    reset_after: Duration::ZERO,
};
/// A stream of events that held for this long works: its end is one of those that happen. One that ends sooner is
/// refused, be it by a proxy that lets listings through, and asking again at once would never end.
const PROOF: Duration = Duration::from_secs(1);
/// Share by which the time of the next listing varies.
const JITTER: f64 = 0.1;
/// Where the Engine's clock cannot be asked, ours may be off by this much.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// How soon after a subscription the Engine has told what it noted before.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How long to wait with the next listing when there is reason for one: the next such reason may follow at once.
const SOON: Duration = Duration::from_secs(1);

/// Takes news to the reporter; returns false if it has no room, which makes the watcher list again soon.
pub type TellReporter = Arc<dyn Fn(ContainerNews) -> bool + Send + Sync>;

/// What the watcher works with.
#[derive(Clone)]
pub struct WatcherParts {
    /// The Engine.
    pub docker: Arc<dyn Docker>,
    /// The operator's own label prefix, if any.
    pub label_prefix: LabelPrefix,
    /// Time between two listings while nothing is lost.
    pub resync: Duration,
    /// Takes what there is to tell.
    pub tell_reporter: TellReporter,
    /// Called when something happened to a connector's container.
    pub connector_touched: Arc<dyn Fn() + Send + Sync>,
}

/// See the module.
pub struct DockerWatcher {
    parts: WatcherParts,
    known: BTreeMap<ContainerId, Container>,
    networks: KnownNetworks,
    /// Containers that bear a connector's name.
    connectors: BTreeSet<ContainerId>,
    /// When the Engine last told of networks, by its clock.
    heard_networks: Option<DateTime<Utc>>,
    /// Seen up to the prefix that `known` was listed by.
    prefix_changes: PrefixChanges,
    engine: Option<EngineInfo>,
    failures: u32,
    /// Runs until the stream of events has held for long enough.
    proof: Option<SpawnHandle>,
    /// The next listing is due then, before its time.
    list_by: Option<Instant>,
    /// The reporter took it that what it was told does not count any more.
    is_loss_told: bool,
    last_listing: Option<DateTime<Utc>>,
    problem: Option<String>,
}

/// The Engine may be listed again at once; for whoever knows that it is there.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct ConnectNow;

impl DockerWatcher {
    /// Makes a watcher that knows nothing yet.
    pub fn new(parts: WatcherParts) -> Self {
        Self {
            prefix_changes: parts.label_prefix.changes(),
            parts,
            known: BTreeMap::new(),
            networks: KnownNetworks::new(),
            connectors: BTreeSet::new(),
            heard_networks: None,
            engine: None,
            failures: 0,
            proof: None,
            list_by: None,
            is_loss_told: false,
            last_listing: None,
            problem: None,
        }
    }
}

impl Actor for DockerWatcher {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.connect(ctx);
    }
}

crate::supervised!(DockerWatcher);

impl Handler<ConnectNow> for DockerWatcher {
    type Result = ();

    fn handle(&mut self, _: ConnectNow, ctx: &mut Self::Context) {
        self.connect(ctx);
    }
}

impl Handler<GetStatus> for DockerWatcher {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let detail = json!({
            "api_version": self.engine.as_ref().map(|engine| &engine.api_version),
            "containers": self.known.len(),
            "failures_in_a_row": self.failures,
            "last_listing": self.last_listing,
        });
        let state = if self.engine.is_some() { "watching" } else { "waiting for docker" };
        ActorStatus { state, problem: self.problem.clone(), detail }
    }
}

// === the subscription ===

impl DockerWatcher {
    fn connect(&mut self, ctx: &mut Ctx<Self>) {
        let docker = Arc::clone(&self.parts.docker);
        // What changes after this is listed by again.
        self.prefix_changes.mark_unchanged();
        let (now, networks, prefix) =
            (ctx.clock().now(), self.networks.clone(), self.parts.label_prefix.get());
        let opened = async move {
            let is_ours = |container: &Container| concerns_us(&container.labels, prefix.as_deref());
            open(&*docker, now, &networks, is_ours).await
        };
        ctx.spawn(opened.into_actor(self).map(|opened, actor, ctx| match opened {
            Ok(watch) => actor.connected(watch, ctx),
            Err(error) => actor.not_connected(&error, ctx),
        }));
    }

    fn connected(&mut self, watch: Watch, ctx: &mut Ctx<Self>) {
        if self.engine.as_ref().is_none_or(|engine| engine.api_version != watch.engine.api_version) {
            info!(docker.api_version = %watch.engine.api_version, "watching the docker engine");
        }
        self.list_by = None;
        self.is_loss_told = false;
        self.engine = Some(watch.engine);
        self.last_listing = Some(ctx.clock().now());
        let bears_its_name = |container: &&Container| [CONTAINER_NAME, NEXT_NAME].contains(&&*container.name);
        self.connectors = watch.listed.iter().filter(bears_its_name).map(|c| c.id.clone()).collect();
        let ours = watch.listed.into_iter().filter_map(|container| self.published(container));
        self.known = ours.map(|container| (container.id.clone(), container)).collect();
        let networks = self.known.values().filter_map(|c| Some((c.id.clone(), c.networks.clone()?)));
        self.networks = networks.collect();
        self.tell(ContainerNews::Listed(self.known.values().cloned().collect()));
        (self.parts.connector_touched)();
        let due = Instant::now() + ctx.chance().jitter(self.parts.resync, JITTER);
        self.proof = Some(ctx.run_later(PROOF, |actor, ctx| {
            actor.proof = None;
            actor.proven(ctx);
        }));
        self.read(watch.events, watch.origin, due, ctx);
    }

    fn not_connected(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        if !self.is_loss_told {
            self.is_loss_told = self.tell(ContainerNews::ListingLost);
        }
        self.engine = None;
        self.forget_networks();
        self.connect_later(error, ctx);
    }

    /// The Engine hung up. What it listed counts until it cannot be listed again.
    fn lost(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        self.forget_networks();
        if self.proof.is_some() {
            return self.connect_later(error, ctx);
        }
        info!(reason = %error, "the docker engine's events ended; listing again");
        self.connect(ctx);
    }

    /// What happened to them meanwhile was not told.
    fn forget_networks(&mut self) {
        self.networks.clear();
        self.heard_networks = None;
    }

    fn connect_later(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        let text = error.to_string();
        if self.problem.as_ref() == Some(&text) {
            debug!(error = %error, "the docker engine still cannot be watched");
        } else {
            warn!(
                error = error as &dyn std::error::Error,
                "the docker engine cannot be watched; trying again"
            );
        }
        self.problem = Some(text);
        self.failures = self.failures.saturating_add(1);
        self.stop_proof(ctx);
        ctx.notify_later(ConnectNow, RETRY.delay(self.failures, ctx.chance()));
    }

    /// The stream of events holds.
    fn proven(&mut self, ctx: &mut Ctx<Self>) {
        self.stop_proof(ctx);
        self.failures = 0;
        self.problem = None;
    }

    fn stop_proof(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(proof) = self.proof.take() {
            ctx.cancel_future(proof);
        }
    }

    /// Waits for one event at a time, so that events and listings are handled strictly in their order.
    fn read(&mut self, events: Events, origin: Origin, due: Instant, ctx: &mut Ctx<Self>) {
        let next = next(events, self.list_by.map_or(due, |by| due.min(by)), self.prefix_changes.clone());
        ctx.spawn(next.into_actor(self).map(move |(events, next), actor, ctx| match next {
            Next::Event(event) => {
                if origin.is_listed_already(&event) {
                    debug!(action = ?event.action, "an event from before the engine's clock was set back");
                } else {
                    actor.happened(event);
                }
                actor.read(events, origin, due, ctx);
            }
            Next::ListingDue => {
                actor.proven(ctx);
                actor.connect(ctx);
            }
            Next::Lost(error) => actor.lost(&error, ctx),
        }));
    }
}

/// What a subscription begins with.
struct Watch {
    engine: EngineInfo,
    events: Events,
    listed: Vec<Container>,
    origin: Origin,
}

/// What came of waiting for an event.
enum Next {
    Event(EngineEvent),
    ListingDue,
    Lost(DockerError),
}

/// When a subscription began, by both clocks.
#[derive(Debug, Clone, Copy)]
struct Origin {
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Origin {
    /// True for an event that the listing knows better. An Engine whose clock was set back holds events that lie
    /// ahead of it, and tells them as the latest ones to everybody who subscribes.
    fn is_listed_already(self, event: &EngineEvent) -> bool {
        let (Some(at), went_by) = (event.at, self.steady.elapsed()) else { return false };
        let is_ahead = clock_leap(at - self.wall, went_by).is_some_and(|leap| leap > TimeDelta::zero());
        is_ahead && went_by < CATCH_UP
    }
}

/// Subscribes, then lists, with the names of those that are ours.
async fn open(
    docker: &dyn Docker,
    now: DateTime<Utc>,
    networks: &KnownNetworks,
    is_ours: impl Fn(&Container) -> bool,
) -> Result<Watch, DockerError> {
    let engine = docker.connect().await?;
    let origin = Origin { wall: engine.time.unwrap_or(now), steady: Instant::now() };
    let events = docker.watch(engine.time.unwrap_or(now - CLOCK_MARGIN)).await?;
    let listed = with_names(docker, docker.list_running().await?, networks, is_ours).await;
    Ok(Watch { engine, events, listed, origin })
}

/// Waits for an event, the next listing, or another label prefix to list by.
async fn next(mut events: Events, due: Instant, mut prefix: PrefixChanges) -> (Events, Next) {
    let other_prefix = async {
        if prefix.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let next = tokio::select! {
        item = events.next() => match item {
            Some(Ok(event)) => Next::Event(event),
            Some(Err(error)) => Next::Lost(error),
            None => Next::Lost(DockerError::StreamEnded),
        },
        () = sleep_until(due) => Next::ListingDue,
        () = other_prefix => Next::ListingDue,
    };
    (events, next)
}

// === what happened ===

impl DockerWatcher {
    fn happened(&mut self, event: EngineEvent) {
        if event.action == EngineAction::Networks {
            return self.changed_networks(&event);
        }
        let name = event.attributes.get("name").map_or("", String::as_str).trim_start_matches('/');
        let old_name = event.attributes.get("oldName").map_or("", String::as_str).trim_start_matches('/');
        if [name, old_name].iter().any(|n| [CONTAINER_NAME, NEXT_NAME].contains(n)) {
            self.connectors.insert(event.id.clone());
            (self.parts.connector_touched)();
        }
        match event.action {
            EngineAction::Start | EngineAction::Unpause => self.started_running(event),
            EngineAction::Rename if self.known.contains_key(&event.id) => self.started_running(event),
            EngineAction::Die | EngineAction::Stop | EngineAction::Destroy => {
                self.networks.remove(&event.id);
                if self.known.remove(&event.id).is_some() {
                    self.tell(ContainerNews::Stopped(event.id));
                }
            }
            // A signal may be one that reloads, and what was paused keeps its place.
            EngineAction::Kill | EngineAction::Pause | EngineAction::Rename | EngineAction::Networks => {}
        }
    }

    /// What it is connected to is listed; what it goes by there is asked for then.
    fn changed_networks(&mut self, event: &EngineEvent) {
        // Where the Engine's clock cannot be asked, a subscription begins with some that were heard before.
        if event.at.is_some() && event.at <= self.heard_networks {
            return;
        }
        self.heard_networks = event.at.or(self.heard_networks);
        if self.connectors.contains(&event.id) {
            (self.parts.connector_touched)();
        }
        if self.known.contains_key(&event.id) {
            self.networks.remove(&event.id);
            self.list_soon();
        }
    }

    /// The event carries the labels, so nothing has to be inspected that may be gone again. Its networks are listed soon.
    fn started_running(&mut self, event: EngineEvent) {
        let text = |key: &str| event.attributes.get(key).map(|text| text.trim_start_matches('/').to_owned());
        let container = Container {
            name: text("name").unwrap_or_default(),
            image: text("image"),
            status: Some("running".to_owned()),
            labels: event.attributes,
            networks: self.known.get(&event.id).and_then(|known| known.networks.clone()),
            id: event.id,
        };
        let Some(container) = self.published(container) else { return };
        if self.known.get(&container.id) != Some(&container) {
            if container.networks.is_none() {
                self.list_soon();
            }
            self.known.insert(container.id.clone(), container.clone());
            self.tell(ContainerNews::Started(container));
        }
    }

    /// Returns the container with our labels only, or `None` if it has none.
    fn published(&self, mut container: Container) -> Option<Container> {
        let prefix = self.parts.label_prefix.get();
        let prefix = prefix.as_deref();
        if !concerns_us(&container.labels, prefix) {
            return None;
        }
        container.labels = own_labels(&container.labels, prefix);
        if container.labels.len() > MAX_LABELS && !self.known.contains_key(&container.id) {
            warn!(
                container.name,
                "this container has more than {MAX_LABELS} labels of ours, so none of them is read and their values \
                 stay here; take some off it"
            );
        }
        Some(container)
    }

    /// Returns true if the news was taken.
    fn tell(&mut self, news: ContainerNews) -> bool {
        let is_taken = (self.parts.tell_reporter)(news);
        if !is_taken {
            warn!("news of containers could not be passed on; listing again soon");
            self.list_soon();
        }
        is_taken
    }

    fn list_soon(&mut self) {
        self.list_by.get_or_insert_with(|| Instant::now() + SOON);
    }
}
