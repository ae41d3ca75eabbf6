//! Runs one actor: polls its context inside `catch_unwind`, reports why a run ended, and waits parked
//! for the next order. Mailbox and address outlive the run; the state does not.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::dev::channel::AddressReceiver;
use actix::dev::{AsyncContextParts, ContextFut, Mailbox};
use tokio::time::{Sleep, sleep};

use super::ctx::{Ctx, Factory};
use super::exit::{Exit, panic_text};
use super::here;
use super::node::{CloseOnDrop, Node};
use super::order::{Link, Verb, What};
use super::port::{Port, Supervise};
use super::tree::Tree;

/// What an actor is made of before its first run.
pub(super) struct Seed<A: Supervise> {
    pub(super) receiver: AddressReceiver<A>,
    pub(super) port: Port<A>,
    pub(super) factory: Factory<A>,
    pub(super) deadline: Duration,
}

/// The task of one actor.
pub(super) struct Runner<A: Supervise> {
    link: Link,
    node: Arc<Node>,
    tree: Tree,
    grace: Duration,
    seed: Option<Box<Seed<A>>>,
    body: Option<Body<A>>,
    run: u32,
    mode: Mode,
    _close: CloseOnDrop,
}

enum Mode {
    Parked,
    Running { is_up: bool },
    Stopping(Box<Stopping>),
}

struct Stopping {
    grace: Pin<Box<Sleep>>,
    /// What must have left the mailbox first.
    drain_mark: u64,
    /// Whether the actor has been told.
    is_told: bool,
}

enum Flow {
    Again,
    Wait,
    Done,
}

impl<A: Supervise> Runner<A> {
    pub(super) fn new(
        link: Link,
        seed: Box<Seed<A>>,
        tree: Tree,
        grace: Duration,
        close: CloseOnDrop,
    ) -> Self {
        let node = seed.port.node().clone();
        Self {
            link,
            node,
            tree,
            grace,
            seed: Some(seed),
            body: None,
            run: 0,
            mode: Mode::Parked,
            _close: close,
        }
    }

    fn step(&mut self, task: &mut Context<'_>) -> Flow {
        match self.mode {
            Mode::Parked => self.step_parked(),
            Mode::Running { .. } => self.step_running(task),
            Mode::Stopping(_) => self.step_stopping(task),
        }
    }

    fn step_parked(&mut self) -> Flow {
        let order = self.link.order.latest();
        let is_new = order.run != self.run;
        match order.verb {
            Verb::Start if is_new => {
                self.run = order.run;
                match self.build() {
                    Ok(()) => self.mode = Mode::Running { is_up: false },
                    Err(exit) => self.park(exit),
                }
                Flow::Again
            }
            // Told to start and to stop before it got round to either.
            Verb::Stop if is_new => {
                self.run = order.run;
                self.park(Exit::Shutdown);
                Flow::Again
            }
            Verb::Close | Verb::Kill => Flow::Done,
            Verb::Wait | Verb::Start | Verb::Stop => Flow::Wait,
        }
    }

    fn step_running(&mut self, task: &mut Context<'_>) -> Flow {
        match self.link.order.latest().verb {
            Verb::Kill => {
                self.park(Exit::Killed);
                return Flow::Again;
            }
            verb @ (Verb::Stop | Verb::Close) => {
                self.begin_stop(verb);
                return Flow::Again;
            }
            Verb::Wait | Verb::Start => {}
        }
        if let Some(exit) = self.poll_body(task) {
            self.park(exit);
            return Flow::Again;
        }
        if let Mode::Running { is_up: is_up @ false } = &mut self.mode {
            *is_up = true;
            self.link.report(self.run, What::Up);
        }
        Flow::Wait
    }

    /// A stop keeps the queue for the next run; a close lets the actor handle it first.
    fn begin_stop(&mut self, verb: Verb) {
        let ctx = self.body.as_mut().expect("running").0.ctx();
        ctx.begin_stop();
        let drain_mark = if verb == Verb::Close {
            self.node.close();
            self.node.drain_mark()
        } else {
            ctx.freeze();
            0
        };
        let grace = Box::pin(sleep(self.grace));
        self.mode = Mode::Stopping(Box::new(Stopping { grace, drain_mark, is_told: false }));
    }

    fn step_stopping(&mut self, task: &mut Context<'_>) -> Flow {
        match self.link.order.latest().verb {
            Verb::Kill => {
                self.park(Exit::Killed);
                return Flow::Again;
            }
            Verb::Close => self.node.close(),
            Verb::Wait | Verb::Start | Verb::Stop => {}
        }
        self.tell_when_drained();
        if let Some(exit) = self.poll_body(task) {
            self.park(if exit == Exit::Normal { Exit::Shutdown } else { exit });
            return Flow::Again;
        }
        if self.tell_when_drained() {
            return Flow::Again;
        }
        let Mode::Stopping(stopping) = &mut self.mode else { return Flow::Again };
        if stopping.grace.as_mut().poll(task).is_ready() {
            self.park(Exit::Killed);
            return Flow::Again;
        }
        Flow::Wait
    }

    /// Tells the actor to stop once its queue and its answers under way are done; returns whether it did.
    fn tell_when_drained(&mut self) -> bool {
        let Mode::Stopping(stopping) = &mut self.mode else { return false };
        let ctx = self.body.as_mut().expect("stopping").0.ctx();
        if stopping.is_told || !self.node.is_drained(stopping.drain_mark) || ctx.futures().any_awaited() {
            return false;
        }
        stopping.is_told = true;
        ctx.freeze();
        ctx.parts().stop();
        true
    }

    /// Makes the actor, or makes it anew with its mailbox.
    fn build(&mut self) -> Result<(), Exit> {
        if let Some(body) = &mut self.body {
            body.0.ctx().reset();
            let restarted = caught(|| body.0.restart())?;
            // The context's own port holds an address.
            debug_assert!(restarted, "a supervised mailbox always has a sender");
            return Ok(());
        }
        let seed = self.seed.take().expect("kept until the first run");
        let actor = match caught(|| (seed.factory)()) {
            Ok(actor) => actor,
            Err(exit) => {
                self.seed = Some(seed);
                return Err(exit);
            }
        };
        let Seed { receiver, port, factory, deadline } = *seed;
        let mailbox = Mailbox::new(receiver);
        let ctx = Ctx::new(&mailbox, port, self.tree.clone(), factory, deadline);
        self.body = Some(Body(ContextFut::new(ctx, actor, mailbox)));
        Ok(())
    }

    fn poll_body(&mut self, task: &mut Context<'_>) -> Option<Exit> {
        let body = self.body.as_mut().expect("polled between build and end");
        // The first poll takes no message, so that the parent hears of the start before any effect of it,
        // and a message that kills does not look like a failed start.
        let is_up = !matches!(self.mode, Mode::Running { is_up: false });
        body.0.ctx().begin_turn(is_up);
        let polled = caught(|| Pin::new(&mut body.0).poll(task));
        let ctx = body.0.ctx();
        match polled {
            Err(exit) => Some(exit),
            Ok(Poll::Ready(())) => Some(ctx.take_exit().unwrap_or(Exit::Normal)),
            Ok(Poll::Pending) => {
                if ctx.is_turn_over() {
                    task.waker().wake_by_ref();
                }
                ctx.take_exit()
            }
        }
    }

    /// Ends the run: drops futures and timers, keeps the mailbox, and reports.
    fn park(&mut self, exit: Exit) {
        self.mode = Mode::Parked;
        if let Some(body) = &mut self.body {
            // A `Drop` that panics must not take the report with it.
            let _ = caught(|| body.0.ctx().futures().clear());
        }
        self.link.report(self.run, What::Exited(Box::new(exit)));
    }
}

/// Runs `work`, turning a panic into an exit.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Exit> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Exit::Panic(panic_text(&*payload)))
}

impl<A: Supervise> Future for Runner<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let _polling = here::polling(this.node.shared_path());
        this.link.order.register(task.waker());
        loop {
            match this.step(task) {
                Flow::Again => {}
                Flow::Wait => return Poll::Pending,
                Flow::Done => break,
            }
        }
        this.node.close();
        // The actor's `Drop` may panic; what is queued is dropped and counted either way.
        let _ = caught(|| this.body = None);
        this.seed = None;
        Poll::Ready(())
    }
}

/// An actor in its context. Dropping it runs no hook and handles no message, unlike actix's own.
struct Body<A: Supervise>(ContextFut<A, Ctx<A>>);

impl<A: Supervise> Drop for Body<A> {
    fn drop(&mut self) {
        self.0.ctx().parts().terminate();
    }
}
