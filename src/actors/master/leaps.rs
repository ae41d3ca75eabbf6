//! Leaps of the wall clock that agents' written times were not moved by yet.
//!
//! One rule: whoever looks what is due moves its times first, and judges by none that are still to be moved. The scheduler
//! lists whose these are and wakes them, again and again until they have done it. Merely to wait after a leap would not do:
//! a restart forgets that there was one, and a command lives shorter than a grace period may last.
//!
//! Outlives every actor: a leap that was noticed is forgotten only once everybody concerned has committed it, or the
//! process ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::domain::id::AgentId;
use crate::domain::leap::LeapWatch;

/// Which times of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Times {
    /// Grace periods of its routes.
    Routes,
    /// Lives of its commands.
    Commands,
}

/// What the master knows of leaps. Cheap to clone; all clones know the same.
#[derive(Clone)]
pub struct Leaps {
    clock: Clock,
    started_at: Instant,
    known: Arc<Mutex<Known>>,
}

struct Known {
    watch: LeapWatch,
    /// Noticed, but nobody has listed yet whom it concerns.
    unlisted: TimeDelta,
    /// What was not committed yet, and by how much it moves.
    behind: BTreeMap<(AgentId, Times), TimeDelta>,
}

impl Leaps {
    /// Starts watching: what the clock did before is not noticed.
    pub fn new(clock: Clock) -> Self {
        let watch = LeapWatch::new(clock.now(), std::time::Duration::ZERO);
        let known = Known { watch, unlisted: TimeDelta::zero(), behind: BTreeMap::new() };
        Self { clock, started_at: Instant::now(), known: Arc::new(Mutex::new(known)) }
    }

    /// Returns when the last leap was noticed, by the clock as it is since.
    pub fn last_leap(&self) -> Option<DateTime<Utc>> {
        self.look(|known| known.watch.last_leap())
    }

    /// Says whether anything is left to do.
    pub fn are_open(&self) -> bool {
        self.look(|known| !known.unlisted.is_zero() || !known.behind.is_empty())
    }

    /// Returns the leap of which nobody has listed yet whom it concerns; zero if there is none.
    pub fn unlisted(&self) -> TimeDelta {
        self.look(|known| known.unlisted)
    }

    /// These times, and no others, move with `leap`.
    pub fn list(&self, leap: TimeDelta, times: impl IntoIterator<Item = (AgentId, Times)>) {
        self.look(|known| {
            known.unlisted -= leap;
            for one in times {
                *known.behind.entry(one).or_default() += leap;
            }
        });
    }

    /// Returns who still has times to move.
    pub fn who_is_behind(&self) -> BTreeSet<AgentId> {
        self.look(|known| known.behind.keys().map(|(agent, _)| agent.clone()).collect())
    }

    /// Returns by how much these times of an agent are to be moved now; zero if they are not.
    pub fn behind(&self, agent: &AgentId, times: Times) -> TimeDelta {
        self.look(|known| known.behind.get(&(agent.clone(), times)).copied().unwrap_or_default())
    }

    /// An agent has committed `leap`; another one may have come meanwhile.
    pub fn moved(&self, agent: &AgentId, times: Times, leap: TimeDelta) {
        self.look(|known| {
            let one = (agent.clone(), times);
            if let Some(left) = known.behind.get_mut(&one) {
                *left -= leap;
                if left.is_zero() {
                    known.behind.remove(&one);
                }
            }
        });
    }

    /// Returns by how much these times of an agent, as they are written down, lag behind the clock.
    pub fn missed_by(&self, agent: &AgentId, times: Times) -> TimeDelta {
        self.look(|known| {
            known.unlisted + known.behind.get(&(agent.clone(), times)).copied().unwrap_or_default()
        })
    }

    /// Every question is a look at the clock: nobody may judge by a leap that the scheduler will notice only later.
    fn look<T>(&self, ask: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock();
        let leap = known.watch.look(self.clock.now(), self.started_at.elapsed());
        known.unlisted += leap.unwrap_or_default();
        ask(&mut known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leap_is_kept_until_all_times_it_concerns_are_moved() {
        let clock = Clock::moved(DateTime::UNIX_EPOCH);
        let leaps = Leaps::new(clock.clone());
        let [one, two, other] = ["one", "two", "other"].map(AgentId::new);
        let (day, none) = (TimeDelta::days(1), TimeDelta::zero());
        assert!(!leaps.are_open());

        clock.jump(day);
        assert_eq!(leaps.missed_by(&other, Times::Routes), day, "nobody knows yet whom it concerns");
        assert_eq!(leaps.behind(&one, Times::Routes), none);
        leaps.list(leaps.unlisted(), [(one.clone(), Times::Routes), (two.clone(), Times::Commands)]);
        assert_eq!(leaps.missed_by(&other, Times::Routes), none);
        assert_eq!(leaps.missed_by(&one, Times::Commands), none, "it had none when the clock leapt");

        clock.jump(day);
        leaps.moved(&one, Times::Routes, day);
        assert_eq!(leaps.missed_by(&one, Times::Routes), day, "the second one came meanwhile");
        assert_eq!(leaps.missed_by(&two, Times::Commands), day * 2);
        leaps.list(leaps.unlisted(), [(two.clone(), Times::Commands)]);
        assert_eq!(leaps.who_is_behind(), [two.clone()].into());
        assert_eq!(leaps.behind(&two, Times::Commands), day * 2);
        leaps.moved(&two, Times::Commands, day * 2);
        assert!(!leaps.are_open());
    }
}
