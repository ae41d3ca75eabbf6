//! What happens in order: starting all, stopping all, restarting a group.

use tokio::time::Instant;

use super::super::exit::Exit;
use super::super::order::{Verb, What};
use super::super::policy::Strategy;
use super::child::Standing;
use super::{Phase, Supervisor};

/// The number under which the steps' own due time is listed; no child has it.
const STEPS: u32 = u32::MAX;

/// One step; done when its child stands as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start(u32),
    Stop(u32),
    Close(u32),
    /// Not before then.
    At(Instant),
}

impl Supervisor {
    /// Begins a run: all children start in order, with a clean record.
    pub(super) fn begin(&mut self, run: u32) {
        if !matches!(self.phase, Phase::Parked) {
            return;
        }
        self.phase = Phase::Running;
        self.run = run;
        self.owes_up = true;
        self.window.clear();
        for (number, child) in &mut self.children {
            child.streak = 0;
            child.window.clear();
            self.steps.push_back(Step::Start(*number));
        }
    }

    /// Stops all children in reverse order, then parks and reports `exit`.
    pub(super) fn begin_parking(&mut self, exit: Exit) {
        self.phase = Phase::Parking(exit);
        self.replace_steps(Step::Stop);
        if self.is_per_child {
            for number in self.numbers_in_reverse() {
                self.stop_child(number);
            }
        }
    }

    /// Ends all children for good in reverse order, then itself.
    pub(super) fn begin_ending(&mut self, verb: Verb) {
        let exit = match &self.phase {
            Phase::Parked => None,
            Phase::Running if verb == Verb::Kill => Some(Exit::Killed),
            Phase::Running => Some(Exit::Shutdown),
            Phase::Parking(exit) => Some(exit.clone()),
            Phase::Ending(exit) => exit.clone(),
        };
        self.phase = Phase::Ending(exit);
        for child in self.children.values_mut() {
            if let Some(sequel) = &mut child.sequel {
                sequel.keeps_row = false;
            }
        }
        self.replace_steps(Step::Close);
        if self.is_per_child || verb == Verb::Kill {
            for number in self.numbers_in_reverse() {
                self.close_child(number, verb);
            }
        }
    }

    fn replace_steps(&mut self, step: fn(u32) -> Step) {
        self.dues.retain(|(_, number)| *number != STEPS);
        self.steps = self.children.keys().rev().map(|number| step(*number)).collect();
    }

    fn numbers_in_reverse(&self) -> Vec<u32> {
        self.children.keys().rev().copied().collect()
    }

    /// Restarts the failed child's group at `due`: stops it in reverse order, then starts it in order.
    pub(super) fn restart_group(&mut self, failed: u32, due: Instant) {
        let first = match self.strategy {
            Strategy::OneForAll => 0,
            Strategy::OneForOne | Strategy::RestForOne => {
                self.first_to_start().map_or(failed, |n| n.min(failed))
            }
        };
        let due = self.due_of_steps().map_or(due, |earlier| earlier.max(due));
        self.dues.retain(|(_, number)| *number != STEPS);
        self.dues.insert((due, STEPS));
        let group: Vec<u32> = self.children.range(first..).map(|(number, _)| *number).collect();
        self.steps = group.iter().rev().map(|number| Step::Stop(*number)).collect();
        self.steps.push_back(Step::At(due));
        self.steps.extend(group.into_iter().map(Step::Start));
        // The start was disturbed: the parent need not wait for what may take many delays.
        self.report_up();
    }

    /// Whether the steps under way stop this child anyway.
    pub(super) fn is_to_be_stopped(&self, number: u32) -> bool {
        self.steps.contains(&Step::Stop(number))
    }

    fn first_to_start(&self) -> Option<u32> {
        let started = self.steps.iter().filter_map(|step| match step {
            Step::Start(number) => Some(*number),
            _ => None,
        });
        started.min()
    }

    fn due_of_steps(&self) -> Option<Instant> {
        self.steps.iter().find_map(|step| match step {
            Step::At(due) => Some(*due),
            _ => None,
        })
    }

    /// Carries out steps until one has to wait.
    pub(super) fn advance(&mut self) {
        while let Some(step) = self.steps.front().copied() {
            if !self.is_done(step) {
                return;
            }
            // Starting a child that has no thread any more ends in other steps.
            if self.steps.front() == Some(&step) {
                self.steps.pop_front();
            }
        }
        match &self.phase {
            Phase::Running => self.report_up(),
            Phase::Parking(exit) => {
                let exit = Box::new(exit.clone());
                self.phase = Phase::Parked;
                self.link.report(self.run, What::Exited(exit));
            }
            Phase::Parked | Phase::Ending(_) => {}
        }
    }

    /// Sets a step going if it is not; returns whether it is done.
    fn is_done(&mut self, step: Step) -> bool {
        match step {
            Step::At(due) => Instant::now() >= due,
            Step::Start(number) => {
                if matches!(self.standing(number), Some(Standing::Parked | Standing::Vanished)) {
                    self.start_child(number);
                }
                self.standing(number) != Some(Standing::Starting)
            }
            Step::Stop(number) => {
                if !matches!(self.standing(number), Some(Standing::Stopping(_))) {
                    self.stop_child(number);
                }
                !matches!(self.standing(number), Some(Standing::Stopping(_) | Standing::Closing(_)))
            }
            Step::Close(number) => {
                if !matches!(self.standing(number), Some(Standing::Closing(_))) {
                    self.close_child(number, Verb::Close);
                }
                !matches!(self.standing(number), Some(Standing::Closing(_)))
            }
        }
    }

    fn standing(&self, number: u32) -> Option<Standing> {
        self.children.get(&number).map(|child| child.standing)
    }

    /// Tells the parent, once a run, that the children have been started.
    fn report_up(&mut self) {
        if std::mem::take(&mut self.owes_up) {
            self.link.report(self.run, What::Up);
        }
    }
}
