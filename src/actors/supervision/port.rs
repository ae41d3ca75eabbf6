//! The only way to an actor: an exact bound, an explicit overflow policy, and asks with deadlines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::channel::AddressSender;
use actix::{Actor, Handler, Message, Supervised};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ctx::Ctx;
use super::envelope::Parcel;
use super::node::{Entry, Node};
use super::snapshot::Info;

/// What [`supervised!`](crate::supervised) makes of an actor.
pub trait Supervise: Actor<Context = Ctx<Self>> + Supervised + Handler<Parcel<Self>> {}

impl<A> Supervise for A where A: Actor<Context = Ctx<A>> + Supervised + Handler<Parcel<A>> {}

/// A way to send messages to an actor. Stays valid while the actor restarts; clones share one bound.
pub struct Port<A: Actor<Context = Ctx<A>>>(Arc<Gate<A>>);

struct Gate<A: Actor<Context = Ctx<A>>> {
    to: AddressSender<A>,
    node: Arc<Node>,
}

/// What became of a message that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It waits in the mailbox.
    Queued,
    /// The mailbox is full: it was dropped and counted.
    DroppedNewest,
    /// It waits in the mailbox; the oldest one gives way to it.
    DroppedOldest,
}

/// A message that came back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused<M> {
    /// The mailbox is full.
    Full(M),
    /// The actor ended for good.
    Closed(M),
}

impl<M> Refused<M> {
    /// Returns the message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(msg) | Self::Closed(msg) => msg,
        }
    }
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<M> fmt::Display for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the actor's mailbox is full",
            Self::Closed(_) => "the actor has ended",
        })
    }
}

impl<M> std::error::Error for Refused<M> {}

/// Why an ask has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The mailbox is full.
    #[error("the actor's mailbox is full; ask again later")]
    Full,
    /// The actor ended for good.
    #[error("the actor has ended")]
    Closed,
    /// No answer by the deadline, waiting time in the mailbox included.
    #[error("the actor did not answer in time")]
    Timeout,
    /// The message was taken but its run ended, or it gave way to a newer one. It is not tried again.
    #[error("the actor failed before it answered")]
    Lost,
}

impl<A: Supervise> Port<A> {
    pub(super) fn new(to: AddressSender<A>, node: Arc<Node>) -> Self {
        Self(Arc::new(Gate { to, node }))
    }

    /// Sends a message and does not wait.
    ///
    /// Over the bound the actor's [`Overflow`](super::Overflow) policy decides.
    pub fn tell<M>(&self, msg: M) -> Result<Sent, Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.enter(self.0.node.admit(), msg, None)
    }

    /// Sends a message, waiting at most `max` for room, whatever the overflow policy.
    pub async fn tell_wait<M>(&self, msg: M, max: Duration) -> Result<Sent, Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let entry = timeout(max, self.0.node.admit_later()).await.unwrap_or(Entry::Full);
        self.enter(entry, msg, None)
    }

    /// Sends a message and waits at most `max` for the answer.
    pub async fn ask<M>(&self, msg: M, max: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply, answer) = oneshot::channel();
        match self.enter(self.0.node.admit(), msg, Some(reply)) {
            Ok(Sent::Queued | Sent::DroppedOldest) => {}
            Ok(Sent::DroppedNewest) | Err(Refused::Full(_)) => return Err(AskError::Full),
            Err(Refused::Closed(_)) => return Err(AskError::Closed),
        }
        match timeout(max, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Lost),
            Err(_) => Err(AskError::Timeout),
        }
    }

    fn enter<M>(
        &self,
        entry: Entry,
        msg: M,
        reply: Option<oneshot::Sender<M::Result>>,
    ) -> Result<Sent, Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let sent = match entry {
            Entry::Admitted => Sent::Queued,
            Entry::InPlaceOfOldest => Sent::DroppedOldest,
            Entry::Dropped => return Ok(Sent::DroppedNewest),
            Entry::Full => return Err(Refused::Full(msg)),
            Entry::Closed => return Err(Refused::Closed(msg)),
        };
        // An actor that ends right now drops the message; then it is counted, like all it had queued.
        let _ = self.0.to.do_send(Parcel::new(msg, reply, self.0.node.clone()));
        Ok(sent)
    }
}

impl<A: Actor<Context = Ctx<A>>> Port<A> {
    /// Returns the actor's row of the snapshot.
    pub fn info(&self) -> Info {
        self.0.node.info()
    }

    /// Returns whether no message waits for the actor and none is being handled, answers included. Futures that the
    /// actor started beside its answers do not count.
    pub fn is_idle(&self) -> bool {
        self.0.node.is_idle()
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }
}

impl<A: Actor<Context = Ctx<A>>> Clone for Port<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Actor<Context = Ctx<A>>> fmt::Debug for Port<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Port").field(&self.0.node.path()).finish()
    }
}
