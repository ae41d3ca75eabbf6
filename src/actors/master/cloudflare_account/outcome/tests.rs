//! What is said at the end of a pass.

use super::*;

fn key(hostname: &str) -> RouteKey {
    RouteKey { hostname: hostname.into(), path: String::new() }
}

fn row(hostname: &str, state: &str) -> RouteStatusRow {
    RouteStatusRow {
        agent_id: Some(AgentId::new("a")),
        key: key(hostname),
        state: state.into(),
        reason: None,
        cause: None,
        answer: None,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

#[test]
fn only_rows_that_differ_are_written_and_only_ours_are_deleted() {
    let rows = [
        row("same", "published"),
        row("new-word", "publishing"),
        row("gone", "blocked"),
        row("theirs", "claimed"),
    ];
    let said = ["same", "new-word", "fresh"].map(|name| (key(name), Said::plain(PublicState::Published)));

    let changes = route_changes(&rows, &said.into(), DateTime::UNIX_EPOCH, |_| Some(AgentId::new("a")));

    let named: Vec<String> = changes
        .iter()
        .map(|change| match change {
            RowChange::PutRouteStatus(row) => format!("put {}", row.key),
            RowChange::DeleteRouteStatus { key, .. } => format!("delete {key}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(named, ["put fresh", "put new-word", "delete gone"]);
}
