//! The choices a child specification makes: when to restart, how soon, how often, and what a full
//! mailbox does.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::chance::Chance;

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure; a normal end is its end for good.
    Transient,
    /// Never; it leaves the tree when it ends.
    Temporary,
}

/// Which siblings are restarted with a failed child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    OneForOne,
    /// All of them: stopped in reverse order, started in order.
    OneForAll,
    /// Those that start after it.
    RestForOne,
}

/// What happens to a message when the mailbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The sender gets it back.
    Reject,
    /// It is dropped and counted.
    DropNewest,
    /// It is taken, and the oldest waiting one is dropped and counted.
    DropOldest,
}

impl Overflow {
    /// Returns the metric label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
        }
    }
}

/// How long to wait before a restart: `min` doubled per failure in a row, at most `max`, with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Delay after the first failure.
    pub min: Duration,
    /// Longest delay before jitter.
    pub max: Duration,
    /// Share of the delay it may deviate by, in either direction.
    pub jitter: f64,
    /// Time up after which a failure counts as the first again.
    pub reset_after: Duration,
}

impl Backoff {
    /// Returns the delay before the restart after failure number `streak` (from 1) in a row.
    pub fn delay(&self, streak: u32, chance: &Chance) -> Duration {
        let doubled = self.min.saturating_mul(2_u32.saturating_pow(streak.saturating_sub(1)));
        let delay = doubled.min(self.max);
        if self.jitter > 0.0 { chance.jitter(delay, self.jitter) } else { delay }
    }
}

impl Default for Backoff {
    /// 200 ms to 30 s, a fifth of jitter, reset after a minute up.
    fn default() -> Self {
        Self {
            min: Duration::from_millis(200),
            max: Duration::from_secs(30),
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// How many failures within a period are answered with a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intensity {
    pub(super) restarts: usize,
    pub(super) period: Duration,
}

/// The failures of the running period.
#[derive(Default)]
pub(super) struct Window(VecDeque<Instant>);

impl Window {
    /// Records a failure; returns whether there are now more than `limit` allows.
    pub(super) fn exceeds(&mut self, now: Instant, limit: Intensity) -> bool {
        while self.0.front().is_some_and(|oldest| now.duration_since(*oldest) >= limit.period) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() > limit.restarts
    }

    /// Forgets all failures.
    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_stops_at_the_cap_and_repeats_from_its_seed() {
        let backoff = Backoff {
            min: Duration::from_secs(1),
            max: Duration::from_secs(6),
            jitter: 0.0,
            ..Backoff::default()
        };
        let chance = Chance::seeded(1);
        let delays: Vec<u64> = (1..6).map(|n| backoff.delay(n, &chance).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 6, 6]);

        let jittered = Backoff { jitter: 0.5, ..backoff };
        let (a, b) = (Chance::seeded(7), Chance::seeded(7));
        assert_eq!(jittered.delay(3, &a), jittered.delay(3, &b));
        assert!((2000..=6000).contains(&jittered.delay(3, &a).as_millis()));
        assert!(jittered.delay(u32::MAX, &a) <= Duration::from_secs(9), "a huge streak does not overflow");
    }
}
