//! What stays known when a scanner could not look.

use std::collections::BTreeSet;

use crate::domain::text::spell_out;
use crate::domain::update::{Finding, Findings, Kind, Problem};
use crate::process::ProcessError;

/// Longest reason, in characters.
const MAX_REASON: usize = 400;

/// Returns what was last known, with the reason why nothing newer is.
pub(super) fn last_known(kind: Kind, last: Option<&Findings>, problem: Problem) -> Findings {
    let mut found = Findings::new(kind, last.map(|last| last.items.clone()).unwrap_or_default());
    found.checked.as_of = last.and_then(|last| last.checked.as_of);
    found.with_problem(problem.reason, problem.way_out)
}

/// Adds to what was found now what was pending before and is not found any more although it is still installed as it
/// was: what it comes from could not be asked.
pub(super) fn still_pending(
    mut found: Vec<Finding>,
    last: Option<&Findings>,
    installed: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let Some(last) = last else { return found };
    let names: BTreeSet<String> = found.iter().map(|item| item.name.clone()).collect();
    let is_missed = |item: &&Finding| {
        item.is_pending()
            && !names.contains(&item.name)
            && item.current_version.is_some()
            && installed(&item.name) == item.current_version
    };
    found.extend(last.items.iter().filter(is_missed).cloned());
    found
}

/// Makes a program's words fit to be shown: on one line, short, and without what a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = spell_out(&words.join(" "));
    if line.chars().count() <= MAX_REASON {
        return line;
    }
    line.chars().take(MAX_REASON - 1).chain(['…']).collect()
}

/// Says why a program gave no result.
pub(super) fn trouble(error: ProcessError) -> Problem {
    let way_out = match &error {
        ProcessError::Missing(name) => format!("install `{name}`"),
        ProcessError::NotStarted { .. } => "see that this user may run it".into(),
        ProcessError::Late { name, .. } | ProcessError::TooMuch { name, .. } => {
            format!("run `{name}` on the host and see what it does")
        }
    };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem { reason: shown(&format!("{error}{cause}")), way_out: Some(way_out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Standing;

    fn finding(name: &str, current: &str) -> Finding {
        let mut finding = Finding::new(name, Standing::Newer);
        finding.current_version = Some(current.into());
        finding
    }

    #[test]
    fn what_is_gone_from_the_lists_stays_as_long_as_it_is_installed_as_it_was() {
        let last = Findings::new(
            Kind::Apt,
            vec![
                finding("gone", "1"),
                finding("upgraded", "1"),
                finding("removed", "1"),
                finding("there", "1"),
            ],
        );
        let installed = |name: &str| match name {
            "gone" | "there" => Some("1".to_owned()),
            "upgraded" => Some("2".to_owned()),
            _ => None,
        };
        let kept = still_pending(vec![finding("there", "1")], Some(&last), installed);
        let names: Vec<_> = kept.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["there", "gone"]);
    }

    #[test]
    fn a_scanner_that_could_not_look_says_what_it_knew_and_when() {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let last = Findings::new(Kind::Apt, vec![finding("a", "1")]).as_of(at);
        let problem = Problem { reason: "no".into(), way_out: None };
        let found = last_known(Kind::Apt, Some(&last), problem.clone());
        assert_eq!((found.items.len(), found.checked.as_of), (1, Some(at)));
        assert!(!found.checked.ok && !found.checked.is_complete);
        assert_eq!(last_known(Kind::Apt, None, problem).checked.as_of, None);
    }
}
