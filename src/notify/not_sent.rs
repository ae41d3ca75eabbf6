//! Why a message did not arrive.

use std::time::Duration;

/// Why a message is not known to have arrived, in words that hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// What happened.
    pub reason: String,
    /// How long the target wants to be left alone, if it said so.
    pub wait: Option<Duration>,
    /// True if the target answered, and what it does not want is this very message: others may do better.
    pub is_refused: bool,
}

impl NotSent {
    /// It was this, and nothing was said of when to try again.
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), wait: None, is_refused: false }
    }
}
