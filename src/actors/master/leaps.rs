//! Leaps of the wall clock that agents' written times were not moved by yet.
//!
//! Outlives every actor: a leap that was noticed is forgotten only once each agent concerned has committed it, or the
//! process ends. Until then whoever judges by the clock asks here what the times it reads have missed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::domain::id::AgentId;
use crate::domain::leap::LeapWatch;

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
    /// Who has not committed yet by how much its times move.
    behind: BTreeMap<AgentId, TimeDelta>,
}

impl Leaps {
    /// Starts watching: what the clock did before is not noticed.
    pub fn new(clock: Clock) -> Self {
        let watch = LeapWatch::new(clock.now(), std::time::Duration::ZERO);
        let known = Known { watch, unlisted: TimeDelta::zero(), behind: BTreeMap::new() };
        Self { clock, started_at: Instant::now(), known: Arc::new(Mutex::new(known)) }
    }

    /// Says whether anything is left to do, after another look at the clock.
    pub fn are_open(&self) -> bool {
        self.look(|known| !known.unlisted.is_zero() || !known.behind.is_empty())
    }

    /// Returns the leap of which nobody has listed yet whom it concerns; zero if there is none.
    pub fn unlisted(&self) -> TimeDelta {
        self.look(|known| known.unlisted)
    }

    /// These agents, and no others, have times that move with `leap`.
    pub fn list(&self, leap: TimeDelta, agents: impl IntoIterator<Item = AgentId>) {
        self.look(|known| {
            known.unlisted -= leap;
            for agent in agents {
                *known.behind.entry(agent).or_default() += leap;
            }
        });
    }

    /// Returns whose times are still to be moved, and by how much.
    pub fn behind(&self) -> Vec<(AgentId, TimeDelta)> {
        self.look(|known| known.behind.iter().map(|(agent, leap)| (agent.clone(), *leap)).collect())
    }

    /// An agent has committed `leap`; another one may have come meanwhile.
    pub fn moved(&self, agent: &AgentId, leap: TimeDelta) {
        self.look(|known| {
            if let Some(left) = known.behind.get_mut(agent) {
                *left -= leap;
                if left.is_zero() {
                    known.behind.remove(agent);
                }
            }
        });
    }

    /// Returns by how much the times that are written down of an agent are still to be moved.
    pub fn missed_by(&self, agent: &AgentId) -> TimeDelta {
        self.look(|known| known.unlisted + known.behind.get(agent).copied().unwrap_or_default())
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
    use chrono::DateTime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leap_is_kept_until_every_agent_it_concerns_has_moved_its_times() {
        let clock = Clock::moved(DateTime::UNIX_EPOCH);
        let leaps = Leaps::new(clock.clone());
        let [one, two, other] = ["one", "two", "other"].map(AgentId::new);
        let day = TimeDelta::days(1);
        assert!(!leaps.are_open());

        clock.jump(day);
        assert_eq!(leaps.missed_by(&other), day, "nobody knows yet whom it concerns");
        leaps.list(leaps.unlisted(), [one.clone(), two.clone()]);
        assert_eq!(leaps.missed_by(&other), TimeDelta::zero());

        clock.jump(day);
        leaps.moved(&one, day);
        assert_eq!(leaps.missed_by(&one), day, "the second one came meanwhile");
        assert_eq!(leaps.missed_by(&two), day * 2);
        leaps.list(leaps.unlisted(), [two.clone()]);
        assert_eq!(leaps.behind(), [(two.clone(), day * 2)]);
        leaps.moved(&two, day * 2);
        assert!(!leaps.are_open());
    }
}
