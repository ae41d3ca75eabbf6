//! One child as its supervisor sees it, and the orders it is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::exit::Exit;
use super::super::handle::{AddError, RemoveError};
use super::super::node::Node;
use super::super::order::{Link, Order, Verb};
use super::super::policy::{Backoff, Restart, Window};
use super::super::snapshot::State;
use super::super::spec::{ChildSpec, STUCK_AFTER};
use super::super::tree::Change;
use super::Supervisor;

/// A child.
pub(super) struct Child {
    pub(super) node: Arc<Node>,
    pub(super) order: Arc<Order>,
    pub(super) restart: Restart,
    pub(super) backoff: Backoff,
    grace: Duration,
    pub(super) standing: Standing,
    pub(super) run: u32,
    /// Failures in a row.
    pub(super) streak: u32,
    /// Failures in the period; used by wide supervisors.
    pub(super) window: Window,
    pub(super) sequel: Option<Box<Sequel>>,
}

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Parked,
    Starting,
    Up(Instant),
    /// Starts again then.
    Backoff(Instant),
    /// Is to be parked by then.
    Stopping(Instant),
    /// Is to be gone by then.
    Closing(Instant),
    /// Its mailbox is closed; kept for its row.
    Finished,
    /// Its task went with its thread.
    Vanished,
    LeftBehind,
}

/// Who waits for a child, and what becomes of it when it is gone.
#[derive(Default)]
pub(super) struct Sequel {
    added: Option<oneshot::Sender<Result<(), AddError>>>,
    removed: Vec<oneshot::Sender<Result<(), RemoveError>>>,
    /// Its row stays when it is gone.
    pub(super) keeps_row: bool,
    /// Why a wide supervisor gave it up.
    pub(super) given_up: Option<String>,
}

impl Child {
    pub(super) fn sequel(&mut self) -> &mut Sequel {
        self.sequel.get_or_insert_default()
    }

    pub(super) fn await_add(&mut self, reply: oneshot::Sender<Result<(), AddError>>) {
        self.sequel().added = Some(reply);
    }

    pub(super) fn await_removal(&mut self, reply: Option<oneshot::Sender<Result<(), RemoveError>>>) {
        let sequel = self.sequel();
        sequel.keeps_row = false;
        sequel.removed.extend(reply);
    }

    /// Tells who added the child that it is in.
    pub(super) fn settle_add(&mut self) {
        if let Some(reply) = self.sequel.as_mut().and_then(|sequel| sequel.added.take()) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Tells who removed the child how that went.
    pub(super) fn settle_removal(&mut self, outcome: &Result<(), RemoveError>) {
        for reply in
            self.sequel.as_mut().map(|sequel| std::mem::take(&mut sequel.removed)).unwrap_or_default()
        {
            let _ = reply.send(outcome.clone());
        }
    }
}

impl Supervisor {
    /// Takes a child in, parked; returns its number.
    pub(super) fn install(&mut self, spec: ChildSpec) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        let order = Arc::new(Order::default());
        self.tree.place(Some(self.node.path()), &spec.node, spec.inbox().cloned());
        let child = Child {
            node: spec.node.clone(),
            order: order.clone(),
            restart: spec.restart,
            backoff: spec.backoff,
            grace: spec.stop_time(),
            standing: Standing::Parked,
            run: 0,
            streak: 0,
            window: Window::default(),
            sequel: None,
        };
        self.names.insert(spec.name().into(), number);
        self.children.insert(number, child);
        spec.launch(Link::new(order, self.inbox.clone(), number), self.tree.clone());
        number
    }

    /// Starts a parked child.
    pub(super) fn start_child(&mut self, number: u32) {
        let now = self.tree.clock().now();
        let Some(child) = self.children.get_mut(&number) else { return };
        match child.standing {
            Standing::Parked | Standing::Backoff(_) => {
                self.forget_due(number);
                let child = self.children.get_mut(&number).expect("looked up above");
                child.run = child.run.wrapping_add(1);
                child.standing = Standing::Starting;
                child.node.set_state(State::Starting, now);
                child.order.give(Verb::Start, child.run);
            }
            Standing::Vanished => self.on_failure(number, &Exit::Error("its thread has ended".into())),
            _ => {}
        }
    }

    /// Has a child stop and park.
    pub(super) fn stop_child(&mut self, number: u32) {
        let now = self.tree.clock().now();
        self.forget_due(number);
        let Some(child) = self.children.get_mut(&number) else { return };
        match child.standing {
            Standing::Starting | Standing::Up(_) => {
                let until = Instant::now() + child.grace + STUCK_AFTER;
                child.standing = Standing::Stopping(until);
                child.node.set_state(State::Stopping, now);
                child.order.give(Verb::Stop, child.run);
                self.dues.insert((until, number));
            }
            Standing::Backoff(_) => {
                child.standing = Standing::Parked;
                child.node.set_state(State::Stopped, now);
            }
            Standing::Stopping(until) => {
                // Its due was forgotten above.
                self.dues.insert((until, number));
            }
            Standing::Parked | Standing::Closing(_) | Standing::Finished => {}
            Standing::Vanished | Standing::LeftBehind => {}
        }
    }

    /// Has a child end for good, by [`Verb::Close`] or [`Verb::Kill`].
    pub(super) fn close_child(&mut self, number: u32, verb: Verb) {
        let now = self.tree.clock().now();
        self.forget_due(number);
        let Some(child) = self.children.get_mut(&number) else { return };
        if matches!(child.standing, Standing::Finished | Standing::Vanished) {
            self.bury(number);
            return;
        }
        let was_left = child.standing == Standing::LeftBehind;
        let grace = if verb == Verb::Kill { Duration::ZERO } else { child.grace };
        let until = Instant::now() + grace + STUCK_AFTER;
        child.order.give(verb, child.run);
        child.settle_add();
        if was_left {
            return;
        }
        child.standing = Standing::Closing(until);
        child.node.set_state(State::Stopping, now);
        self.dues.insert((until, number));
    }

    /// A child's time to stop is over, which its runner would have noticed: its thread is stuck.
    pub(super) fn leave_behind(&mut self, number: u32) {
        let Some(child) = self.children.get_mut(&number) else { return };
        child.standing = Standing::LeftBehind;
        let exit = Exit::Stuck("its thread does not come back".into());
        child.node.set_exit(&exit);
        child.node.set_state(State::LeftBehind, self.tree.clock().now());
        let node = child.node.clone();
        child.settle_removal(&Err(RemoveError::LeftBehind(node.name().to_owned())));
        self.tree.emit(&node, Change::Exited(exit));
        self.tree.emit(&node, Change::LeftBehind);
    }

    /// The task of a child has ended.
    pub(super) fn on_gone(&mut self, number: u32) {
        self.forget_due(number);
        let now = self.tree.clock().now();
        let Some(child) = self.children.get_mut(&number) else { return };
        let is_expected = matches!(child.standing, Standing::Closing(_))
            || (child.standing == Standing::LeftBehind && child.order.latest().verb != Verb::Stop);
        if is_expected {
            if child.sequel.as_ref().is_some_and(|sequel| sequel.keeps_row) {
                child.standing = Standing::Finished;
                child.node.set_state(State::Finished, now);
            } else {
                self.bury(number);
            }
            return;
        }
        let was_running = matches!(child.standing, Standing::Starting | Standing::Up(_));
        child.standing = Standing::Vanished;
        child.node.set_state(State::Finished, now);
        if was_running {
            self.on_exited(number, Exit::Error("its thread has ended".into()));
        }
    }

    /// Takes a child out of the tree.
    pub(super) fn bury(&mut self, number: u32) {
        let Some(mut child) = self.children.remove(&number) else { return };
        self.names.remove(child.node.name());
        self.tree.displace(child.node.path());
        self.tree.emit(&child.node, Change::Removed);
        child.settle_removal(&Ok(()));
        let given_up = child.sequel.and_then(|sequel| sequel.given_up);
        if let (Some(reason), Some(hook)) = (given_up, &self.given_up) {
            hook(child.node.name(), &reason);
        }
    }

    /// Takes a child's due time off the list.
    pub(super) fn forget_due(&mut self, number: u32) {
        let Some(child) = self.children.get(&number) else { return };
        if let Standing::Backoff(at) | Standing::Stopping(at) | Standing::Closing(at) = child.standing {
            self.dues.remove(&(at, number));
        }
    }
}
