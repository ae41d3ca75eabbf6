//! The limit on requests of one agent, which an operator may set.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

/// How often agents that are quiet are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Counts the requests of each agent. What it remembers is bounded: only agents heard within the last minute.
pub struct AgentLimit<C: Clock = DefaultClock> {
    limiter: RateLimiter<String, DashMapStateStore<String>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    tidied_at: Mutex<C::Instant>,
}

impl AgentLimit {
    /// Lets each agent send `per_second` requests a second.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self::with_clock(per_second, DefaultClock::default())
    }
}

impl<C: Clock + Clone> AgentLimit<C> {
    fn with_clock(per_second: NonZeroU32, clock: C) -> Self {
        let limiter =
            RateLimiter::new(Quota::per_second(per_second), DashMapStateStore::default(), clock.clone());
        Self { limiter, tidied_at: Mutex::new(clock.now()), clock }
    }

    /// False if an agent sends more than its share.
    pub fn lets(&self, agent: &str) -> bool {
        self.tidy_if_due();
        self.limiter.check_key(&agent.to_owned()).is_ok()
    }

    /// The requests themselves are the timer: where none come, nothing grows.
    fn tidy_if_due(&self) {
        let now = self.clock.now();
        // Whoever holds the lock tidies; nobody waits for it.
        let Some(mut tidied_at) = self.tidied_at.try_lock() else { return };
        if Duration::from(now.duration_since(*tidied_at)) >= TIDY_EVERY {
            *tidied_at = now;
            drop(tidied_at);
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn agents_that_are_quiet_are_forgotten_and_others_stay_limited() {
        let clock = FakeRelativeClock::default();
        let limit = AgentLimit::with_clock(NonZeroU32::MIN, clock.clone());
        for n in 0..5_000 {
            assert!(limit.lets(&format!("agent-{n}")));
        }
        assert!(!limit.lets("agent-7"), "one a second");
        assert_eq!(limit.limiter.len(), 5_000);

        clock.advance(TIDY_EVERY - Duration::from_millis(500));
        assert!(limit.lets("busy"));
        clock.advance(Duration::from_millis(500));

        assert!(!limit.lets("busy"), "tidying forgives nobody");
        assert_eq!(limit.limiter.len(), 1);
    }
}
