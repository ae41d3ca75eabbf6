//! What an agent and its key may be, by decision of a person.

use serde::{Deserialize, Serialize};

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// It was heard and waits for a person.
    Pending,
    /// It has a tunnel; its routes may be published.
    Enrolled,
    /// Its key was revoked: it is not heard until it has a new one.
    Revoked,
    /// It was taken off the list.
    Removed,
}

impl AgentStatus {
    /// True of one whose reports count.
    pub fn is_heard(self) -> bool {
        matches!(self, Self::Pending | Self::Enrolled)
    }

    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Enrolled => "enrolled",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
        }
    }
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It does.
    Active,
    /// It no longer does.
    Revoked,
}

impl KeyStatus {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}
