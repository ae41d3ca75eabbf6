//! What every actor of the agent says about itself when asked: for health checks, `lightship status` and tests.

use actix::{Message, MessageResponse};
use serde::Serialize;
use serde_json::Value;

/// Asks an actor how it is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ActorStatus")]
pub struct GetStatus;

/// How an actor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, MessageResponse)]
pub struct ActorStatus {
    /// One or two words, such as `connected`.
    pub state: &'static str,
    /// What is wrong, in words for a person; no secrets.
    pub problem: Option<String>,
    /// Figures and names that belong to the state.
    pub detail: Value,
}
