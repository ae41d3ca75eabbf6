//! The top of a tree: starts it, notices when it gives up, and shuts it down.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::exit::Exit;
use super::handle::{AddError, RemoveError};
use super::node::Node;
use super::order::{Inbox, Link, Mail, Order, Report, Verb, What};
use super::snapshot::State;
use super::spec::{ChildSpec, SupSpec};
use super::tree::{Change, Tree};

/// How long a killed tree may take before it is left to the end of the process.
const KILL_TIME: Duration = Duration::from_secs(3);
/// The one run of the top supervisor.
const RUN: u32 = 1;

/// A running tree. Dropping it does not stop it.
pub struct Root {
    tree: Tree,
    order: Arc<Order>,
    fate: watch::Receiver<Fate>,
}

#[derive(Clone, Default)]
struct Fate {
    is_up: bool,
    gave_up: Option<String>,
    is_gone: bool,
}

impl Root {
    /// Starts a tree on the current thread, which must be an arbiter or run a `LocalSet`; returns when every
    /// child has been started once.
    ///
    /// # Panics
    /// If `name` is empty or holds a `/`.
    pub async fn start(tree: Tree, name: impl Into<String>, spec: SupSpec) -> Self {
        let spec = ChildSpec::supervisor(name, spec);
        let node = spec.node.clone();
        tree.place(None, &node, spec.inbox().cloned());
        let (order, inbox) = (Arc::new(Order::default()), Arc::new(Inbox::default()));
        spec.launch(Link::new(order.clone(), inbox.clone(), 0), tree.clone());
        let (sender, mut fate) = watch::channel(Fate::default());
        tokio::task::spawn_local(keep(tree.clone(), node, order.clone(), inbox, sender));
        order.give(Verb::Start, RUN);
        // The keeper outlives the tree, so the sender cannot go first.
        let _ = fate.wait_for(|fate| fate.is_up || fate.is_gone).await;
        Self { tree, order, fate }
    }

    /// Returns the tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Adds a child to the supervisor at path `supervisor`.
    pub async fn add(&self, supervisor: &str, spec: ChildSpec) -> Result<(), AddError> {
        let Some(handle) = self.tree.supervisor(supervisor) else {
            return Err(AddError::NoSupervisor(supervisor.to_owned()));
        };
        handle.add(spec).await
    }

    /// Stops the node at `path` and takes it out of the tree.
    pub async fn remove(&self, path: &str) -> Result<(), RemoveError> {
        let parts = path.rsplit_once('/');
        let found = parts.and_then(|(parent, name)| Some((self.tree.supervisor(parent)?, name)));
        let Some((handle, name)) = found else { return Err(RemoveError::NotFound(path.to_owned())) };
        handle.remove(name).await
    }

    /// Waits until the tree gives up; returns the chain of reasons. The caller ends the process with a
    /// non-zero code, so that the outer restart policy takes over. Never returns after a shutdown.
    pub async fn gave_up(&self) -> String {
        let mut fate = self.fate.clone();
        let waited = fate.wait_for(|fate| fate.gave_up.is_some()).await.map(|fate| fate.gave_up.clone());
        match waited {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Stops everything in reverse start order, each child within its grace, and the whole within `max`;
    /// what is left then is killed.
    pub async fn shutdown(&self, max: Duration) {
        let mut fate = self.fate.clone();
        self.order.give(Verb::Close, RUN);
        if timeout(max, fate.wait_for(|fate| fate.is_gone)).await.is_err() {
            tracing::warn!(
                max_ms = max.as_millis(),
                "the actor tree did not stop in time; killing what is left"
            );
            self.order.give(Verb::Kill, RUN);
            let _ = timeout(KILL_TIME, fate.wait_for(|fate| fate.is_gone)).await;
        }
    }
}

/// Receives the top supervisor's reports until it is gone.
async fn keep(tree: Tree, node: Arc<Node>, order: Arc<Order>, inbox: Arc<Inbox>, fate: watch::Sender<Fate>) {
    loop {
        let mail = poll_fn(|task| {
            inbox.register(task.waker());
            inbox.pop().map_or(Poll::Pending, Poll::Ready)
        });
        let Mail::Report(Report { what, .. }) = mail.await else { continue };
        match what {
            What::Up => {
                let restarts = node.count_start(tree.clock().now());
                tree.emit(&node, Change::Started(restarts));
                fate.send_modify(|fate| fate.is_up = true);
            }
            What::Exited(exit) => {
                node.set_exit(&exit);
                node.set_state(State::Stopped, tree.clock().now());
                tree.emit(&node, Change::Exited((*exit).clone()));
                if let Exit::Escalated(reason) = *exit {
                    tree.emit(&node, Change::GaveUp(reason.clone()));
                    order.give(Verb::Close, RUN);
                    fate.send_modify(|fate| fate.gave_up = Some(reason));
                }
            }
            What::Gone => {
                tree.displace(node.path());
                fate.send_modify(|fate| fate.is_gone = true);
                return;
            }
        }
    }
}
