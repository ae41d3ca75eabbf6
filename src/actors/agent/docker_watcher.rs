//! Watches the Docker Engine: which containers that want to be published run, and which no longer do.
//!
//! It subscribes to events, then lists, then reads what happened since: nothing can fall between. It does so again
//! after every loss and every so often, so that an event that was missed heals. An Engine that is away is a state
//! with its own waits, not a failure; and a listing that failed is never an empty one. A paused container keeps
//! its place: whoever paused it did not want it unpublished.

#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::watch::{Next, Origin, Watch, next, open};
use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::{Backoff, Ctx};
use crate::docker::{Docker, DockerError, EngineAction, EngineEvent, EngineInfo, Events};
use crate::domain::agent_tunnel::{CONTAINER_NAME, NEXT_NAME};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::labels::{concerns_us, own_labels};

/// Waits between attempts to reach an Engine that is away. It is on this host, so asking often costs nothing.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter: 0.5,
    reset_after: Duration::ZERO,
};
/// Share by which the time of the next listing varies.
const JITTER: f64 = 0.1;
/// How long to wait with the next listing when the reporter could not take news.
const SOON: Duration = Duration::from_secs(1);

/// What the watcher has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerNews {
    /// These run, and no others. Told only after a listing that succeeded.
    Listed(Vec<Container>),
    /// The Engine cannot be asked: what runs is not known until the next listing.
    ListingLost,
    /// This one runs.
    Started(Container),
    /// This one no longer runs.
    Stopped(ContainerId),
}

/// Takes news; returns false if it cannot, which makes the watcher list again soon.
pub type NewsHand = Arc<dyn Fn(ContainerNews) -> bool + Send + Sync>;

/// What the watcher works with.
#[derive(Clone)]
pub struct WatcherParts {
    /// The Engine.
    pub docker: Arc<dyn Docker>,
    /// The operator's own label prefix (`LABEL_PREFIX`), if any.
    pub label_prefix: Option<String>,
    /// Time between two listings while nothing is lost.
    pub resync: Duration,
    /// Takes what there is to tell.
    pub news: NewsHand,
    /// Called when something happened to a connector's container.
    pub connector_touched: Arc<dyn Fn() + Send + Sync>,
}

/// See the module.
pub struct DockerWatcher {
    parts: WatcherParts,
    known: BTreeMap<ContainerId, Container>,
    engine: Option<EngineInfo>,
    failures: u32,
    is_dirty: bool,
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
            parts,
            known: BTreeMap::new(),
            engine: None,
            failures: 0,
            is_dirty: false,
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
        let now = ctx.clock().now();
        let opened = async move { open(&*docker, now).await };
        ctx.spawn(opened.into_actor(self).map(|opened, actor, ctx| match opened {
            Ok(watch) => actor.connected(watch, ctx),
            Err(error) => actor.not_connected(&error, ctx),
        }));
    }

    fn connected(&mut self, watch: Watch, ctx: &mut Ctx<Self>) {
        if self.engine.as_ref().is_none_or(|engine| engine.api_version != watch.engine.api_version) {
            info!(docker.api_version = %watch.engine.api_version, "watching the docker engine");
        }
        self.failures = 0;
        self.problem = None;
        self.is_dirty = false;
        self.engine = Some(watch.engine);
        self.last_listing = Some(ctx.clock().now());
        let ours = watch.listed.into_iter().filter_map(|container| self.published(container));
        self.known = ours.map(|container| (container.id.clone(), container)).collect();
        self.tell(ContainerNews::Listed(self.known.values().cloned().collect()));
        (self.parts.connector_touched)();
        let due = Instant::now() + ctx.chance().jitter(self.parts.resync, JITTER);
        self.read(watch.events, watch.origin, due, ctx);
    }

    fn not_connected(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        let text = error.to_string();
        if self.problem.as_ref() == Some(&text) {
            debug!(error = %error, "the docker engine still cannot be watched");
        } else {
            warn!(
                error = error as &dyn std::error::Error,
                "the docker engine cannot be watched; trying again"
            );
        }
        if self.failures == 0 {
            self.tell(ContainerNews::ListingLost);
        }
        self.problem = Some(text);
        self.engine = None;
        self.failures = self.failures.saturating_add(1);
        ctx.notify_later(ConnectNow, RETRY.delay(self.failures, ctx.chance()));
    }

    /// Waits for one event at a time, so that events and listings are handled strictly in their order.
    fn read(&mut self, events: Events, origin: Origin, due: Instant, ctx: &mut Ctx<Self>) {
        let due = if self.is_dirty { due.min(Instant::now() + SOON) } else { due };
        ctx.spawn(next(events, due).into_actor(self).map(move |(events, next), actor, ctx| match next {
            Next::Event(event) => {
                if origin.is_listed_already(&event) {
                    debug!(action = ?event.action, "an event from before the engine's clock was set back");
                } else {
                    actor.happened(event);
                }
                actor.read(events, origin, due, ctx);
            }
            Next::ListingDue => actor.connect(ctx),
            Next::Lost(error) => {
                info!(
                    reason = error.map(|e| e.to_string()),
                    "the docker engine's events ended; listing again"
                );
                actor.connect(ctx);
            }
        }));
    }
}

// === what happened ===

impl DockerWatcher {
    fn happened(&mut self, event: EngineEvent) {
        let name = event.attributes.get("name").map_or("", String::as_str).trim_start_matches('/');
        let old_name = event.attributes.get("oldName").map_or("", String::as_str).trim_start_matches('/');
        if [name, old_name].iter().any(|n| [CONTAINER_NAME, NEXT_NAME].contains(n)) {
            (self.parts.connector_touched)();
        }
        match event.action {
            EngineAction::Start | EngineAction::Unpause => self.started_running(event),
            EngineAction::Rename if self.known.contains_key(&event.id) => self.started_running(event),
            EngineAction::Die | EngineAction::Stop | EngineAction::Destroy => {
                if self.known.remove(&event.id).is_some() {
                    self.tell(ContainerNews::Stopped(event.id));
                }
            }
            // A signal may be one that reloads, and what was paused keeps its place.
            EngineAction::Kill | EngineAction::Pause | EngineAction::Rename => {}
        }
    }

    /// The event carries the labels, so nothing has to be inspected that may be gone again.
    fn started_running(&mut self, event: EngineEvent) {
        let text = |key: &str| event.attributes.get(key).map(|text| text.trim_start_matches('/').to_owned());
        let container = Container {
            name: text("name").unwrap_or_default(),
            image: text("image"),
            status: Some("running".to_owned()),
            labels: event.attributes,
            id: event.id,
        };
        let Some(container) = self.published(container) else { return };
        if self.known.get(&container.id) != Some(&container) {
            self.known.insert(container.id.clone(), container.clone());
            self.tell(ContainerNews::Started(container));
        }
    }

    /// Returns the container with our labels only, or `None` if it has none.
    fn published(&self, mut container: Container) -> Option<Container> {
        let prefix = self.parts.label_prefix.as_deref();
        if !concerns_us(&container.labels, prefix) {
            return None;
        }
        container.labels = own_labels(&container.labels, prefix);
        Some(container)
    }

    fn tell(&mut self, news: ContainerNews) {
        if !(self.parts.news)(news) {
            warn!("news of containers could not be passed on; listing again soon");
            self.is_dirty = true;
        }
    }
}
