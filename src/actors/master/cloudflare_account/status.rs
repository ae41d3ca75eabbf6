//! What is said about routes and tunnels, and only the rows that differ.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::db::RowChange;
use crate::db::cloudflare::{RouteStatusRow, TunnelStatusRow};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::ingress::{Foreign, RuleId};
use crate::domain::publish::{Cause, PublicState, TunnelState};
use crate::domain::route::RouteKey;

/// What is to be said about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub state: PublicState,
    pub reason: Option<String>,
    pub cause: Option<Cause>,
    pub answer: Option<String>,
}

impl Said {
    pub fn plain(state: PublicState) -> Self {
        Self { state, reason: None, cause: None, answer: None }
    }

    pub fn because(state: PublicState, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::plain(state) }
    }
}

/// Returns the changes that make an agent's rows say `said`. Rows in words that are not the publisher's stay,
/// unless the route is to be spoken of now.
pub(super) fn route_changes(
    agent: &AgentId,
    rows: &[RouteStatusRow],
    said: &BTreeMap<RouteKey, Said>,
    now: DateTime<Utc>,
) -> Vec<RowChange> {
    let is_ours =
        |row: &&RouteStatusRow| PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher);
    let gone = rows.iter().filter(|row| !said.contains_key(&row.key)).filter(is_ours);
    let deletes =
        gone.map(|row| RowChange::DeleteRouteStatus { agent_id: agent.clone(), key: row.key.clone() });
    let puts = route_puts(agent, rows, said, now).into_iter().map(RowChange::PutRouteStatus);
    puts.chain(deletes).collect()
}

/// Returns the rows that say something else than `said`, as they are to be.
pub(super) fn route_puts(
    agent: &AgentId,
    rows: &[RouteStatusRow],
    said: &BTreeMap<RouteKey, Said>,
    now: DateTime<Utc>,
) -> Vec<RouteStatusRow> {
    let there: BTreeMap<&RouteKey, &RouteStatusRow> = rows.iter().map(|row| (&row.key, row)).collect();
    let is_said = |row: &RouteStatusRow, said: &Said| {
        row.state == said.state.as_str()
            && (&row.reason, row.cause, &row.answer) == (&said.reason, said.cause, &said.answer)
    };
    let puts = said.iter().filter(|(key, said)| !there.get(key).is_some_and(|row| is_said(row, said)));
    let puts = puts.map(|(key, said)| RouteStatusRow {
        agent_id: agent.clone(),
        key: key.clone(),
        state: said.state.as_str().into(),
        reason: said.reason.clone(),
        cause: said.cause,
        answer: said.answer.clone(),
        updated_at: now,
    });
    puts.collect()
}

/// Returns the change that makes a tunnel's row equal to `wanted`, times aside.
pub(super) fn tunnel_change(row: Option<&TunnelStatusRow>, wanted: TunnelStatusRow) -> Option<RowChange> {
    let is_equal =
        row.is_some_and(|row| TunnelStatusRow { updated_at: wanted.updated_at, ..row.clone() } == wanted);
    (!is_equal).then_some(RowChange::PutTunnelStatus(wanted))
}

/// A tunnel's row in our words.
pub(super) fn tunnel_row(
    tunnel: &TunnelId,
    state: TunnelState,
    before: Option<&TunnelStatusRow>,
    now: DateTime<Utc>,
) -> TunnelStatusRow {
    TunnelStatusRow {
        tunnel_id: tunnel.clone(),
        state: state.as_str().into(),
        reason: None,
        cause: None,
        answer: None,
        config_version: before.and_then(|row| row.config_version),
        foreign_rules: before.map_or_else(|| serde_json::json!([]), |row| row.foreign_rules.clone()),
        updated_at: now,
        version_since: before.and_then(|row| row.version_since),
        is_settled: before.is_none_or(|row| row.is_settled),
    }
}

/// What others wrote into a tunnel and what becomes of it, one text each; `containers` by the rule that they want.
pub(super) fn foreign_words(foreign: &[Foreign], containers: &BTreeMap<RuleId, &str>) -> Vec<String> {
    let words = |foreign: &Foreign| match foreign {
        Foreign::Rule { id, service, equal_to } => {
            let fate = match equal_to.as_ref().and_then(|equal| containers.get(equal)) {
                Some(container) => format!("becomes ours, for container `{container}`"),
                None => "stays".to_owned(),
            };
            format!("rule `{}{}` to `{service}` {fate}", id.hostname, id.path)
        }
        Foreign::Key(name) => format!("setting `{name}` stays"),
    };
    foreign.iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hostname: &str) -> RouteKey {
        RouteKey { hostname: hostname.into(), path: String::new() }
    }

    fn row(hostname: &str, state: &str) -> RouteStatusRow {
        RouteStatusRow {
            agent_id: AgentId::new("a"),
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

        let changes = route_changes(&AgentId::new("a"), &rows, &said.into(), DateTime::UNIX_EPOCH);

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
}
