//! Changes as lines of a table.

use std::collections::BTreeMap;

use crate::domain::text::spell_out;
use crate::domain::update::{Changes, Operation, PlannedChange, UndoSource};
use crate::web::pages::view::shown_version;

/// Most lines of one table.
const MOST: usize = 1_000;
/// Names that stand for all of a plan.
const NAMED: usize = 3;

/// Changes, each on a line.
pub struct ChangeTable {
    /// The first of them.
    pub rows: Vec<ChangeRow>,
    /// How many more there are.
    pub more: usize,
    /// True if it is said how each can be taken back.
    pub has_undo: bool,
}

/// One change.
pub struct ChangeRow {
    /// The package, or the container.
    pub name: String,
    /// Whose it is.
    pub kind: &'static str,
    /// What is done.
    pub what: &'static str,
    /// The present version, for people.
    pub from: String,
    /// All of it, if that is not shown.
    pub from_whole: Option<String>,
    /// The new version, for people.
    pub to: String,
    /// All of it, if that is not shown.
    pub to_whole: Option<String>,
    /// How it can be taken back.
    pub undo: Option<WayBack>,
}

/// How a change can be taken back.
pub struct WayBack {
    /// In words.
    pub words: &'static str,
    /// True if the present state can be had again as it was.
    pub is_certain: bool,
}

impl ChangeTable {
    /// Puts changes on lines; `undo` is the least sure source of each thing, by `name:arch`, over all hosts.
    pub fn of(changes: &Changes, undo: Option<&BTreeMap<String, UndoSource>>) -> Self {
        let all = changes.all();
        let rows = all.iter().take(MOST).map(|change| row(change, undo)).collect();
        Self { rows, more: all.len().saturating_sub(MOST), has_undo: undo.is_some() }
    }
}

fn row(change: &PlannedChange, undo: Option<&BTreeMap<String, UndoSource>>) -> ChangeRow {
    let (from, from_whole) = version(change.from.as_deref());
    let (to, to_whole) = version(change.to.as_deref());
    ChangeRow {
        name: match change.arch.as_str() {
            "" | "all" | "noarch" => spell_out(&change.name),
            arch => spell_out(&format!("{}:{arch}", change.name)),
        },
        kind: change.kind.title(),
        what: change.operation.as_str(),
        from,
        from_whole,
        to,
        to_whole,
        undo: undo.map(|undo| way_back(change, source(change, undo))),
    }
}

/// Returns from where the present state of a thing can be had again; from nowhere if nobody said so.
pub fn source(change: &PlannedChange, undo: &BTreeMap<String, UndoSource>) -> UndoSource {
    let thing = format!("{}:{}", change.name, change.arch);
    undo.get(&thing).copied().unwrap_or(UndoSource::Impossible)
}

fn way_back(change: &PlannedChange, source: UndoSource) -> WayBack {
    let is_new = change.operation == Operation::Install && source == UndoSource::NotNeeded;
    let words = if is_new { "certain, it is removed again" } else { source.words() };
    WayBack { words, is_certain: source.is_certain() }
}

fn version(text: Option<&str>) -> (String, Option<String>) {
    let Some(text) = text else { return ("–".into(), None) };
    let (whole, shown) = (spell_out(text), spell_out(&shown_version(text)));
    let is_cut = whole != shown;
    (shown, is_cut.then_some(whole))
}

/// Says what a plan is about: the first names, and how many more there are.
pub fn in_short(changes: &Changes) -> String {
    let all = changes.all();
    let named: Vec<String> = all.iter().take(NAMED).map(|change| spell_out(&change.name)).collect();
    match all.len() {
        0 => "nothing".into(),
        number if number > NAMED => format!("{} and {} more", named.join(", "), number - NAMED),
        _ => named.join(", "),
    }
}

/// Says how the changes of some hosts differ from those of most.
pub fn differences(most: &Changes, here: &Changes) -> Vec<String> {
    let said = |change: &PlannedChange| {
        let version = |text: &Option<String>| text.as_deref().map(|text| spell_out(&shown_version(text)));
        let word = change.operation.as_str();
        match (version(&change.from), version(&change.to)) {
            (Some(from), Some(to)) => format!("{word} {from} → {to}"),
            (one, other) => format!("{word} {}", one.or(other).unwrap_or_default()),
        }
    };
    let found = most.compare(here).into_iter().filter_map(|difference| {
        Some(match (difference.planned, difference.now) {
            (Some(there), Some(here)) if said(&there) == said(&here) => {
                format!("`{}`: the same version with another content", spell_out(&here.name))
            }
            (Some(there), Some(here)) => {
                format!("`{}`: {}; on most hosts {}", spell_out(&here.name), said(&here), said(&there))
            }
            (Some(there), None) => {
                format!("`{}`: stays as it is; on most hosts {}", spell_out(&there.name), said(&there))
            }
            (None, Some(here)) => format!("`{}`: {}, only here", spell_out(&here.name), said(&here)),
            (None, None) => return None,
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Kind;

    fn change(name: &str, from: &str, to: &str) -> PlannedChange {
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch: "amd64".into(),
            operation: Operation::Upgrade,
            from: Some(from.into()),
            to: Some(to.into()),
            digest: Some("aa".into()),
        }
    }

    #[test]
    fn what_differs_from_most_hosts_is_said_of_each_thing() {
        let most = Changes::new(vec![
            change("bash", "1", "2"),
            change("tzdata", "1", "2"),
            change("zlib", "1", "2"),
            change("same", "1", "2"),
        ]);
        let other = PlannedChange { digest: Some("bb".into()), ..change("zlib", "1", "2") };
        let here = Changes::new(vec![
            change("bash", "1", "3"),
            change("curl", "1", "2"),
            other,
            change("same", "1", "2"),
        ]);
        let said = differences(&most.unwrap(), &here.unwrap());
        assert_eq!(
            said,
            [
                "`bash`: upgrade 1 → 3; on most hosts upgrade 1 → 2",
                "`tzdata`: stays as it is; on most hosts upgrade 1 → 2",
                "`zlib`: the same version with another content",
                "`curl`: upgrade 1 → 2, only here",
            ]
        );
    }

    #[test]
    fn a_digest_is_short_and_whole_beside_it_and_what_nobody_can_undo_is_said() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let changes = Changes::new(vec![change("web", "1", &digest)]).unwrap();
        let table = ChangeTable::of(&changes, Some(&BTreeMap::new()));
        let row = &table.rows[0];
        assert_eq!(
            (row.to.as_str(), row.to_whole.as_deref()),
            ("sha256:aaaaaaaaaaaa", Some(digest.as_str()))
        );
        assert!(!row.undo.as_ref().unwrap().is_certain);
        assert_eq!(in_short(&changes), "web");
    }
}
