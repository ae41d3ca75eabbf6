//! What every scanner is.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::update::{Findings, Kind};

/// Looks for pending updates of one kind.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// Whose.
    fn kind(&self) -> Kind;

    /// True if the host has what it looks at.
    async fn is_present(&self) -> bool;

    /// Looks. What goes wrong is said in the findings, beside what was last known.
    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings;
}

/// What a scanner is told.
#[derive(Debug, Clone, Copy)]
pub struct ScanAsk<'a> {
    /// The time of day.
    pub now: DateTime<Utc>,
    /// What it found last.
    pub last: Option<&'a Findings>,
    /// True if a person waits for it: lists are refreshed however young they are.
    pub by_person: bool,
}
