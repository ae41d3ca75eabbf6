//! Bounds what runs leave behind on the disk: packages that nobody needs to go back any more, and folders of runs that never
//! began.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::installer::Installer;
use crate::domain::update::Run;
use crate::state_dir::{Runs, StateError};

/// Most bytes of packages of one kind that are kept beside those that are needed.
const KEEP_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// A folder or a file that nobody has finished since then never will be.
const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Removes it. What a run since `since` needs to be taken back stays, and what one needs that did not end. Blocks.
pub(super) fn tidy(
    runs: &Runs,
    installers: &[Arc<dyn Installer>],
    state_dir: &Path,
    since: DateTime<Utc>,
) -> Result<(), StateError> {
    let needed = needed(&runs.list()?, since);
    let orphaned = SystemTime::now() - ORPHANED_AFTER;
    for kept in installers.iter().filter_map(|installer| installer.kept(state_dir)) {
        // Too many kept packages are no failure of a run.
        if let Err(error) = kept.bound(KEEP_BYTES, &needed, orphaned) {
            tracing::warn!(error = &error as &dyn std::error::Error, "kept packages could not be bounded");
        }
    }
    runs.remove_orphans(orphaned)
}

/// The content of what must stay.
fn needed(runs: &[Run], since: DateTime<Utc>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for run in runs.iter().filter(|run| run.started_at >= since || run.outcome.is_none()) {
        let kept = run.steps.iter().filter(|step| step.name.ends_with(".keep_old"));
        let digests = kept
            .filter_map(|step| serde_json::from_value::<Vec<String>>(step.found.get("kept")?.clone()).ok());
        needed.extend(digests.flatten());
        if run.outcome.is_none() {
            needed.extend(run.plan.changes.all().iter().filter_map(|change| change.digest.clone()));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::update::{DoneStep, Plan, RunId, RunOutcome};

    #[test]
    fn what_a_run_of_the_window_would_be_taken_back_with_is_needed_and_of_an_open_one_all_else_too() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
        let run = |started: &str, kept: &str, outcome| {
            let found = json!({ "kept": [kept] });
            let name = "apt.keep_old".to_owned();
            let steps = vec![DoneStep { name, at: at(started), found }];
            Run {
                steps,
                outcome,
                ..Run::new(RunId::parse("1").unwrap(), Plan::nothing(), "root", at(started))
            }
        };
        let runs = [
            run("2026-01-08T00:00:00Z", "new", Some(RunOutcome::Verified)),
            run("2026-01-01T00:00:00Z", "old", Some(RunOutcome::Verified)),
            run("2026-01-01T00:00:00Z", "open", None),
        ];
        let needed = needed(&runs, at("2026-01-07T00:00:00Z"));
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), ["new", "open"]);
    }
}
