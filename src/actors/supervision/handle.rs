//! Adding and removing children of a running supervisor, from an actor or from outside.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::order::{Inbox, Mail, Request};
use super::spec::ChildSpec;

/// Why a child was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// A child of this name exists; remove it first and wait for the removal.
    #[error("the supervisor already has a child `{0}`; remove it first")]
    NameTaken(String),
    /// Names are path segments.
    #[error("`{0}` cannot name a child: a name is not empty and holds no `/`")]
    BadName(String),
    /// There is no supervisor at this path.
    #[error("there is no supervisor `{0}`")]
    NoSupervisor(String),
    /// The supervisor has ended or is ending.
    #[error("the supervisor has ended")]
    Closed,
}

/// Why a child was not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is no such child.
    #[error("there is no child `{0}`")]
    NotFound(String),
    /// It did not stop in time: its thread does not come back. It leaves the tree once it does.
    #[error("the child `{0}` did not stop in time and was left behind")]
    LeftBehind(String),
    /// The supervisor has ended or is ending, and its children with it.
    #[error("the supervisor has ended")]
    Closed,
}

/// A handle to a supervisor: valid before it starts and while it restarts.
///
/// Requests to a wide supervisor run side by side, so that a child that stops slowly holds up nobody.
#[derive(Clone)]
pub struct SupervisorHandle(Arc<Inbox>);

impl SupervisorHandle {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }

    /// Adds a child after the others; returns once it is up or, if it fails to start, backing off.
    ///
    /// While the supervisor itself is stopped, the child is taken in and starts with it.
    pub async fn add(&self, spec: ChildSpec) -> Result<(), AddError> {
        let (reply, answer) = oneshot::channel();
        self.0.push(Mail::Request(Box::new(Request::Add(spec, reply))));
        answer.await.unwrap_or(Err(AddError::Closed))
    }

    /// Stops a child, its queue handled first, and takes it out of the tree; returns once it is gone.
    ///
    /// A child that awaits its own removal waits for itself; [`remove_later`](Self::remove_later) is for it.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let (reply, answer) = oneshot::channel();
        self.0.push(Mail::Request(Box::new(Request::Remove(name.to_owned(), Some(reply)))));
        answer.await.unwrap_or(Err(RemoveError::Closed))
    }

    /// Starts a removal and does not wait. What comes of it is in the event stream.
    pub fn remove_later(&self, name: &str) {
        self.0.push(Mail::Request(Box::new(Request::Remove(name.to_owned(), None))));
    }
}

impl fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SupervisorHandle")
    }
}
