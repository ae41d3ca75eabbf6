//! Looking for pending updates, one folder a kind, and what the machine is.
//!
//! A scanner never fails: what goes wrong is said in its findings, beside what was last known. It changes nothing on the
//! host but the lists of what there is, and those only with the right to; it never takes a lock that an installer needs.
//! Its parsers are pure and apart from its calls.

mod apt;
mod dnf;
mod host;
mod keep;
mod print;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::domain::update::{Findings, Kind};

pub use apt::Apt;
pub use dnf::Dnf;
pub use host::{HostReader, Virtualisation};

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

/// Every scanner there is, in the order in which they run; one line each.
pub fn scanners() -> Vec<Arc<dyn Scanner>> {
    vec![
        Arc::new(Apt::of_this_host()),
        Arc::new(Dnf::of_this_host()),
        // Images, Windows Update and Winget follow here.
    ]
}

/// Runs those scanners that the host has a use for, one after the other. `tell` hears of each before it begins.
pub async fn scan_all(
    scanners: &[Arc<dyn Scanner>],
    clock: &Clock,
    last: &BTreeMap<Kind, Findings>,
    by_person: bool,
    mut tell: impl FnMut(Kind),
) -> Vec<Findings> {
    let mut found = Vec::new();
    for scanner in scanners {
        if !scanner.is_present().await {
            continue;
        }
        tell(scanner.kind());
        let ask = ScanAsk { now: clock.now(), last: last.get(&scanner.kind()), by_person };
        found.push(scanner.scan(&ask).await);
    }
    found
}
