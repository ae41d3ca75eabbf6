//! One thing that began or ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::topic::Topic;

/// Whether it began or ended. What has no end, such as an update that failed, only begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It began, or happened.
    Began,
    /// It is over.
    Ended,
}

/// One thing that is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind of thing.
    pub topic: Topic,
    /// Whether it began or ended.
    pub turn: Turn,
    /// What it is about, by an id: beginning and end have the same.
    pub subject: String,
    /// What it is about, for people.
    pub name: String,
    /// More of it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}
