//! The life of an update: one table of states and what moves them.
//!
//! A scan never undoes what a person decided, with one exception: a newer version than the one that was ignored, failed
//! or verified is a new thing to decide about.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A scan found it; nobody decided yet.
    Discovered,
    /// A person said yes to a plan that holds it.
    Approved,
    /// The host agreed to that plan.
    Planned,
    /// It is being installed.
    Installing,
    /// It was installed, and looked at again.
    Verified,
    /// It was tried, and the host is as the run's record says.
    Failed,
    /// It was tried, and the old state is back.
    RolledBack,
    /// A person wants to hear nothing of this version.
    Ignored,
    /// A person keeps it as it is, whatever comes.
    Held,
    /// A person wants to hear of it later.
    Snoozed,
    /// No scan finds it any more: other hands installed or removed it.
    Resolved,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Discovered,
        Self::Approved,
        Self::Planned,
        Self::Installing,
        Self::Verified,
        Self::Failed,
        Self::RolledBack,
        Self::Ignored,
        Self::Held,
        Self::Snoozed,
        Self::Resolved,
    ];

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Approved => "approved",
            Self::Planned => "planned",
            Self::Installing => "installing",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Ignored => "ignored",
            Self::Held => "held",
            Self::Snoozed => "snoozed",
            Self::Resolved => "resolved",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True if somebody said yes to it, and it is not over.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Approved | Self::Planned | Self::Installing)
    }

    /// True if somebody has something to do about it.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Discovered
                | Self::Approved
                | Self::Planned
                | Self::Installing
                | Self::Failed
                | Self::RolledBack
        )
    }
}

/// What a person decided about (host, kind, name); it outlives the update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Not this version.
    Ignore {
        /// Which.
        version: Option<String>,
    },
    /// Keep what is installed, whatever comes.
    Hold,
    /// Not before this time.
    Snooze {
        /// Until when.
        until: DateTime<Utc>,
    },
}

/// What moves an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A scan found it; `is_new_version` if another version is on offer than before.
    Found {
        /// See above.
        is_new_version: bool,
    },
    /// A complete scan did not find it.
    Vanished,
    /// A person ignores this version.
    Ignore,
    /// A person holds it.
    Hold,
    /// A person puts it off.
    Snooze,
    /// A person takes back what he decided, or the time is over until which it was put off.
    Reconsider,
    /// A person said yes to a plan that holds it.
    Approve,
    /// The yes was taken back, or is over.
    Withdraw,
    /// The host agreed to the plan.
    Plan,
    /// The host began to install it.
    Begin,
    /// It was installed and looked at again.
    Verify,
    /// It failed.
    Fail,
    /// It failed, and the old state is back.
    RollBack,
}

/// Why something cannot happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an update that is {} cannot do that", .0.as_str())]
pub struct Refused(pub State);

/// Returns the state that a standing decision means for the version on offer; none if it means nothing now.
pub fn decided(decision: Option<&Decision>, available: Option<&str>, now: DateTime<Utc>) -> Option<State> {
    match decision? {
        Decision::Hold => Some(State::Held),
        Decision::Ignore { version } => (version.as_deref() == available).then_some(State::Ignored),
        Decision::Snooze { until } => (now < *until).then_some(State::Snoozed),
    }
}

/// Returns where an update stands after something happened. `standing` is what [`decided`] says of it.
pub fn next(state: State, happening: Happening, standing: Option<State>) -> Result<State, Refused> {
    use Happening::{
        Approve, Begin, Fail, Found, Hold, Ignore, Plan, Reconsider, RollBack, Snooze, Vanished, Verify,
        Withdraw,
    };
    use State::{
        Approved, Discovered, Failed, Held, Ignored, Installing, Planned, Resolved, RolledBack, Snoozed,
        Verified,
    };
    let anew = standing.unwrap_or(Discovered);
    Ok(match (state, happening) {
        // What is under way is told by the run, not by a scan that saw it half done.
        (Installing, Found { .. } | Vanished) => Installing,
        // A yes outlives a scan; whether the plan still is what was approved, the host finds out before it begins.
        (Approved | Planned, Found { .. }) => state,
        (Failed | RolledBack, Found { is_new_version: false }) => state,
        // Still on offer after it was verified: somebody went back.
        (Discovered | Verified | Failed | RolledBack | Ignored | Held | Snoozed | Resolved, Found { .. }) => {
            anew
        }
        (Verified, Vanished) => Verified,
        (_, Vanished) => Resolved,
        (Discovered | Failed | RolledBack | Ignored | Held | Snoozed, Ignore) => Ignored,
        (Discovered | Failed | RolledBack | Ignored | Held | Snoozed, Hold) => Held,
        (Discovered | Failed | RolledBack | Ignored | Held | Snoozed, Snooze) => Snoozed,
        (Ignored | Held | Snoozed, Reconsider) => Discovered,
        // Of one that is planned somebody said yes to what comes along.
        (Discovered | Failed | RolledBack | Planned, Approve) => Approved,
        // A run that changed nothing leaves it as it was.
        (Approved | Planned | Installing, Withdraw) => anew,
        (Approved | Planned, Plan) => Planned,
        (Approved | Planned, Begin) => Installing,
        // A run can be over before anybody heard that it began.
        (Approved | Planned | Installing, Verify) => Verified,
        (Approved | Planned | Installing, Fail) => Failed,
        (Approved | Planned | Installing, RollBack) => RolledBack,
        _ => return Err(Refused(state)),
    })
}

#[cfg(test)]
mod tests;
