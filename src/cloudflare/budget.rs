//! How many calls an account may still make: Cloudflare allows 1,200 in 5 minutes and then blocks everything.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// What Cloudflare allows, in words.
pub const ALLOWANCE: &str = "Cloudflare allows 1,200 calls in 5 minutes";
/// Calls that may be made at once, and calls a second after that. Together they stay at Cloudflare's limit in
/// every window of 5 minutes: 300 + 300 s x 3.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 3.0;
/// The part of it that reads in the background may use.
const BACKGROUND_SHARE: f64 = 0.25;

/// What may be made if nobody knows what was made in the last minutes.
const UNKNOWN: f64 = BURST / 2.0;
/// Calls that one note covers: so many are counted as made before they are. The fewer, the more often it is written.
pub(super) const COVERED: u32 = 30;
/// Cloudflare blocks for 5 minutes at most; a note that says more was written by another clock.
const LONGEST_BLOCK: Duration = Duration::from_secs(600);

/// What is kept of a budget over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetNote {
    /// Calls that could be made then; fewer than none if some were counted in advance.
    pub calls_left: i64,
    /// When that was so.
    pub at: DateTime<Utc>,
    /// Until when Cloudflare asked to make none at all.
    pub blocked_until: Option<DateTime<Utc>>,
}

/// Where a budget is noted.
#[async_trait]
pub trait BudgetKeeper: Send + Sync {
    /// The time of day.
    fn now(&self) -> DateTime<Utc>;

    /// Returns the last note; none if there is none, or it cannot be read.
    async fn last(&self) -> Option<BudgetNote>;

    /// Writes a note. Should that fail it is said in the log: the count in memory holds all the same.
    async fn keep(&self, note: BudgetNote);
}

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

    /// Goes on from what was noted before a restart; carefully if nothing was.
    pub fn resume(&mut self, now: Instant, today: DateTime<Utc>, note: Option<BudgetNote>) {
        let left = note.map_or(UNKNOWN, |note| {
            let passed = (today - note.at).to_std().unwrap_or_default();
            note.calls_left as f64 + passed.as_secs_f64() * PER_SECOND
        });
        self.all.set(now, left);
        self.background.set(now, left * BACKGROUND_SHARE);
        let blocked_until = note.and_then(|note| note.blocked_until);
        if let Some(wait) = blocked_until.and_then(|until| (until - today).to_std().ok()) {
            self.block(now, wait.min(LONGEST_BLOCK));
        }
    }

    /// What to note now, if `count` calls are counted in advance.
    pub fn note(&mut self, now: Instant, today: DateTime<Utc>, count: u32) -> BudgetNote {
        self.all.fill(now);
        let wait = self.blocked_until.and_then(|until| until.checked_duration_since(now));
        BudgetNote {
            calls_left: self.all.tokens.floor() as i64 - i64::from(count),
            at: today,
            blocked_until: wait.filter(|wait| !wait.is_zero()).map(|wait| today + wait),
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

/// How a budget stands, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetView {
    /// Calls that could be made now.
    pub left: u32,
    /// Of those, calls that reads in the background could make.
    pub background_left: u32,
    /// How long Cloudflare asked to make none at all.
    pub blocked_for: Option<Duration>,
}

impl Budget {
    /// Says how it stands.
    pub fn view(&mut self, now: Instant) -> BudgetView {
        self.background.fill(now);
        let left = self.left(now);
        let blocked_for = self.blocked_until.and_then(|until| until.checked_duration_since(now));
        BudgetView {
            left,
            background_left: left.min(self.background.tokens as u32),
            blocked_for: blocked_for.filter(|wait| !wait.is_zero()),
        }
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

    fn set(&mut self, now: Instant, tokens: f64) {
        self.tokens = tokens.min(self.capacity);
        self.filled_at = now;
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
    fn how_it_stands_is_shown_with_what_cloudflare_asked_for() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(budget.view(now), BudgetView { left: 300, background_left: 75, blocked_for: None });
        while budget.take(now, Class::Change).is_ok() {}
        budget.block(now, Duration::from_secs(60));
        let wait = Some(Duration::from_secs(60));
        assert_eq!(budget.view(now), BudgetView { left: 0, background_left: 0, blocked_for: wait });
        let later = now + Duration::from_secs(100);
        assert_eq!(budget.view(later), BudgetView { left: 300, background_left: 75, blocked_for: None });
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
    fn a_process_that_is_started_again_and_again_makes_no_more_calls_than_one_that_runs() {
        // given
        let (start, day) = (Instant::now(), DateTime::UNIX_EPOCH);
        let (mut note, mut calls, mut passed) = (None, 0, Duration::ZERO);
        // when: each run makes as many calls as it may, and ends two seconds later without a word
        while passed < WINDOW {
            let (now, today) = (start + passed, day + passed);
            let mut budget = Budget::new(now);
            budget.resume(now, today, note);
            let mut covered = 0;
            while budget.take(now, Class::Change).is_ok() {
                if covered == 0 {
                    covered = COVERED;
                    note = Some(budget.note(now, today, COVERED - 1));
                }
                covered -= 1;
                calls += 1;
            }
            passed += Duration::from_secs(2);
        }
        // then
        assert!((300..=1200).contains(&calls), "{calls}");
    }

    #[test]
    fn a_pause_that_cloudflare_asked_for_outlasts_the_process() {
        let (now, day) = (Instant::now(), DateTime::UNIX_EPOCH);
        let mut budget = Budget::new(now);
        budget.block(now, Duration::from_secs(300));
        let note = budget.note(now, day, 0);
        let mut next = Budget::new(now);
        next.resume(now, day + Duration::from_secs(100), Some(note));
        assert_eq!(next.take(now, Class::Change), Err(Duration::from_secs(200)));
    }

    #[test]
    fn an_unknown_past_and_a_clock_that_was_set_back_make_it_careful() {
        let (now, day) = (Instant::now(), DateTime::UNIX_EPOCH);
        let note = BudgetNote { calls_left: 10, at: day + Duration::from_secs(3600), blocked_until: None };
        for (note, left) in [(None, 150), (Some(note), 10)] {
            let mut budget = Budget::new(now);
            budget.resume(now, day, note);
            assert_eq!(budget.left(now), left);
        }
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
