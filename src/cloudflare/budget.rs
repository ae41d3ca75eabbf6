//! How many calls an account may still make: Cloudflare allows 1,200 in 5 minutes and then blocks everything.

use std::time::Duration;

use tokio::time::Instant;

/// What Cloudflare allows, in words.
pub const ALLOWANCE: &str = "Cloudflare allows 1,200 calls in 5 minutes";
/// Calls that may be made at once, and calls a second after that. Together they stay at Cloudflare's limit in
/// every window of 5 minutes: 300 + 300 s x 3.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 3.0;
/// The part of it that reads in the background may use.
const BACKGROUND_SHARE: f64 = 0.25;

/// Who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits for it.
    Change,
    /// A check that can wait; limited to a quarter of the budget.
    Background,
}

/// A token bucket for one account, with a smaller one inside for background reads.
///
/// Time is an argument, so that the rules can be tested without waiting.
#[derive(Debug)]
pub struct Budget {
    all: Bucket,
    background: Bucket,
    blocked_until: Option<Instant>,
}

impl Budget {
    /// Starts full.
    pub fn new(now: Instant) -> Self {
        Self {
            all: Bucket::new(BURST, PER_SECOND, now),
            background: Bucket::new(BURST * BACKGROUND_SHARE, PER_SECOND * BACKGROUND_SHARE, now),
            blocked_until: None,
        }
    }

    /// Takes the right to make one call, or says how long to wait before asking again.
    pub fn take(&mut self, now: Instant, class: Class) -> Result<(), Duration> {
        if let Some(wait) = self.blocked_until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            return Err(wait);
        }
        self.blocked_until = None;
        let wait = match class {
            Class::Change => self.all.wait(now),
            Class::Background => self.all.wait(now).max(self.background.wait(now)),
        };
        if !wait.is_zero() {
            return Err(wait);
        }
        self.all.tokens -= 1.0;
        if class == Class::Background {
            self.background.tokens -= 1.0;
        }
        Ok(())
    }

    /// Holds every call back for `wait`, because Cloudflare asked for it.
    pub fn block(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        self.blocked_until = Some(self.blocked_until.map_or(until, |before| before.max(until)));
    }

    /// True if it was Cloudflare who asked to wait, and not only our own count.
    pub fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    /// Returns how many calls could be made now.
    pub fn left(&mut self, now: Instant) -> u32 {
        self.all.fill(now);
        self.all.tokens as u32
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    capacity: f64,
    per_second: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(capacity: f64, per_second: f64, now: Instant) -> Self {
        Self { tokens: capacity, capacity, per_second, filled_at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.capacity);
        self.filled_at = self.filled_at.max(now);
    }

    fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.tokens >= 1.0 {
            return Duration::ZERO;
        }
        // Rounded up to a millisecond, so that whoever waits that long does get one.
        let seconds = (1.0 - self.tokens) / self.per_second;
        Duration::from_millis((seconds * 1000.0).ceil() as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn calls_in_window(class: Class) -> u32 {
        let start = Instant::now();
        let (mut budget, mut now, mut calls) = (Budget::new(start), start, 0);
        while now < start + WINDOW {
            match budget.take(now, class) {
                Ok(()) => calls += 1,
                Err(wait) => now += wait,
            }
        }
        calls
    }

    #[test]
    fn five_minutes_never_hold_more_than_1200_calls() {
        let calls = calls_in_window(Class::Change);
        assert!((1190..=1200).contains(&calls), "{calls}");
    }

    #[test]
    fn background_reads_use_at_most_a_quarter() {
        let calls = calls_in_window(Class::Background);
        assert!((290..=300).contains(&calls), "{calls}");
    }

    #[test]
    fn background_reads_leave_the_rest_to_changes() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.take(now, Class::Background).is_ok() {}
        assert_eq!(budget.left(now), 225);
        assert_eq!(budget.take(now, Class::Change), Ok(()));
    }

    #[test]
    fn the_wait_it_names_is_long_enough() {
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.take(now, Class::Change).is_ok() {}
        for _ in 0..100 {
            now += budget.take(now, Class::Change).expect_err("empty");
            assert_eq!(budget.take(now, Class::Change), Ok(()));
        }
    }

    #[test]
    fn a_block_holds_everything_back_until_it_ends() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.block(now, Duration::from_secs(60));
        budget.block(now, Duration::from_secs(10));
        assert_eq!(budget.take(now, Class::Change), Err(Duration::from_secs(60)));
        assert!(budget.is_blocked(now) && !budget.is_blocked(now + Duration::from_secs(60)));
        assert_eq!(budget.take(now + Duration::from_secs(60), Class::Change), Ok(()));
    }

    #[test]
    fn a_clock_that_stands_still_gives_no_calls_away() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.take(now, Class::Change).is_ok() {}
        assert!(budget.take(now, Class::Change).is_err());
        assert_eq!(budget.left(now), 0);
    }
}
