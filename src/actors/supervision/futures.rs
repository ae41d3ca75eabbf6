//! The futures an actor has under way, held so that they can be dropped the moment a run ends.
//!
//! Actix keeps them inside the context until the restart, and its `cancel_future` can hit the next
//! run's future of the same number. Here each future lies in a cell of ours: cancelling empties the
//! cell, and what actix keeps is an empty shell.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Actor, ActorFuture, SpawnHandle};
use tokio::time::Sleep;
use tracing::Span;

use super::ctx::Ctx;
use super::exit::Exit;
use super::node::{AtWork, Node};

type BoxedFuture<A> = Pin<Box<dyn ActorFuture<A, Output = ()>>>;

/// All futures under way, by number.
pub(super) struct Futures<A: Actor<Context = Ctx<A>>> {
    /// Sorted by id, because ids only grow.
    entries: Vec<Entry<A>>,
    next_id: u64,
}

struct Entry<A: Actor<Context = Ctx<A>>> {
    id: u64,
    handle: Option<SpawnHandle>,
    /// Whether a stop waits for it: a handler's answer, or one that blocks the mailbox.
    is_awaited: bool,
    held: Rc<Held<A>>,
}

struct Held<A: Actor<Context = Ctx<A>>> {
    inside: RefCell<Option<Inside<A>>>,
    is_cancelled: Cell<bool>,
}

struct Inside<A> {
    future: BoxedFuture<A>,
    /// Made at the first poll that does not finish.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<A: Actor<Context = Ctx<A>>> Held<A> {
    /// Drops the future, or has it dropped at the end of the poll that is under way.
    fn cancel(&self) {
        self.is_cancelled.set(true);
        if let Ok(mut inside) = self.inside.try_borrow_mut() {
            let dropped = inside.take();
            drop(inside);
            drop(dropped);
        }
    }
}

/// What limits a handler's future.
pub(super) struct Limit {
    pub(super) max: Duration,
    pub(super) what: &'static str,
}

/// The shell actix polls.
pub(super) struct Shell<A: Actor<Context = Ctx<A>>> {
    held: Rc<Held<A>>,
    id: u64,
    limit: Option<Limit>,
    span: Span,
    /// For a handler's answer.
    _at_work: Option<AtWork>,
}

impl<A: Actor<Context = Ctx<A>>> Futures<A> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), next_id: 0 }
    }

    /// Takes a future in and returns the shell to give to actix. A limited one is work of `node`.
    pub(super) fn hold(
        &mut self,
        future: BoxedFuture<A>,
        limit: Option<Limit>,
        node: &Arc<Node>,
    ) -> Shell<A> {
        let inside = RefCell::new(Some(Inside { future, limit: None }));
        let held = Rc::new(Held { inside, is_cancelled: Cell::new(false) });
        let id = self.next_id;
        self.next_id += 1;
        let is_awaited = limit.is_some();
        self.entries.push(Entry { id, handle: None, is_awaited, held: held.clone() });
        let span = if is_awaited { Span::current() } else { Span::none() };
        Shell { held, id, limit, span, _at_work: is_awaited.then(|| AtWork::begin(node)) }
    }

    /// Notes actix's handle of the future taken in last.
    pub(super) fn set_handle(&mut self, handle: SpawnHandle) {
        if let Some(entry) = self.entries.last_mut() {
            entry.handle = Some(handle);
        }
    }

    /// Drops the future behind `handle`; returns whether there was one.
    pub(super) fn cancel(&mut self, handle: SpawnHandle) -> bool {
        let Some(at) = self.entries.iter().position(|entry| entry.handle == Some(handle)) else {
            return false;
        };
        self.entries.remove(at).held.cancel();
        true
    }

    /// Drops all futures.
    pub(super) fn clear(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            entry.held.cancel();
        }
    }

    /// Whether a handler's answer is under way.
    pub(super) fn any_awaited(&self) -> bool {
        // Actix drops a waiting shell by itself when its actor stops; then only the entry is left.
        self.entries.iter().any(|entry| entry.is_awaited && Rc::strong_count(&entry.held) > 1)
    }

    fn remove(&mut self, id: u64) {
        if let Ok(at) = self.entries.binary_search_by_key(&id, |entry| entry.id) {
            self.entries.remove(at);
        }
    }
}

impl<A: Actor<Context = Ctx<A>>> Drop for Shell<A> {
    fn drop(&mut self) {
        self.held.cancel();
    }
}

impl<A: Actor<Context = Ctx<A>>> ActorFuture<A> for Shell<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Ctx<A>, task: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let polled = this.poll_inside(actor, ctx, task);
        if polled.is_ready() || this.held.is_cancelled.get() {
            ctx.futures().remove(this.id);
            this.held.cancel();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<A: Actor<Context = Ctx<A>>> Shell<A> {
    fn poll_inside(&mut self, actor: &mut A, ctx: &mut Ctx<A>, task: &mut Context<'_>) -> Poll<()> {
        let mut inside = self.held.inside.borrow_mut();
        let Some(inside) = inside.as_mut() else { return Poll::Ready(()) };
        {
            let _entered = self.span.enter();
            if inside.future.as_mut().poll(actor, ctx, task).is_ready() {
                return Poll::Ready(());
            }
        }
        let Some(limit) = &self.limit else { return Poll::Pending };
        let sleep = inside.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit.max)));
        if sleep.as_mut().poll(task).is_pending() {
            return Poll::Pending;
        }
        let Limit { max, what } = limit;
        ctx.end(Exit::Stuck(format!("the handler of `{what}` passed its deadline of {max:?}")));
        Poll::Ready(())
    }
}
