//! Which scanners there are, and how they are run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apt::Apt;
use super::dnf::Dnf;
use super::scanner::{ScanAsk, Scanner};
use crate::clock::Clock;
use crate::domain::update::{Findings, Kind};

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
