//! What follows when a child's run ends.

use tokio::time::Instant;

use super::super::exit::{Exit, cut};
use super::super::order::Verb;
use super::super::policy::{Restart, Strategy};
use super::super::snapshot::State;
use super::super::tree::Change;
use super::child::Standing;
use super::{Phase, Supervisor};

impl Supervisor {
    /// A child's run ended: by order, by itself, or late.
    pub(super) fn on_exited(&mut self, number: u32, exit: Exit) {
        self.forget_due(number);
        let now = self.tree.clock().now();
        let Some(child) = self.children.get_mut(&number) else { return };
        let before = child.standing;
        child.node.set_exit(&exit);
        let node = child.node.clone();
        self.tree.emit(&node, Change::Exited(exit.clone()));
        match before {
            Standing::Closing(until) => {
                // Only its report that it is gone is still to come.
                self.dues.insert((until, number));
            }
            Standing::Starting | Standing::Up(_) | Standing::Vanished => {
                let up_for = match before {
                    Standing::Up(since) => since.elapsed(),
                    _ => std::time::Duration::ZERO,
                };
                if before != Standing::Vanished {
                    child.standing = Standing::Parked;
                    child.node.set_state(State::Stopped, now);
                }
                if up_for >= child.backoff.reset_after {
                    child.streak = 0;
                }
                self.on_ended(number, &exit);
            }
            Standing::LeftBehind => {
                // Its thread came back after all.
                child.standing = Standing::Parked;
                child.node.set_state(State::Stopped, now);
                if matches!(self.phase, Phase::Running) && !self.is_to_be_stopped(number) {
                    self.start_child(number);
                }
            }
            Standing::Stopping(_) | Standing::Parked | Standing::Backoff(_) | Standing::Finished => {
                child.standing = Standing::Parked;
                child.node.set_state(State::Stopped, now);
            }
        }
    }

    /// Decides by the child's restart policy.
    fn on_ended(&mut self, number: u32, exit: &Exit) {
        let Some(child) = self.children.get_mut(&number) else { return };
        let is_restarted = match child.restart {
            Restart::Permanent => true,
            Restart::Transient => exit.is_failure(),
            Restart::Temporary => false,
        };
        if !is_restarted {
            child.sequel().keeps_row = child.restart == Restart::Transient;
            self.close_child(number, Verb::Close);
            return;
        }
        if matches!(self.phase, Phase::Running) && !self.is_to_be_stopped(number) {
            self.on_failure(number, exit);
        }
    }

    /// Counts a failure; restarts the child or its group after a delay, or gives up.
    pub(super) fn on_failure(&mut self, number: u32, exit: &Exit) {
        let now = Instant::now();
        let Some(child) = self.children.get_mut(&number) else { return };
        if child.standing == Standing::Vanished {
            let reason = cut(format_args!("`{}` cannot be restarted: {exit}", child.node.path()));
            return self.give_up(number, reason);
        }
        let window = if self.is_per_child { &mut child.window } else { &mut self.window };
        if window.exceeds(now, self.intensity) {
            let (failures, period) = (self.intensity.restarts + 1, self.intensity.period);
            let path = child.node.path();
            let reason = cut(format_args!("{failures} failures in {period:?}, the last of `{path}`: {exit}"));
            return self.give_up(number, reason);
        }
        child.streak = child.streak.saturating_add(1);
        let delay = child.backoff.delay(child.streak, self.tree.chance());
        let due = now + delay;
        child.node.set_state(State::Backoff, self.tree.clock().now());
        child.settle_add();
        let node = child.node.clone();
        if self.strategy == Strategy::OneForOne {
            child.standing = Standing::Backoff(due);
            self.dues.insert((due, number));
        }
        self.tree.count_restart(node.role(), exit);
        self.tree.emit(&node, Change::RestartIn(delay));
        if self.strategy != Strategy::OneForOne {
            self.restart_group(number, due);
        }
    }

    /// Too many failures: a wide supervisor removes the child, another one passes it on.
    fn give_up(&mut self, number: u32, reason: String) {
        let Some(child) = self.children.get_mut(&number) else { return };
        if self.is_per_child {
            child.sequel().given_up = Some(reason.clone());
            child.sequel().keeps_row = false;
            let node = child.node.clone();
            self.tree.emit(&node, Change::Escalated(reason));
            self.close_child(number, Verb::Close);
        } else {
            self.tree.emit(&self.node, Change::Escalated(reason.clone()));
            self.begin_parking(Exit::Escalated(reason));
        }
    }
}
