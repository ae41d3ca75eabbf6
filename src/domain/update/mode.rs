//! How far a yes goes: to exactly what was shown, or to what is like it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::plan::{Changes, Operation, PlannedChange};
use super::version::compare;

/// How far a yes goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// To exactly what was shown. A host that would change anything else waits for a yes of its own.
    #[default]
    Exact,
    /// Also to newer versions of the same things: see [`beyond`].
    SameScope,
    /// To exactly what was shown, and hosts that would change anything else are passed over.
    Skip,
}

impl ApprovalMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exact, Self::SameScope, Self::Skip];

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::SameScope => "same_scope",
            Self::Skip => "skip",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// True for the one that counts where nobody says another.
    pub fn is_exact(&self) -> bool {
        *self == Self::Exact
    }
}

/// What is beyond the scope of a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    name: String,
    reason: &'static str,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.name, self.reason)
    }
}

/// A thing and what is done to it.
type Subject<'a> = (Kind, &'a str, &'a str, Operation);

fn by_subject(changes: &Changes) -> BTreeMap<Subject<'_>, Vec<&PlannedChange>> {
    let mut all = BTreeMap::<Subject<'_>, Vec<&PlannedChange>>::new();
    for change in changes.all() {
        let subject = (change.kind, change.name.as_str(), change.arch.as_str(), change.operation);
        all.entry(subject).or_default().push(change);
    }
    all
}

/// Returns what a host would change now that a yes to `approved` does not reach. In its scope are the same things, with the
/// same done to them, from and to the same or newer versions; nothing new comes, and nothing else goes. Which image is the
/// newer one nobody can tell: of a container that gets a new one anyway any will do, and one that was shown as keeping its own
/// keeps it.
pub fn beyond(approved: &Changes, now: &Changes) -> Vec<Beyond> {
    let (before, mut after) = (by_subject(approved), by_subject(now));
    let mut found = Vec::new();
    let mut name = |name: &str, reason| found.push(Beyond { name: name.to_owned(), reason });
    for (subject, old) in &before {
        match (old.as_slice(), after.remove(subject).as_deref()) {
            (_, None) => name(subject.1, "it was approved, and would not be changed so any more"),
            ([old], Some([new])) => {
                if let Some(reason) = too_far(old, new) {
                    name(subject.1, reason);
                }
            }
            // Of what is installed beside each other several go: which ones is what was approved.
            (old, Some(new)) if old != new => name(subject.1, "other versions of it would come or go"),
            _ => {}
        }
    }
    after.keys().for_each(|subject| name(subject.1, "it would be changed so too, which was not approved"));
    found
}

/// Returns why one change is beyond the scope of another one of the same thing.
fn too_far(old: &PlannedChange, new: &PlannedChange) -> Option<&'static str> {
    if old.to == new.to && old.digest != new.digest {
        return Some("it is another file by the same version");
    }
    if old.kind == Kind::DockerImage {
        let goes_along = |change: &PlannedChange| change.from == change.to;
        let gets_one = goes_along(old) && !goes_along(new);
        return gets_one.then_some("it was to keep its image, and would get another one");
    }
    if old.operation == Operation::Downgrade && (&old.from, &old.to) != (&new.from, &new.to) {
        return Some("it would go back from or to another version");
    }
    let is_older = |before: &Option<String>, after: &Option<String>| match (before, after) {
        (Some(before), Some(after)) => {
            !matches!(compare(old.kind, after, before), Some(Ordering::Equal | Ordering::Greater))
        }
        (None, None) => false,
        _ => true,
    };
    if is_older(&old.from, &new.from) {
        return Some("it is at an older version than where it was approved from");
    }
    is_older(&old.to, &new.to).then_some("it would be at an older version than the approved one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, operation: Operation, from: Option<&str>, to: Option<&str>) -> PlannedChange {
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch: "amd64".into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: to.map(|to| format!("digest-of-{to}")),
        }
    }

    fn upgrade(name: &str, from: &str, to: &str) -> PlannedChange {
        change(name, Operation::Upgrade, Some(from), Some(to))
    }

    fn image(from: &str, to: &str) -> PlannedChange {
        let whole = change("web", Operation::Replace, Some(from), Some(to));
        PlannedChange { kind: Kind::DockerImage, arch: String::new(), ..whole }
    }

    fn said(approved: Vec<PlannedChange>, now: Vec<PlannedChange>) -> Vec<String> {
        let (approved, now) = (Changes::new(approved).unwrap(), Changes::new(now).unwrap());
        beyond(&approved, &now).iter().map(Beyond::to_string).collect()
    }

    #[test]
    fn the_same_things_at_the_same_or_newer_versions_are_in_the_scope() {
        let (install, remove) = (Operation::Install, Operation::Remove);
        for (approved, now) in [
            (vec![upgrade("a", "1.0", "1.1")], vec![upgrade("a", "1.0", "1.1")]),
            (vec![upgrade("a", "1.0", "1.9")], vec![upgrade("a", "1.0", "1.10")]),
            (vec![upgrade("a", "1.0", "1.1")], vec![upgrade("a", "1.0.1", "1.1")]),
            (vec![change("n", install, None, Some("1.0"))], vec![change("n", install, None, Some("1.1"))]),
            (vec![change("o", remove, Some("1.0"), None)], vec![change("o", remove, Some("1.1"), None)]),
            (vec![image("sha256:a", "sha256:b")], vec![image("sha256:a", "sha256:c")]),
            (vec![image("sha256:a", "sha256:b")], vec![image("sha256:b", "sha256:b")]),
            (vec![image("sha256:a", "sha256:a")], vec![image("sha256:c", "sha256:c")]),
        ] {
            assert_eq!(said(approved.clone(), now.clone()), [""; 0], "{approved:?} {now:?}");
        }
    }

    #[test]
    fn whatever_else_differs_is_beyond_it_and_named() {
        let (install, remove, downgrade) = (Operation::Install, Operation::Remove, Operation::Downgrade);
        let a = || upgrade("a", "1.0", "1.1");
        let other_file = PlannedChange { digest: Some("x".into()), ..a() };
        let other_arch = PlannedChange { arch: "i386".into(), ..a() };
        let goes = |version| change("k", remove, Some(version), None);
        for (approved, now, words) in [
            (
                vec![a()],
                vec![upgrade("a", "1.0", "1.0.9")],
                vec!["`a`: it would be at an older version than the approved one"],
            ),
            (
                vec![a()],
                vec![upgrade("a", "0.9", "1.1")],
                vec!["`a`: it is at an older version than where it was approved from"],
            ),
            (vec![a()], vec![other_file], vec!["`a`: it is another file by the same version"]),
            (
                vec![image("sha256:a", "sha256:a")],
                vec![image("sha256:a", "sha256:b")],
                vec!["`web`: it was to keep its image, and would get another one"],
            ),
            (vec![a()], vec![], vec!["`a`: it was approved, and would not be changed so any more"]),
            (
                vec![a()],
                vec![a(), change("b", install, None, Some("1"))],
                vec!["`b`: it would be changed so too, which was not approved"],
            ),
            (
                vec![a()],
                vec![other_arch],
                vec![
                    "`a`: it was approved, and would not be changed so any more",
                    "`a`: it would be changed so too, which was not approved",
                ],
            ),
            (
                vec![a()],
                vec![change("a", remove, Some("1.0"), None)],
                vec![
                    "`a`: it was approved, and would not be changed so any more",
                    "`a`: it would be changed so too, which was not approved",
                ],
            ),
            (
                vec![goes("1"), goes("2")],
                vec![goes("1"), goes("3")],
                vec!["`k`: other versions of it would come or go"],
            ),
            (vec![goes("1"), goes("2")], vec![goes("1")], vec!["`k`: other versions of it would come or go"]),
            (
                vec![change("d", downgrade, Some("2"), Some("1"))],
                vec![change("d", downgrade, Some("3"), Some("1"))],
                vec!["`d`: it would go back from or to another version"],
            ),
        ] {
            assert_eq!(said(approved.clone(), now.clone()), words, "{approved:?} {now:?}");
        }
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for mode in ApprovalMode::ALL {
            assert_eq!(ApprovalMode::parse(mode.as_str()), Some(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
        }
        assert_eq!(ApprovalMode::parse("all"), None);
    }
}
