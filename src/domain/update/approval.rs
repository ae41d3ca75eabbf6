//! What becomes of a person's yes to a plan.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::life::Happening;
use super::run::RunOutcome;

/// A yes counts so long unless the person says otherwise.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Longest that one counts: what was true of a host a week ago says little of it today.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Shortest that one can count: the host needs time to fetch it.
pub const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// Longest time until one begins: by then a host can be another one.
pub const MAX_DELAY: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A time that lies back no further is now: clocks differ.
const NOW: TimeDelta = TimeDelta::minutes(1);

/// When a yes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Not before this; none: at once.
    pub not_before: Option<DateTime<Utc>>,
    /// Until this.
    pub expires_at: DateTime<Utc>,
}

/// Why a yes cannot count then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermFault {
    /// Too short or too long.
    #[error("a yes counts for {} to {} seconds", MIN_LIFETIME.as_secs(), MAX_LIFETIME.as_secs())]
    Lifetime,
    /// In the past.
    #[error("{0} is over: name a time that is to come, or none to begin at once")]
    Over(DateTime<Utc>),
    /// Too far away.
    #[error("{0} is more than 7 days away: name an earlier time, for by then the host can be another one")]
    Far(DateTime<Utc>),
}

impl Term {
    /// Says when a yes counts that is given now. The time for which it counts begins when it may be carried out.
    pub fn new(
        now: DateTime<Utc>,
        lifetime: Duration,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<Self, TermFault> {
        if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
            return Err(TermFault::Lifetime);
        }
        let furthest = now + TimeDelta::from_std(MAX_DELAY).unwrap_or(TimeDelta::MAX);
        let not_before = match not_before {
            Some(at) if at > furthest => return Err(TermFault::Far(at)),
            Some(at) if at < now - NOW => return Err(TermFault::Over(at)),
            later => later.filter(|at| *at > now),
        };
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        Ok(Self { not_before, expires_at: not_before.unwrap_or(now) + lifetime })
    }

    /// The same, where nobody says how long; what was to begin at a time that is over begins at once.
    pub fn usual(now: DateTime<Utc>, not_before: Option<DateTime<Utc>>) -> Self {
        let not_before = not_before.filter(|at| *at > now);
        let lifetime = TimeDelta::from_std(LIFETIME).unwrap_or(TimeDelta::MAX);
        Self { not_before, expires_at: not_before.unwrap_or(now) + lifetime }
    }
}

/// Where a yes stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// A second person has to say yes too.
    Waiting,
    /// Everybody said yes who has to; the host is told when its time comes.
    Scheduled,
    /// The host is told, or is about to be.
    Ordered,
    /// It was taken back, is over, or was refused by the host; nothing was changed.
    Withdrawn,
    /// Its run ended well, and the host was looked at.
    Verified,
    /// Its run did not begin to change anything.
    NotStarted,
    /// Its run failed.
    Failed,
    /// Its run failed, and the old state is back.
    RolledBack,
    /// Its run failed, and the old state is not back.
    RollbackFailed,
}

impl ApprovalStatus {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Ordered,
        Self::Withdrawn,
        Self::Verified,
        Self::NotStarted,
        Self::Failed,
        Self::RolledBack,
        Self::RollbackFailed,
    ];

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Ordered => "ordered",
            Self::Withdrawn => "withdrawn",
            Self::Verified => "verified",
            Self::NotStarted => "not_started",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Returns where it stands once its run came out so.
    pub fn of(outcome: &RunOutcome) -> Self {
        match outcome {
            RunOutcome::Verified => Self::Verified,
            RunOutcome::NotStarted { .. } => Self::NotStarted,
            RunOutcome::Failed { .. } => Self::Failed,
            RunOutcome::RolledBack { .. } => Self::RolledBack,
            RunOutcome::RollbackFailed { .. } => Self::RollbackFailed,
        }
    }

    /// True if something may still come of it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Scheduled | Self::Ordered)
    }
}

/// Returns what the end of a run means for the updates that it is about.
pub fn happening(outcome: &RunOutcome) -> Happening {
    match outcome {
        RunOutcome::Verified => Happening::Verify,
        RunOutcome::NotStarted { .. } => Happening::Withdraw,
        RunOutcome::RolledBack { .. } => Happening::RollBack,
        RunOutcome::Failed { .. } | RunOutcome::RollbackFailed { .. } => Happening::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_counts_from_the_time_at_which_it_may_be_carried_out() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (day, later) = (Duration::from_secs(86_400), now + TimeDelta::hours(5));
        let term = |not_before, expires_at| Ok(Term { not_before, expires_at });
        let week = now + TimeDelta::days(7);
        for (lifetime, not_before, expected) in [
            (day, None, term(None, now + TimeDelta::days(1))),
            (day, Some(later), term(Some(later), later + TimeDelta::days(1))),
            (day, Some(now), term(None, now + TimeDelta::days(1))),
            (day, Some(now - TimeDelta::seconds(59)), term(None, now + TimeDelta::days(1))),
            (day, Some(now - TimeDelta::hours(1)), Err(TermFault::Over(now - TimeDelta::hours(1)))),
            (day, Some(week), term(Some(week), week + TimeDelta::days(1))),
            (day, Some(week + TimeDelta::seconds(1)), Err(TermFault::Far(week + TimeDelta::seconds(1)))),
            (Duration::from_secs(59), Some(later), Err(TermFault::Lifetime)),
            (MAX_LIFETIME + Duration::from_secs(1), None, Err(TermFault::Lifetime)),
        ] {
            assert_eq!(Term::new(now, lifetime, not_before), expected, "{lifetime:?} {not_before:?}");
        }
        assert_eq!(Term::usual(now, Some(later)), Term::new(now, LIFETIME, Some(later)).unwrap());
        assert_eq!(Term::usual(now, Some(now - TimeDelta::days(1))).not_before, None);
    }

    #[test]
    fn every_word_is_read_as_it_is_written_and_every_end_is_closed() {
        for status in ApprovalStatus::ALL {
            assert_eq!(ApprovalStatus::parse(status.as_str()), Some(status));
        }
        let reason = String::from("x");
        for outcome in [
            RunOutcome::Verified,
            RunOutcome::NotStarted { reason: reason.clone(), is_refused: true },
            RunOutcome::Failed { reason: reason.clone() },
            RunOutcome::RolledBack { reason: reason.clone() },
            RunOutcome::RollbackFailed { reason },
        ] {
            assert!(!ApprovalStatus::of(&outcome).is_open());
            assert_eq!(ApprovalStatus::of(&outcome).as_str(), outcome.as_str());
        }
    }
}
