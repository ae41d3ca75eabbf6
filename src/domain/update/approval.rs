//! What becomes of a person's yes to a plan.

use std::time::Duration;

use super::life::Happening;
use super::run::RunOutcome;

/// A yes counts so long unless the person says otherwise.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Longest that one counts: what was true of a host a week ago says little of it today.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Shortest that one can count: the host needs time to fetch it.
pub const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// Where a yes stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// A second person has to say yes too.
    Waiting,
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
    pub const ALL: [Self; 8] = [
        Self::Waiting,
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
        matches!(self, Self::Waiting | Self::Ordered)
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
