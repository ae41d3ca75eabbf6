//! What all nodes of a tree share: clock, randomness, the register of nodes and the event stream.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use super::exit::Exit;
use super::handle::SupervisorHandle;
use super::metrics::RoleMetrics;
use super::node::Node;
use super::order::Inbox;
use super::snapshot::{Info, State};
use crate::chance::Chance;
use crate::clock::Clock;

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreeEvent {
    /// When, in wall time.
    pub at: DateTime<Utc>,
    /// Whom, as in [`Info::path`].
    pub path: Arc<str>,
    /// The metric label.
    pub role: &'static str,
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change", content = "detail")]
pub enum Change {
    /// It was added at run time.
    Added,
    /// It is up; the number counts its starts after the first.
    Started(u32),
    /// Its run ended.
    Exited(Exit),
    /// It failed and starts again after this delay.
    RestartIn(Duration),
    /// It failed more often than allowed: a supervisor passes this on, a child of a wide one is removed.
    Escalated(String),
    /// It did not stop in time and was left behind.
    LeftBehind,
    /// It left the tree.
    Removed,
    /// The root itself escalated: the tree is over.
    GaveUp(String),
}

/// The shared part of a tree. Cheap to clone.
#[derive(Clone)]
pub struct Tree(Arc<Shared>);

struct Shared {
    clock: Clock,
    chance: Chance,
    on_event: Box<dyn Fn(&TreeEvent) + Send + Sync>,
    nodes: RwLock<BTreeMap<Arc<str>, Entry>>,
    roles: Mutex<HashMap<&'static str, Arc<RoleMetrics>>>,
}

struct Entry {
    node: Arc<Node>,
    inbox: Option<Arc<Inbox>>,
}

impl Tree {
    /// Makes an empty tree. `on_event` sees every event, on the thread it happens on, and must be quick.
    ///
    /// Metrics go to the recorder that is installed when a role first appears.
    pub fn new(clock: Clock, chance: Chance, on_event: impl Fn(&TreeEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            clock,
            chance,
            on_event: Box::new(on_event),
            nodes: RwLock::default(),
            roles: Mutex::default(),
        }))
    }

    /// Returns a row per node, ordered by path.
    pub fn snapshot(&self) -> Vec<Info> {
        self.0.nodes.read().values().map(|entry| entry.node.info()).collect()
    }

    /// Returns the rows of the node at `path` and everything under it.
    pub fn snapshot_under(&self, path: &str) -> Vec<Info> {
        let nodes = self.0.nodes.read();
        let itself = nodes.get(path).into_iter();
        // All paths that start with `path/` sort before `path0`, the character after the slash.
        let under = nodes.range::<str, _>((
            std::ops::Bound::Included(&*format!("{path}/")),
            std::ops::Bound::Excluded(&*format!("{path}0")),
        ));
        itself.chain(under.map(|(_, entry)| entry)).map(|entry| entry.node.info()).collect()
    }

    /// Returns a handle to the supervisor at `path`.
    pub fn supervisor(&self, path: &str) -> Option<SupervisorHandle> {
        let nodes = self.0.nodes.read();
        nodes.get(path)?.inbox.clone().map(SupervisorHandle::new)
    }

    /// Sets the gauges `actor_nodes` (per role and state) and `actor_mailbox_depth` (deepest per role).
    /// Called when metrics are read.
    pub fn publish_gauges(&self) {
        let mut roles: HashMap<&'static str, (HashMap<State, u32>, usize)> =
            self.0.roles.lock().keys().map(|role| (*role, Default::default())).collect();
        for entry in self.0.nodes.read().values() {
            let (role, state, depth) = entry.node.gauge();
            let (states, deepest) = roles.entry(role).or_default();
            *states.entry(state).or_default() += 1;
            *deepest = depth.max(*deepest);
        }
        for (role, (states, deepest)) in roles {
            #[expect(clippy::cast_precision_loss, reason = "no mailbox holds 2^52 messages")]
            metrics::gauge!("actor_mailbox_depth", "role" => role).set(deepest as f64);
            for state in State::ALL {
                let count = states.get(&state).copied().unwrap_or(0);
                metrics::gauge!("actor_nodes", "role" => role, "state" => state.as_str()).set(count);
            }
        }
    }

    /// The time of day's source.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The source of randomness.
    pub fn chance(&self) -> &Chance {
        &self.0.chance
    }

    /// Gives `node` its place under `parent` and registers it; returns its path.
    pub(super) fn place(
        &self,
        parent: Option<&str>,
        node: &Arc<Node>,
        inbox: Option<Arc<Inbox>>,
    ) -> Arc<str> {
        let path =
            parent.map_or_else(|| node.name().to_owned(), |parent| format!("{parent}/{}", node.name()));
        let path: Arc<str> = path.into();
        let role = node.role();
        let metrics =
            self.0.roles.lock().entry(role).or_insert_with(|| Arc::new(RoleMetrics::new(role))).clone();
        node.put(path.clone(), metrics);
        node.set_state(State::Stopped, self.0.clock.now());
        self.0.nodes.write().insert(path.clone(), Entry { node: node.clone(), inbox });
        path
    }

    /// Takes the node at `path` out of the register.
    pub(super) fn displace(&self, path: &str) {
        self.0.nodes.write().remove(path);
    }

    /// Logs, counts and passes on what happened to `node`.
    pub(super) fn emit(&self, node: &Node, change: Change) {
        let Some(path) = node.shared_path().cloned() else { return };
        let role = node.role();
        let actor = &*path;
        match &change {
            Change::Added | Change::Started(0) | Change::Removed => {
                tracing::debug!(actor, "{}", change.label());
            }
            Change::Started(restarts) => tracing::info!(actor, restarts, "actor restarted"),
            Change::Exited(exit) if exit.is_failure() => tracing::warn!(actor, "actor failed: {exit}"),
            Change::Exited(exit) => tracing::debug!(actor, "actor ended: {exit}"),
            Change::RestartIn(delay) => {
                tracing::debug!(actor, delay_ms = delay.as_millis(), "actor restarts after a delay");
            }
            Change::Escalated(reason) | Change::GaveUp(reason) => {
                tracing::error!(actor, "{}: {reason}", change.label());
            }
            Change::LeftBehind => tracing::error!(actor, "{}", change.label()),
        }
        let event = TreeEvent { at: self.0.clock.now(), path, role, change };
        // A listener's panic must not end a supervisor.
        if catch_unwind(AssertUnwindSafe(|| (self.0.on_event)(&event))).is_err() {
            tracing::error!("a listener of the actor tree panicked");
        }
    }

    /// Counts a restart for the metrics.
    pub(super) fn count_restart(&self, role: &'static str, exit: &Exit) {
        metrics::counter!("actor_restarts_total", "role" => role, "reason" => exit.kind()).increment(1);
    }
}

impl Change {
    fn label(&self) -> &'static str {
        match self {
            Self::Added => "actor added",
            Self::Started(_) => "actor started",
            Self::Exited(_) => "actor ended",
            Self::RestartIn(_) => "actor restarts after a delay",
            Self::Escalated(_) => "too many failures",
            Self::LeftBehind => "actor did not stop in time and was left behind",
            Self::Removed => "actor removed",
            Self::GaveUp(_) => "the actor tree gave up",
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} nodes)", self.0.nodes.read().len())
    }
}
