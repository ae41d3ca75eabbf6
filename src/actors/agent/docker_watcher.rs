//! Watches the Docker Engine: which containers that want to be published run, and which no longer do.
//!
//! It subscribes to events, then lists, then reads what happened since: nothing can fall between. It does so again
//! after every loss and every so often, so that an event that was missed heals. An Engine that is away, or that
//! ends every subscription at once, is a state with its own waits, not a failure; and a listing that failed is never
//! an empty one. A paused container keeps its place: whoever paused it did not want it unpublished.

mod names;
mod subscription;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler, Message, SpawnHandle};
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use self::names::KnownNetworks;
use super::label_prefix::{LabelPrefix, PrefixChanges};
use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::Ctx;
use crate::docker::{Docker, EngineAction, EngineEvent, EngineInfo};
use crate::domain::agent_tunnel::{CONTAINER_NAME, NEXT_NAME};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::labels::{MAX_LABELS, concerns_us, own_labels};

/// How long to wait with the next listing when there is reason for one: the next such reason may follow at once.
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
pub type TellNews = Arc<dyn Fn(ContainerNews) -> bool + Send + Sync>;

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
    pub news: TellNews,
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
        let is_taken = (self.parts.news)(news);
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
