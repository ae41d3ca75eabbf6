//! How often a registry may be asked: its clock, moved by what it says.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// First pause after "too many requests" without a time.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// Longest pause, whatever a registry asks for.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(24);
/// Longest pause of our own making.
const OWN_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Good answers in a row that make the next pause shorter again.
const GOOD_ANSWERS: u32 = 5;
/// The part of a quota of pulls that is left to whoever pulls.
const LEFT_TO_OTHERS: u64 = 10;

/// What a registry says of the pulls that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulls {
    /// In the window.
    pub limit: u64,
    /// Of them.
    pub left: u64,
    /// When they may have come back.
    pub again_at: DateTime<Utc>,
}

/// The clock of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Nothing is sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// The pulls that are left, if the registry counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls: Option<Pulls>,
    /// Refusals without a time, less what good answers made good.
    #[serde(default)]
    step: u32,
    #[serde(default)]
    good: u32,
}

impl Pace {
    /// Returns until when nothing may be sent.
    pub fn waits_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.not_before.filter(|until| *until > now)
    }

    /// Returns until when nothing may be sent that counts as a pull: what is left belongs to whoever pulls.
    pub fn pulls_wait_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let pulls = self.pulls.filter(|pulls| pulls.again_at > now);
        let scarce = pulls.filter(|pulls| pulls.left <= (pulls.limit / LEFT_TO_OTHERS).max(1));
        self.waits_until(now).max(scarce.map(|pulls| pulls.again_at))
    }

    /// Takes "too many requests"; returns when it may be asked again.
    pub fn refuse(&mut self, now: DateTime<Utc>, after: Option<TimeDelta>) -> DateTime<Utc> {
        let pause = after.unwrap_or_else(|| (FIRST_PAUSE * (1 << self.step.min(10))).min(OWN_PAUSE));
        // A pause of nothing would be an endless quick repetition.
        let pause = pause.clamp(TimeDelta::seconds(1), LONGEST_PAUSE);
        self.step = (self.step + 1).min(10);
        self.good = 0;
        let until = (now + pause).max(self.not_before.unwrap_or(now));
        self.not_before = Some(until);
        until
    }

    /// Takes up what another process learned of the same registry, where that is later. A time farther off than any pause
    /// is of a clock that was set back since.
    pub fn take_up(&mut self, now: DateTime<Utc>, other: Self) {
        let is_said = |at: &DateTime<Utc>| *at <= now + LONGEST_PAUSE;
        let not_before = other.not_before.filter(is_said);
        if not_before > self.not_before {
            (self.not_before, self.step, self.good) = (not_before, self.step.max(other.step), 0);
        }
        let again_at = |pulls: &Option<Pulls>| pulls.map(|pulls| pulls.again_at);
        if again_at(&other.pulls).filter(is_said) > again_at(&self.pulls) {
            self.pulls = other.pulls;
        }
    }

    /// Takes an answer that was no refusal.
    pub fn answered(&mut self) {
        self.good += 1;
        if self.good >= GOOD_ANSWERS {
            self.good = 0;
            self.step = self.step.saturating_sub(1);
        }
    }

    /// Takes the headers `ratelimit-limit`, `ratelimit-remaining` (`76;w=21600`) and `ratelimit-reset` (seconds).
    pub fn note_quota(
        &mut self,
        now: DateTime<Utc>,
        limit: Option<&str>,
        left: Option<&str>,
        reset: Option<&str>,
    ) {
        let Some((left, window)) = left.and_then(quota) else { return };
        let (limit, of_limit) = limit.and_then(quota).unwrap_or((left, None));
        let reset = reset.and_then(|text| text.trim().parse().ok());
        // Pulls come back one by one as the window moves on: a share of it is enough to look again.
        let share = window.or(of_limit).map(|window| (window / 12).max(60));
        let wait = TimeDelta::seconds(reset.or(share).unwrap_or(900).clamp(1, LONGEST_PAUSE.num_seconds()));
        self.pulls = Some(Pulls { limit, left, again_at: now + wait });
    }
}

fn quota(text: &str) -> Option<(u64, Option<i64>)> {
    let mut parts = text.split(';');
    // Several limits stand in one line, the nearest first.
    let count = parts.next()?.split(',').next()?.trim().parse().ok()?;
    let window =
        parts.find_map(|part| part.trim().strip_prefix("w=")?.split(',').next()?.trim().parse().ok());
    Some((count, window))
}

/// Reads `Retry-After`: seconds, or a date.
pub fn read_retry_after(text: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let seconds = seconds.ceil().clamp(0.0, 1e9);
        #[expect(clippy::cast_possible_truncation, reason = "clamped above")]
        return seconds.is_finite().then(|| TimeDelta::seconds(seconds as i64));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.with_timezone(&Utc) - now).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_time_is_read_in_both_forms() {
        for (text, seconds) in [
            ("60", Some(60)),
            (" 0 ", Some(0)),
            ("1.5", Some(2)),
            ("-5", Some(0)),
            ("Sat, 31 Jan 2026 12:01:00 GMT", Some(60)),
            ("Sat, 31 Jan 2026 11:00:00 GMT", Some(0)),
            ("99999999999999", Some(1_000_000_000)),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(read_retry_after(text, now()).map(|delta| delta.num_seconds()), seconds, "{text}");
        }
    }

    #[test]
    fn nothing_is_sent_before_the_time_that_was_named() {
        let mut pace = Pace::default();
        assert_eq!(pace.waits_until(now()), None);
        let until = pace.refuse(now(), Some(TimeDelta::seconds(60)));
        assert_eq!((until - now()).num_seconds(), 60);
        assert_eq!(pace.waits_until(until - TimeDelta::seconds(1)), Some(until));
        assert_eq!(pace.waits_until(until), None);
        // A shorter one that was under way does not make it shorter.
        assert_eq!(pace.refuse(now(), Some(TimeDelta::seconds(5))), until);
        assert_eq!((pace.refuse(now(), Some(TimeDelta::days(9_000))) - now()).num_hours(), 24);
    }

    #[test]
    fn of_two_processes_the_later_clock_counts_and_none_that_was_set_back() {
        let paused = |seconds| {
            let mut pace = Pace::default();
            pace.refuse(now(), Some(TimeDelta::seconds(seconds)));
            pace.note_quota(now(), None, Some("0"), Some(&seconds.to_string()));
            pace
        };
        for (own, other, waits) in [(0, 60, 60), (60, 30, 60), (30, 60, 60)] {
            let mut pace = if own == 0 { Pace::default() } else { paused(own) };
            pace.take_up(now(), paused(other));
            let until = Some(now() + TimeDelta::seconds(waits));
            assert_eq!(
                (pace.waits_until(now()), pace.pulls_wait_until(now())),
                (until, until),
                "{own} {other}"
            );
        }
        let mut pace = Pace::default();
        pace.take_up(now() - TimeDelta::days(2), paused(60));
        assert_eq!((pace.not_before, pace.pulls), (None, None));
    }

    #[test]
    fn without_a_time_pauses_grow_and_good_answers_shorten_them() {
        let mut pace = Pace::default();
        let pause = |pace: &mut Pace| {
            let later = pace.not_before.unwrap_or(now());
            (pace.refuse(later, None) - later).num_seconds()
        };
        let first: Vec<i64> = (0..8).map(|_| pause(&mut pace)).collect();
        assert_eq!(first, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        (0..25).for_each(|_| pace.answered());
        assert_eq!(pause(&mut pace), 480);
    }

    #[test]
    fn what_is_left_of_a_quota_is_for_whoever_pulls() {
        for (limit, left, waits) in [
            (Some("100;w=21600"), Some("76;w=21600"), false),
            (Some("100;w=21600"), Some("11;w=21600"), false),
            (Some("100;w=21600"), Some("10;w=21600"), true),
            (Some("100;w=21600"), Some("0;w=21600"), true),
            (None, Some("0"), true),
            (Some("100"), None, false),
            (Some("x"), Some("y"), false),
        ] {
            let mut pace = Pace::default();
            pace.note_quota(now(), limit, left, None);
            assert_eq!(pace.pulls_wait_until(now()).is_some(), waits, "{limit:?} {left:?}");
            assert_eq!(pace.waits_until(now()), None);
        }
        let mut pace = Pace::default();
        pace.note_quota(now(), Some("100;w=21600"), Some("0;w=21600"), Some("40"));
        assert_eq!(pace.pulls_wait_until(now()), Some(now() + TimeDelta::seconds(40)));
        pace.note_quota(now(), Some("100;w=21600"), Some("0;w=21600"), None);
        assert_eq!(pace.pulls_wait_until(now()), Some(now() + TimeDelta::seconds(1800)));
    }
}
