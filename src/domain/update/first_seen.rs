//! Since when something is pending.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::finding::Standing;
use super::kind::Kind;
use super::scan::Findings;

/// When each thing that is pending on one host was first seen to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FirstSeen(BTreeMap<Kind, BTreeMap<String, DateTime<Utc>>>);

impl FirstSeen {
    /// Returns when it was first seen.
    pub fn get(&self, kind: Kind, name: &str) -> Option<DateTime<Utc>> {
        self.0.get(&kind)?.get(name).copied()
    }

    /// Takes note of a scan. What a complete one does not find any more is forgotten.
    pub fn follow(&mut self, found: &Findings, now: DateTime<Utc>) {
        let before = self.0.remove(&found.checked.kind).unwrap_or_default();
        let may_be_pending = found
            .items
            .iter()
            .filter(|item| item.is_pending() || matches!(item.standing, Standing::Unchecked { .. }));
        let mut after: BTreeMap<String, DateTime<Utc>> = may_be_pending
            .map(|item| (item.name.clone(), before.get(&item.name).copied().unwrap_or(now)))
            .collect();
        if !found.checked.is_complete {
            for (name, at) in before {
                after.entry(name).or_insert(at);
            }
        }
        self.0.insert(found.checked.kind, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Finding;

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-01-31T12:{minute:02}:00Z").parse().unwrap()
    }

    fn found(names: &[&str]) -> Findings {
        let items = names.iter().map(|name| Finding::new(*name, Standing::Newer)).collect();
        Findings::new(Kind::Apt, items)
    }

    #[test]
    fn what_stays_pending_keeps_its_day_and_what_comes_back_begins_anew() {
        let mut seen = FirstSeen::default();
        seen.follow(&found(&["a", "b"]), at(1));
        seen.follow(&found(&["b", "c"]), at(2));
        let times = |seen: &FirstSeen| ["a", "b", "c"].map(|name| seen.get(Kind::Apt, name));
        assert_eq!(times(&seen), [None, Some(at(1)), Some(at(2))]);
        seen.follow(&found(&[]).with_problem("no network", None), at(3));
        assert_eq!(times(&seen), [None, Some(at(1)), Some(at(2))], "not found is not gone");
        seen.follow(&found(&["a"]), at(4));
        assert_eq!(times(&seen), [Some(at(4)), None, None]);
        assert_eq!(seen.get(Kind::Dnf, "a"), None);
    }

    #[test]
    fn it_comes_back_from_json_as_it_went() {
        let mut seen = FirstSeen::default();
        seen.follow(&found(&["a"]), at(1));
        let json = serde_json::to_value(&seen).unwrap();
        assert_eq!(json, serde_json::json!({ "apt": { "a": "2026-01-31T12:01:00Z" } }));
        assert_eq!(serde_json::from_value::<FirstSeen>(json).unwrap(), seen);
    }
}
