use super::*;

const SAME: Happening = Happening::Found { is_new_version: false };
const NEWER: Happening = Happening::Found { is_new_version: true };

const HAPPENINGS: [Happening; 14] = [
    SAME,
    NEWER,
    Happening::Vanished,
    Happening::Ignore,
    Happening::Hold,
    Happening::Snooze,
    Happening::Reconsider,
    Happening::Approve,
    Happening::Withdraw,
    Happening::Plan,
    Happening::Begin,
    Happening::Verify,
    Happening::Fail,
    Happening::RollBack,
];

/// A row a state, a column a happening in the order above; `-` is refused. Written out, so that every transition is read.
const TABLE: &str = "
discovered  | discovered  discovered  resolved    ignored     held        snoozed     -           approved    -           -           -           -           -           -
approved    | approved    approved    resolved    -           -           -           -           -           discovered  planned     installing  verified    failed      rolled_back
planned     | planned     planned     resolved    -           -           -           -           approved    discovered  planned     installing  verified    failed      rolled_back
installing  | installing  installing  installing  -           -           -           -           -           discovered  -           -           verified    failed      rolled_back
verified    | discovered  discovered  verified    -           -           -           -           -           -           -           -           -           -           -
failed      | failed      discovered  resolved    ignored     held        snoozed     -           approved    -           -           -           -           -           -
rolled_back | rolled_back discovered  resolved    ignored     held        snoozed     -           approved    -           -           -           -           -           -
ignored     | discovered  discovered  resolved    ignored     held        snoozed     discovered  -           -           -           -           -           -           -
held        | discovered  discovered  resolved    ignored     held        snoozed     discovered  -           -           -           -           -           -           -
snoozed     | discovered  discovered  resolved    ignored     held        snoozed     discovered  -           -           -           -           -           -           -
resolved    | discovered  discovered  resolved    -           -           -           -           -           -           -           -           -           -           -
";

#[test]
fn every_transition_is_as_the_table_says() {
    let rows = TABLE.trim().lines().map(|row| row.split_once('|').unwrap());
    assert!(rows.clone().map(|(state, _)| state.trim()).eq(State::ALL.map(State::as_str)));
    for (state, (_, row)) in State::ALL.into_iter().zip(rows) {
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row.len(), HAPPENINGS.len(), "{}", state.as_str());
        for (happening, expected) in HAPPENINGS.into_iter().zip(row) {
            let word = next(state, happening, None).map_or("-", State::as_str);
            assert_eq!(word, expected, "{} and {happening:?}", state.as_str());
        }
    }
}

#[test]
fn a_scan_undoes_no_decision_and_a_newer_version_reopens_what_was_ignored() {
    let now = "2026-01-31T12:00:00Z".parse().unwrap();
    let ignore = Decision::Ignore { version: Some("2".into()) };
    let snooze = |until: &str| Decision::Snooze { until: until.parse().unwrap() };
    let past = snooze("2026-01-31T11:00:00Z");
    let later = snooze("2026-02-01T00:00:00Z");
    for (state, decision, available, expected) in [
        (State::Ignored, Some(&ignore), "2", State::Ignored),
        (State::Ignored, Some(&ignore), "3", State::Discovered),
        (State::Held, Some(&Decision::Hold), "2", State::Held),
        (State::Held, Some(&Decision::Hold), "3", State::Held),
        (State::Snoozed, Some(&later), "3", State::Snoozed),
        (State::Snoozed, Some(&past), "3", State::Discovered),
        // Gone and back: what was decided still counts.
        (State::Resolved, Some(&ignore), "2", State::Ignored),
        (State::Resolved, Some(&Decision::Hold), "9", State::Held),
        (State::Resolved, None, "2", State::Discovered),
    ] {
        let standing = decided(decision, Some(available), now);
        let found = Happening::Found { is_new_version: available != "2" };
        assert_eq!(next(state, found, standing), Ok(expected), "{state:?} {decision:?} {available}");
    }
}

#[test]
fn an_approval_that_is_taken_back_leaves_what_was_decided_before() {
    assert_eq!(next(State::Approved, Happening::Withdraw, Some(State::Held)), Ok(State::Held));
}

#[test]
fn every_state_is_read_as_it_is_written() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
