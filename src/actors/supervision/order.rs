//! How a supervisor and a child talk: an order cell one way, reports into an inbox the other way.
//!
//! An order is a level, not a queue: a child compares the cell with what it is doing, so a later order
//! replaces an earlier one and nothing is allocated. Every start carries a run number, and every report
//! names the run it is about, so that a report that crossed an order on its way is recognised as old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::exit::Exit;
use super::handle::{AddError, RemoveError};
use super::spec::ChildSpec;

/// What a child is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Nothing yet.
    Wait,
    /// Run.
    Start,
    /// Stop within the grace, keep mailbox and address.
    Stop,
    /// Handle what is queued, stop within the grace, and end for good.
    Close,
    /// End for good, now.
    Kill,
}

/// An order: the verb and the run it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) run: u32,
}

/// The cell that holds a child's latest order.
#[derive(Default)]
pub(super) struct Order {
    word: AtomicU64,
    waker: AtomicWaker,
}

impl Order {
    /// Replaces the order.
    pub(super) fn give(&self, verb: Verb, run: u32) {
        let verb = match verb {
            Verb::Wait => 0,
            Verb::Start => 1,
            Verb::Stop => 2,
            Verb::Close => 3,
            Verb::Kill => 4,
        };
        self.word.store(u64::from(run) << 8 | verb, Ordering::Release);
        self.waker.wake();
    }

    /// Returns the latest order.
    pub(super) fn latest(&self) -> Command {
        let word = self.word.load(Ordering::Acquire);
        let verb = match word & 0xff {
            0 => Verb::Wait,
            1 => Verb::Start,
            2 => Verb::Stop,
            3 => Verb::Close,
            _ => Verb::Kill,
        };
        Command { verb, run: u32::try_from(word >> 8).expect("written from 32 bits") }
    }

    /// Wakes `waker` at the next order.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// What a child reports.
#[derive(Debug)]
pub(super) enum What {
    /// `started` ran and the first poll came back.
    Up,
    /// The run ended; the child is parked.
    Exited(Box<Exit>),
    /// The child ended for good.
    Gone,
}

/// A report of child `child` about its run `run`.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) child: u32,
    pub(super) run: u32,
    pub(super) what: What,
}

/// What other code asks of a supervisor.
pub(super) enum Request {
    Add(ChildSpec, oneshot::Sender<Result<(), AddError>>),
    Remove(String, Option<oneshot::Sender<Result<(), RemoveError>>>),
}

/// One item of a supervisor's inbox; requests are rare and boxed to keep the queue slots small.
pub(super) enum Mail {
    Report(Report),
    Request(Box<Request>),
}

/// A supervisor's inbox. Costs nothing while empty, unlike a tokio channel's 32 slots.
///
/// Bounded by its senders: a child has at most three reports under way, and who requests waits.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Queue {
    mail: VecDeque<Mail>,
    is_closed: bool,
}

impl Inbox {
    /// Appends `mail`; after [`close`](Self::close) it is dropped.
    pub(super) fn push(&self, mail: Mail) {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            // A request's drop takes the answer channel with it; that must not happen under the lock.
            drop(queue);
            drop(mail);
            return;
        }
        queue.mail.push_back(mail);
        drop(queue);
        self.waker.wake();
    }

    /// Takes the oldest item.
    pub(super) fn pop(&self) -> Option<Mail> {
        self.queue.lock().mail.pop_front()
    }

    /// Wakes `waker` at the next item.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Drops what is queued and whatever comes later.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let left = std::mem::take(&mut queue.mail);
        drop(queue);
        drop(left);
    }
}

/// A child's end of the line to its supervisor. Dropping it reports `Gone`, so that a child lost with
/// its thread or runtime is noticed.
pub(super) struct Link {
    pub(super) order: Arc<Order>,
    inbox: Arc<Inbox>,
    child: u32,
}

impl Link {
    /// Connects child `child` with the inbox of its supervisor.
    pub(super) fn new(order: Arc<Order>, inbox: Arc<Inbox>, child: u32) -> Self {
        Self { order, inbox, child }
    }

    /// Reports about run `run`.
    pub(super) fn report(&self, run: u32, what: What) {
        self.inbox.push(Mail::Report(Report { child: self.child, run, what }));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.report(0, What::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_order_counts_and_reports_stay_small() {
        let order = Order::default();
        order.give(Verb::Start, 7);
        order.give(Verb::Kill, u32::MAX);
        assert_eq!(order.latest(), Command { verb: Verb::Kill, run: u32::MAX });
        assert!(size_of::<What>() <= 16 && size_of::<Mail>() <= 32);
    }

    #[test]
    fn a_lost_child_reports_gone_and_a_closed_inbox_takes_nothing() {
        let inbox = Arc::new(Inbox::default());
        drop(Link::new(Arc::default(), inbox.clone(), 3));
        assert!(matches!(inbox.pop(), Some(Mail::Report(Report { child: 3, what: What::Gone, .. }))));
        inbox.close();
        drop(Link::new(Arc::default(), inbox.clone(), 4));
        assert!(inbox.pop().is_none());
    }
}
