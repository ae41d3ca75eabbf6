//! A way to send one kind of message to an actor, without naming the actor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};
use async_trait::async_trait;

use super::port::{Port, Refused, Sent, Supervise};

/// What a [`Port`] gives for one kind of message; see [`Port::inlet`]. Clones and the port share one bound.
pub struct Inlet<M>(Arc<dyn Takes<M>>);

#[async_trait]
trait Takes<M>: fmt::Debug + Send + Sync {
    fn tell(&self, msg: M) -> Result<Sent, Refused<M>>;

    async fn tell_wait(&self, msg: M, max: Duration) -> Result<Sent, Refused<M>>;
}

#[async_trait]
impl<A, M> Takes<M> for Port<A>
where
    A: Supervise + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn tell(&self, msg: M) -> Result<Sent, Refused<M>> {
        Self::tell(self, msg)
    }

    async fn tell_wait(&self, msg: M, max: Duration) -> Result<Sent, Refused<M>> {
        Self::tell_wait(self, msg, max).await
    }
}

impl<A: Supervise> Port<A> {
    /// Returns the way in for messages of one kind: for whoever tells the actor that and need not know it otherwise.
    pub fn inlet<M>(&self) -> Inlet<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Inlet(Arc::new(self.clone()))
    }
}

impl<M> Inlet<M> {
    /// As [`Port::tell`].
    pub fn tell(&self, msg: M) -> Result<Sent, Refused<M>> {
        self.0.tell(msg)
    }

    /// As [`Port::tell_wait`].
    pub async fn tell_wait(&self, msg: M, max: Duration) -> Result<Sent, Refused<M>> {
        self.0.tell_wait(msg, max).await
    }
}

impl<M> Clone for Inlet<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Inlet<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inlet").field(&self.0).finish()
    }
}
