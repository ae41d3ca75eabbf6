//! What an agent tells of plans that it was asked for, and of runs on its host.

use serde::{Deserialize, Serialize};

use crate::domain::id::CommandId;
use crate::domain::update::{FailedImage, Plan, Problem, Run};

/// Longest log that is told with a run, in bytes: of a longer one its end.
pub const LOG_LIMIT: usize = 256 * 1024;

/// Body of `POST /api/v3/agents/{id}/plans`: what the host worked out for a command, or why it could not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanTold {
    /// The command that asked.
    pub command: CommandId,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Body of `POST /api/v3/agents/{id}/runs`: a run that ended. The same one may be told twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunTold {
    /// The run.
    pub run: Run,
    /// The end of its log; at most [`LOG_LIMIT`].
    #[serde(default)]
    pub log: String,
    /// Images that failed in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_images: Vec<FailedImage>,
}
