//! Looking for pending updates, one folder a kind.
//!
//! A scanner never fails: what goes wrong is said in its findings, beside what was last known. It changes nothing on the
//! host. Its parsers are pure and apart from its calls.

mod docker_image;
mod powershell;
mod programs;
mod windows_update;
mod winget;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::update::{Findings, Kind};

pub use docker_image::{DockerImage, EngineLookup};
pub use programs::{Programs, Ran};
pub use windows_update::WindowsUpdate;
pub use winget::Winget;

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

impl ScanAsk<'_> {
    /// What was last known, with the reason why nothing newer is.
    fn last_known(&self, kind: Kind, reason: impl Into<String>, way_out: Option<String>) -> Findings {
        let mut found = Findings::new(kind, self.last.map(|last| last.items.clone()).unwrap_or_default());
        found.checked.as_of = self.last.and_then(|last| last.checked.as_of);
        found.with_problem(reason, way_out)
    }
}
