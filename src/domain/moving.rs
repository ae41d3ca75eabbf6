//! An agent gets another tunnel: its names move when the connector of the new one is seen, and not before.

use chrono::{DateTime, TimeDelta, Utc};

use super::connector::Connector;

/// A connector that was not seen for so long will not come by itself: a person is asked.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// True if the wait that began at `since` has lasted too long.
pub fn is_over(since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - since >= PATIENCE
}

/// True if a connector is connected that was not there when the agent was enrolled: another host may serve the tunnel too.
pub fn is_seen(connectors: &[Connector], at_enrolment: &[String]) -> bool {
    connectors.iter().any(|connector| connector.is_connected() && !at_enrolment.contains(&connector.id))
}

/// Says where the names of an agent are that moves to tunnel `to` since `since`, and what can be done about it.
pub fn words(agent: &str, to: &str, since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match is_over(since, now) {
        false => format!("its names move to tunnel `{to}` once the connector of that one is seen"),
        true => format!(
            "the connector of tunnel `{to}` was not seen within {} minutes, so its names stay in the tunnel that it had; \
             see on its host why, or move them anyway with `lightship agents move {agent}` or on the agent's page",
            PATIENCE.num_minutes()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connector_that_is_connected_and_was_not_there_before_is_seen() {
        let connector =
            |id: &str, connections| Connector { id: id.into(), connections, ..Connector::default() };
        for (name, connectors, expected) in [
            ("nobody", vec![], false),
            ("one from before", vec![connector("old", 4)], false),
            ("a new one that only lingers", vec![connector("new", 0)], false),
            ("a new one", vec![connector("old", 4), connector("new", 1)], true),
        ] {
            assert_eq!(is_seen(&connectors, &["old".to_owned()]), expected, "{name}");
        }
    }

    #[test]
    fn a_wait_that_ends_says_so_and_offers_to_move_anyway() {
        let since = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let after = |seconds| words("a", "edge-2", since, since + TimeDelta::seconds(seconds));
        assert!(after(599).starts_with("its names move to tunnel `edge-2` once"));
        assert!(after(600).contains("not seen within 10 minutes") && after(600).contains("agents move a"));
    }
}
