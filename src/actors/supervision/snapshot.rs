//! One row per actor and supervisor: for the API, the page, metrics and tests.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Whether a row is an actor or a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Actor,
    Supervisor,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Told to start; its first poll has not come back.
    Starting,
    Running,
    /// Told to stop; within its grace.
    Stopping,
    /// Parked; its mailbox takes messages for the next run.
    Stopped,
    /// Parked after a failure until its delay is over.
    Backoff,
    /// Ended for good; its mailbox is closed.
    Finished,
    /// Did not stop in time (its thread does not come back) and was left where it is.
    LeftBehind,
}

impl State {
    /// Every state, for gauges that must also be set to zero.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Backoff,
        Self::Finished,
        Self::LeftBehind,
    ];

    /// Returns the name that JSON and metric labels use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff => "backoff",
            Self::Finished => "finished",
            Self::LeftBehind => "left_behind",
        }
    }
}

/// One row of the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// Names from the root down, joined by `/`.
    pub path: String,
    /// The metric label.
    pub role: &'static str,
    pub kind: Kind,
    pub state: State,
    /// Starts after the first.
    pub restarts: u32,
    /// Messages waiting in the mailbox.
    pub depth: usize,
    /// Most messages the mailbox takes; 0 for a supervisor.
    pub cap: usize,
    /// Messages handled by all runs together, the one that ended a run included.
    pub handled: u64,
    /// Messages nobody handled: over the bound, abandoned by their asker, or left when the actor ended.
    pub dropped: u64,
    /// Why the last run ended.
    pub last_exit: Option<String>,
    /// When it came into its state; the Unix epoch before it has its place in the tree.
    pub since: DateTime<Utc>,
}
