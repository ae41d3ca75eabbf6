//! The context a supervised actor runs in: actix's own, plus failing on purpose, the actor's port,
//! the clock and the source of randomness.

use std::fmt::Display;
use std::time::Duration;

use actix::dev::{AsyncContextParts, ContextParts, Mailbox};
use actix::{Actor, ActorContext, ActorFuture, ActorState, Addr, AsyncContext, SpawnHandle};

use super::exit::{Exit, cut};
use super::futures::{Futures, Limit};
use super::port::Port;
use super::tree::Tree;
use crate::chance::Chance;
use crate::clock::Clock;

/// Messages handled in one go before other actors of the arbiter get their turn.
const TURN: u32 = 128;

/// Makes an actor from its configuration; runs at every start.
pub(super) type Factory<A> = Box<dyn Fn() -> A + Send + Sync>;

/// The context of a supervised actor.
pub struct Ctx<A: Actor<Context = Self>> {
    parts: ContextParts<A>,
    port: Port<A>,
    tree: Tree,
    factory: Factory<A>,
    futures: Futures<A>,
    exit: Option<Exit>,
    deadline: Duration,
    /// The message whose answer is being set up: futures started meanwhile get the deadline.
    answering: Option<&'static str>,
    turn: u32,
    is_stopping: bool,
    /// No message is taken from the mailbox.
    is_frozen: bool,
}

impl<A: Actor<Context = Self>> Ctx<A> {
    pub(super) fn new(
        mailbox: &Mailbox<A>,
        port: Port<A>,
        tree: Tree,
        factory: Factory<A>,
        deadline: Duration,
    ) -> Self {
        Self {
            parts: ContextParts::new(mailbox.sender_producer()),
            port,
            tree,
            factory,
            futures: Futures::new(),
            exit: None,
            deadline,
            answering: None,
            turn: TURN,
            is_stopping: false,
            is_frozen: false,
        }
    }

    // === for actors ===

    /// Ends this run with a reason; the supervisor decides what follows. The first reason counts.
    ///
    /// The message being handled is not tried again. Futures and timers are dropped.
    pub fn fail(&mut self, reason: impl Display) {
        self.end(Exit::Error(cut(reason)));
    }

    /// Returns a port to this actor, for others to answer to.
    pub fn port(&self) -> Port<A> {
        self.port.clone()
    }

    /// Returns the time of day's source.
    pub fn clock(&self) -> &Clock {
        self.tree.clock()
    }

    /// Returns the source of randomness.
    pub fn chance(&self) -> &Chance {
        self.tree.chance()
    }

    /// Makes a fresh value with the factory. Called by [`supervised!`](crate::supervised).
    pub fn rebuild(&mut self) -> A {
        (self.factory)()
    }

    /// Returns the actor's place in the tree, such as `agent/reporter`.
    pub fn path(&self) -> &str {
        self.port.node().path()
    }

    /// Returns whether the supervisor has told the actor to stop. In `stopping`, this tells a stop that
    /// leaves time for a last flush from a failure, which does not.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping && self.exit.is_none()
    }

    // === for the runner and its helpers ===

    pub(super) fn end(&mut self, exit: Exit) {
        self.exit.get_or_insert(exit);
        // Not `terminate`: with a cancelled timer pending, actix would then poll in an endless loop.
        self.parts.stop();
    }

    pub(super) fn take_exit(&mut self) -> Option<Exit> {
        self.exit.take()
    }

    pub(super) fn futures(&mut self) -> &mut Futures<A> {
        &mut self.futures
    }

    /// Runs `answer` so that the futures it starts are a handler's: limited, and awaited by a stop.
    pub(super) fn answer(&mut self, message: &'static str, answer: impl FnOnce(&mut Self)) {
        self.answering = Some(message);
        answer(self);
        self.answering = None;
    }

    /// Gives the actor a new turn; before it is up, one without messages.
    pub(super) fn begin_turn(&mut self, is_up: bool) {
        self.turn = if is_up { TURN } else { 0 };
    }

    /// Uses up one message of the turn.
    pub(super) fn spend(&mut self) {
        self.turn = self.turn.saturating_sub(1);
    }

    pub(super) fn is_turn_over(&self) -> bool {
        self.turn == 0
    }

    /// Notes that the supervisor wants the actor to stop.
    pub(super) fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Leaves what is queued in the mailbox.
    pub(super) fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// Forgets the last run; the next one begins.
    pub(super) fn reset(&mut self) {
        self.futures.clear();
        self.exit = None;
        self.answering = None;
        self.is_stopping = false;
        self.is_frozen = false;
    }

    /// Futures that block the mailbox, and handlers' answers, are limited; others are not.
    fn limit(&self, blocks: bool) -> Option<Limit> {
        match self.answering {
            Some(what) => Some(Limit { max: self.deadline, what }),
            None if blocks => Some(Limit { max: self.deadline, what: "wait" }),
            None => None,
        }
    }
}

impl<A: Actor<Context = Self>> ActorContext for Ctx<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.stop();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Ctx<A> {
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        let limit = self.limit(false);
        let shell = self.futures.hold(Box::pin(future), limit, self.port.node());
        let handle = self.parts.spawn(shell);
        self.futures.set_handle(handle);
        handle
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        let limit = self.limit(true);
        let shell = self.futures.hold(Box::pin(future), limit, self.port.node());
        self.parts.wait(shell);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting() || self.is_frozen || self.exit.is_some() || self.turn == 0
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.futures.cancel(handle)
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for Ctx<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}
