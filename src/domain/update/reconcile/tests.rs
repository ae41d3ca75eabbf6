use proptest::prelude::*;

use super::*;
use crate::domain::update::{Cause, Kind, Severity};

fn at(hour: u32) -> DateTime<Utc> {
    format!("2026-01-31T{hour:02}:00:00Z").parse().unwrap()
}

fn newer(name: &str, version: &str) -> Finding {
    let mut finding = Finding::new(name, Standing::Newer);
    finding.current_version = Some("1".into());
    finding.available_version = Some(version.into());
    finding
}

fn unchecked(name: &str) -> Finding {
    let standing = Standing::Unchecked {
        cause: Cause::NotReachable,
        reason: "nobody answered".into(),
        last_known_at: None,
        retry_at: None,
    };
    Finding::new(name, standing)
}

fn found(items: Vec<Finding>) -> Findings {
    Findings::new(Kind::Apt, items)
}

/// A host whose updates are kept as the master keeps them.
#[derive(Default)]
struct Host {
    known: BTreeMap<String, Update>,
    decisions: BTreeMap<String, Decision>,
    ids: u32,
}

impl Host {
    fn scan(&mut self, hour: u32, found: &Findings) -> usize {
        self.scan_at(at(hour), found)
    }

    fn scan_at(&mut self, now: DateTime<Utc>, found: &Findings) -> usize {
        let ids = &mut self.ids;
        let changes = reconcile(self.known.clone(), &self.decisions, found, now, || {
            *ids += 1;
            UpdateId::new(format!("u{ids}"))
        });
        let count = changes.len();
        for change in changes {
            match change {
                Change::Put(update) => drop(self.known.insert(update.finding.name.clone(), *update)),
                Change::Forget(name) => drop(self.known.remove(&name)),
            }
        }
        count
    }

    fn status(&self, name: &str) -> &'static str {
        self.known.get(name).map_or("-", Update::status)
    }

    fn decide(&mut self, name: &str, decision: Decision) {
        let after = after_decision(&self.known[name], Some(&decision), at(0)).unwrap();
        self.known.insert(name.into(), after);
        self.decisions.insert(name.into(), decision);
    }
}

#[test]
fn an_equal_scan_changes_nothing() {
    let mut host = Host::default();
    let scan = found(vec![newer("a", "2"), Finding::new("b", Standing::Same), unchecked("c")]);
    assert_eq!(host.scan(1, &scan), 3);
    assert_eq!(host.scan(2, &scan), 0);
    assert_eq!(["a", "b", "c"].map(|name| host.status(name)), ["discovered", "current", "unchecked"]);
}

#[test]
fn what_vanishes_from_a_complete_scan_is_resolved_and_from_another_stays() {
    let mut host = Host::default();
    host.scan(1, &found(vec![newer("a", "2"), Finding::new("b", Standing::Same)]));
    // when half of it could not be looked at
    let partial = found(Vec::new()).with_problem("no network", None);
    assert_eq!(host.scan(2, &partial), 0);
    assert_eq!(host.status("a"), "discovered");
    // when all of it was looked at
    host.scan(3, &found(Vec::new()));
    assert_eq!((host.status("a"), host.status("b")), ("resolved", "-"));
    // then: it is kept to be looked at, and not for ever
    assert_eq!(host.scan(4, &found(Vec::new())), 0);
    host.scan_at(at(5) + TimeDelta::days(31), &found(Vec::new()));
    assert_eq!(host.status("a"), "-");
}

#[test]
fn what_cannot_be_checked_keeps_its_state_and_what_was_known() {
    let mut host = Host::default();
    host.scan(1, &found(vec![newer("a", "2")]));
    host.scan(2, &found(vec![unchecked("a")]));
    let update = &host.known["a"];
    assert_eq!(update.status(), "discovered");
    assert_eq!(update.finding.available_version.as_deref(), Some("2"));
    let Standing::Unchecked { last_known_at, .. } = update.finding.standing else { panic!("{update:?}") };
    assert_eq!(last_known_at, Some(at(1)));
    // when nobody answers for longer: the time stays that of the last answer, and nothing is written
    assert_eq!(host.scan(3, &found(vec![unchecked("a")])), 0);
    // when it is known again that there is nothing
    host.scan(4, &found(vec![Finding::new("a", Standing::Same)]));
    assert_eq!(host.status("a"), "resolved");
}

#[test]
fn a_newer_version_than_the_one_that_was_ignored_is_a_new_thing() {
    let mut host = Host::default();
    host.scan(1, &found(vec![newer("a", "2"), newer("b", "2")]));
    host.decide("a", Decision::Ignore { version: Some("2".into()) });
    host.decide("b", Decision::Hold);
    assert_eq!(host.scan(2, &found(vec![newer("a", "2"), newer("b", "2")])), 0);
    host.scan(3, &found(vec![newer("a", "3"), newer("b", "3")]));
    assert_eq!((host.status("a"), host.status("b")), ("discovered", "held"));
    assert_eq!(host.known["a"].first_seen_at, at(3));
}

#[test]
fn a_snooze_ends_at_its_time_and_not_before() {
    let mut host = Host::default();
    host.scan(1, &found(vec![newer("a", "2")]));
    host.decide("a", Decision::Snooze { until: at(5) });
    assert_eq!(host.scan(4, &found(vec![newer("a", "2")])), 0);
    assert_eq!(after_snooze(&host.known["a"], at(4)), None);
    let after = after_snooze(&host.known["a"], at(5)).unwrap();
    assert_eq!((after.status(), after.due_at), ("discovered", None));
    // A scan that comes first says the same.
    host.scan(6, &found(vec![newer("a", "2")]));
    assert_eq!(host.status("a"), "discovered");
}

#[test]
fn another_image_under_the_same_name_is_not_taken_for_what_was_known() {
    let mut host = Host::default();
    host.scan(1, &found(vec![newer("nginx:1", "sha256:b")]));
    let mut other = unchecked("nginx:1");
    other.current_version = Some("sha256:c".into());
    host.scan(2, &found(vec![other]));
    assert_eq!(host.known["nginx:1"].finding.available_version, None);
}

fn any_finding() -> impl Strategy<Value = Finding> {
    let standing = prop_oneof![
        Just(Standing::Newer),
        Just(Standing::Same),
        Just(Standing::RestartNeeded),
        Just(unchecked("x").standing),
    ];
    ("[a-d]", standing, proptest::option::of("[1-3]"), any::<bool>()).prop_map(
        |(name, standing, version, is_security)| {
            let mut finding = Finding::new(name, standing);
            finding.available_version = version;
            finding.severity = Severity::without_word(Some(is_security));
            finding
        },
    )
}

proptest! {
    /// Whatever came before: after a scan the same scan changes nothing, ids stay, and a held one stays held.
    #[test]
    fn scans_converge(
        scans in proptest::collection::vec(
            (proptest::collection::vec(any_finding(), 0..6), any::<bool>()), 1..6),
    ) {
        let mut host = Host::default();
        host.decisions.insert("a".into(), Decision::Hold);
        for (hour, (items, is_complete)) in (1..).zip(scans) {
            let mut scan = found(items);
            if !is_complete {
                scan = scan.with_problem("half of it", None);
            }
            let ids: BTreeMap<_, _> = host.known.iter().map(|(name, one)| (name.clone(), one.id.clone())).collect();
            host.scan(hour, &scan);
            prop_assert_eq!(host.scan(hour, &scan), 0);
            for (name, update) in &host.known {
                if let Some(id) = ids.get(name) {
                    prop_assert_eq!(id, &update.id);
                }
                prop_assert!(name != "a" || matches!(update.status(), "held" | "resolved" | "current" | "unchecked"));
            }
            if is_complete {
                for update in host.known.values().filter(|one| one.state.is_some_and(State::is_open)) {
                    prop_assert!(scan.items.iter().any(|item| item.name == update.finding.name));
                }
            }
        }
    }
}
