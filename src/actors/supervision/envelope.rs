//! What travels in a mailbox: a message, its way back, and its place in the bound.
//!
//! Actix's queue takes any message an actor handles; ours takes [`Parcel`] only, because [`Ctx`] packs
//! nothing else. So `addr.do_send(..)` past the bound does not compile, and the port is the only way in.

use std::sync::Arc;

use actix::dev::{Envelope, EnvelopeProxy, MessageResponse, ToEnvelope};
use actix::{Actor, Handler, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ctx::Ctx;
use super::node::{AtWork, Node};
use super::port::Supervise;

/// A packed message for an actor `A`; made by ports only.
pub struct Parcel<A: Actor>(Box<dyn EnvelopeProxy<A> + Send>);

impl<A: Actor> Message for Parcel<A> {
    type Result = ();
}

impl<A: Supervise> Parcel<A> {
    /// Packs `msg`, which the bound has admitted.
    pub(super) fn new<M>(msg: M, reply: Option<oneshot::Sender<M::Result>>, node: Arc<Node>) -> Self
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        node.count_queued();
        Self(Box::new(Letter { msg: Some(msg), reply, node, sent: Instant::now() }))
    }

    /// Hands the message to the actor.
    pub fn run(mut self, actor: &mut A, ctx: &mut Ctx<A>) {
        self.0.handle(actor, ctx);
    }
}

impl<A: Supervise> ToEnvelope<A, Parcel<A>> for Ctx<A> {
    fn pack(parcel: Parcel<A>, _reply: Option<oneshot::Sender<()>>) -> Envelope<A> {
        Envelope::with_proxy(parcel.0)
    }
}

struct Letter<M: Message> {
    /// Present until handled.
    msg: Option<M>,
    reply: Option<oneshot::Sender<M::Result>>,
    node: Arc<Node>,
    sent: Instant,
}

impl<A, M> EnvelopeProxy<A> for Letter<M>
where
    A: Supervise + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Ctx<A>) {
        let Some(msg) = self.msg.take() else { return };
        let reply = self.reply.take();
        let _at_work = AtWork::begin(&self.node);
        ctx.spend();
        if !self.node.leave() {
            self.node.count_dropped("drop_oldest");
            return;
        }
        if reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
            self.node.count_dropped("abandoned");
            return;
        }
        let name = short_name::<M>();
        let span = tracing::debug_span!("message", actor = self.node.path(), kind = name);
        let _entered = span.enter();
        self.node.count_handled();
        let started = Instant::now();
        // A panic below drops `reply`, which tells the asker at once.
        let response = actor.handle(msg, ctx);
        ctx.answer(name, |ctx| response.handle(ctx, reply));
        if let Some(metrics) = self.node.metrics() {
            metrics.messages.increment(1);
            metrics.queue_seconds.record(started.duration_since(self.sent).as_secs_f64());
            metrics.handler_seconds.record(started.elapsed().as_secs_f64());
        }
    }
}

impl<M: Message> Drop for Letter<M> {
    fn drop(&mut self) {
        if self.msg.is_some() {
            self.node.leave();
            self.node.count_dropped("ended");
        }
    }
}

/// The last part of a type's name; generic arguments are cut off.
pub(super) fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let plain = name.split_once('<').map_or(name, |(plain, _)| plain);
    plain.rsplit_once("::").map_or(plain, |(_, last)| last)
}
