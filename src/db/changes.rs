//! Puts rows that are not derived from events among the rows in memory; equal ones stay as they are.

use std::collections::BTreeSet;

use super::batch::{RowChange, SaidBy};
use super::cloudflare::{AppliedRule, RouteStatusRow, TunnelStatusRow, status_key};
use super::containers::ContainerProblem;
use super::drifts::drift_key;
use super::entities::{
    access_application, access_policy, agent_observed, applied_rule, call_budget, container,
    container_problem, dns_record, drift, owned_tunnel, reviewed_route, route_status, session,
    tunnel_connectors, tunnel_observed, tunnel_status,
};
use super::error::DbError;
use super::notification_changes;
use super::plans::plan_model;
use super::secret_key::{SecretError, SecretKey};
use super::sessions::{MOST_SESSIONS, SessionRow};
use super::times::micros;
use super::unit::Unit;
use super::updates;
use super::words::to_json;
use crate::domain::agent::AgentStatus;
use crate::domain::container::Container;
use crate::domain::publish::PublicState;
use crate::domain::route::{RouteKey, Service};
use crate::domain::tunnel::TunnelReport;

/// Carries out one change that was asked for at `at`.
pub(super) fn carry_out(
    unit: &mut Unit,
    key: Option<&SecretKey>,
    at: i64,
    change: &RowChange,
) -> Result<(), DbError> {
    match change {
        RowChange::PutSecret { id, purpose, plain } => {
            let key = key.ok_or(SecretError::NoKey)?;
            unit.secrets.put(key.seal(id, purpose, plain, at));
        }
        RowChange::DeleteSecret { id } => unit.secrets.delete(&id.as_str().into()),
        RowChange::OpenSession(session) => open_session(unit, session),
        RowChange::EndSession { id } => unit.sessions.delete(id),
        RowChange::PutRefreshToken(token) => unit.refresh_tokens.put(token.model()),
        RowChange::DeleteRefreshToken { id } => unit.refresh_tokens.delete(id),
        RowChange::PutUpdateLog(log) => unit.update_logs.put(log.model()),
        RowChange::TouchAgents(_)
        | RowChange::PutAgentPeer { .. }
        | RowChange::PutAgentDialect { .. }
        | RowChange::PutContainer { .. }
        | RowChange::DeleteContainer { .. }
        | RowChange::ReplaceContainers { .. }
        | RowChange::PutTunnelObserved { .. }
        | RowChange::ForgetAgent { .. } => of_agent(unit, at, change),
        RowChange::PutUpdates { .. } | RowChange::PutScan { .. } | RowChange::PutHost { .. } => {
            updates::apply(unit, at, change);
        }
        RowChange::PutPlan(changes) => unit.plans.put(plan_model(changes, at)),
        RowChange::PutHostPlan(row) => unit.host_plans.put(row.model()),
        RowChange::DeleteHostPlan { agent_id, request_id } => {
            unit.host_plans.delete(&(agent_id.as_str().into(), request_id.as_str().into()));
        }
        RowChange::DeletePlan { id, made_before } => {
            let id = id.to_string();
            if unit.plans.get(&id).is_some_and(|plan| plan.created_at < micros(*made_before)) {
                unit.plans.delete(&id);
            }
        }
        RowChange::PutRun(row) => unit.runs.put(row.model(at)),
        RowChange::PutAppliedRules { .. }
        | RowChange::PutAccessPolicy(_)
        | RowChange::DeleteAccessPolicy { .. }
        | RowChange::PutAccessApplication(_)
        | RowChange::DeleteAccessApplication { .. }
        | RowChange::PutOwnedTunnel(_)
        | RowChange::DeleteOwnedTunnel { .. }
        | RowChange::PutDrift(_)
        | RowChange::DeleteDrift { .. }
        | RowChange::PutReviewedRoutes { .. }
        | RowChange::PutDnsRecord(_)
        | RowChange::DeleteDnsRecord { .. }
        | RowChange::PutRouteStatus(_)
        | RowChange::DeleteRouteStatus { .. }
        | RowChange::PutTunnelStatus(_)
        | RowChange::PutTunnelConnectors(_)
        | RowChange::DeleteTunnelStatus { .. }
        | RowChange::PutCallBudget(_) => of_cloudflare(unit, change),
        RowChange::PutNotificationPlace { .. }
        | RowChange::PutCondition(_)
        | RowChange::DeleteCondition { .. }
        | RowChange::StopTelling
        | RowChange::PutNotice { .. }
        | RowChange::DeleteNotice { .. }
        | RowChange::PutMessage(_)
        | RowChange::DeleteMessage { .. }
        | RowChange::PutTargetState(_)
        | RowChange::SetLeftOut { .. }
        | RowChange::RetryTarget { .. }
        | RowChange::ForgetTarget { .. } => notification_changes::apply(unit, change),
    }
    Ok(())
}

fn open_session(unit: &mut Unit, opened: &SessionRow) {
    unit.sessions.put(session::Model {
        id: opened.id.clone(),
        admin: opened.admin.clone(),
        version: i32::try_from(opened.version).unwrap_or(i32::MAX),
        opened_at: micros(opened.opened_at),
    });
    let mut own = unit.sessions.all(|row| row.admin == opened.admin);
    own.sort_by_key(|row| std::cmp::Reverse(row.opened_at));
    for old in own.iter().skip(MOST_SESSIONS) {
        unit.sessions.delete(&old.id);
    }
}

fn of_agent(unit: &mut Unit, at: i64, change: &RowChange) {
    match change {
        RowChange::TouchAgents(seen) => {
            for (agent_id, when) in seen {
                observe(unit, agent_id.as_str(), |row| {
                    row.last_seen_at = row.last_seen_at.max(Some(micros(*when)))
                });
            }
        }
        RowChange::PutAgentPeer { agent_id, hostname, peer, problem } => {
            observe(unit, agent_id.as_str(), |row| {
                row.hostname.clone_from(hostname);
                row.peer.clone_from(peer);
                row.problem.clone_from(problem);
            });
        }
        RowChange::PutAgentDialect { agent_id, dialect } => {
            observe(unit, agent_id.as_str(), |row| row.dialect = Some(dialect.as_str().into()));
        }
        RowChange::PutContainer { agent_id, container, problems } => {
            put_container(unit, at, agent_id.as_str(), container, problems);
        }
        RowChange::DeleteContainer { agent_id, container_id } => {
            delete_container(unit, agent_id.as_str(), container_id.as_str());
        }
        RowChange::ReplaceContainers { agent_id, containers } => {
            replace_containers(unit, at, agent_id.as_str(), containers);
        }
        RowChange::PutTunnelObserved { agent_id, report } => {
            put_tunnel_observed(unit, at, agent_id.as_str(), report);
        }
        RowChange::ForgetAgent { agent_id } => forget(unit, agent_id.as_str()),
        _ => {}
    }
}

fn replace_containers(
    unit: &mut Unit,
    at: i64,
    agent_id: &str,
    containers: &[(Container, Vec<ContainerProblem>)],
) {
    let wanted: BTreeSet<&str> = containers.iter().map(|(container, _)| container.id.as_str()).collect();
    for id in containers_of(unit, agent_id) {
        if !wanted.contains(id.as_str()) {
            delete_container(unit, agent_id, &id);
        }
    }
    for (container, problems) in containers {
        put_container(unit, at, agent_id, container, problems);
    }
}

/// A range and not a search: a group may hold the containers of hundreds of agents.
fn containers_of(unit: &Unit, agent_id: &str) -> Vec<String> {
    let first = (agent_id.to_owned(), String::new());
    let own = unit.containers.from(&first).take_while(|row| row.agent_id == agent_id);
    own.map(|row| row.id.clone()).collect()
}

fn put_tunnel_observed(unit: &mut Unit, at: i64, agent_id: &str, report: &TunnelReport) {
    // When the agent looked changes with each look; what it saw is what is compared.
    let seen = TunnelReport { observed_at: None, ..report.clone() };
    let row = tunnel_observed::Model { agent_id: agent_id.into(), report: to_json(&seen), changed_at: at };
    if unit.tunnel_observed.get(&row.agent_id).is_none_or(|stored| stored.report != row.report) {
        unit.tunnel_observed.put(row);
    }
}

fn observe(unit: &mut Unit, agent_id: &str, change: impl FnOnce(&mut agent_observed::Model)) {
    let stored = unit.agent_observed.get(&agent_id.into()).cloned();
    let mut row = stored.unwrap_or_else(|| agent_observed::Model::unseen(agent_id));
    change(&mut row);
    unit.agent_observed.put(row);
}

fn put_container(
    unit: &mut Unit,
    at: i64,
    agent_id: &str,
    container: &Container,
    problems: &[ContainerProblem],
) {
    let mut row = container::Model {
        agent_id: agent_id.into(),
        id: container.id.as_str().into(),
        name: container.name.clone(),
        image: container.image.clone(),
        status: container.status.clone(),
        labels: to_json(&container.labels),
        networks: container.networks.as_ref().map(to_json),
        changed_at: at,
    };
    if let Some(stored) = unit.containers.get(&(row.agent_id.clone(), row.id.clone())) {
        let since = std::mem::replace(&mut row.changed_at, stored.changed_at);
        if row != *stored {
            row.changed_at = since;
        }
    }
    put_problems(unit, agent_id, &row.id, problems);
    unit.containers.put(row);
}

fn put_problems(unit: &mut Unit, agent_id: &str, container_id: &str, problems: &[ContainerProblem]) {
    let count = i32::try_from(problems.len()).unwrap_or(i32::MAX);
    let first = (agent_id.to_owned(), container_id.to_owned(), count);
    let is_own =
        |row: &&container_problem::Model| row.agent_id == agent_id && row.container_id == container_id;
    let surplus: Vec<i32> = unit.problems.from(&first).take_while(is_own).map(|row| row.position).collect();
    for position in surplus {
        unit.problems.delete(&(agent_id.into(), container_id.into(), position));
    }
    for (position, problem) in (0..count).zip(problems) {
        unit.problems.put(container_problem::Model {
            agent_id: agent_id.into(),
            container_id: container_id.into(),
            position,
            label: problem.label.clone(),
            value: problem.value.clone(),
            reason: problem.reason.clone(),
        });
    }
}

fn delete_container(unit: &mut Unit, agent_id: &str, container_id: &str) {
    put_problems(unit, agent_id, container_id, &[]);
    unit.containers.delete(&(agent_id.into(), container_id.into()));
}

fn forget(unit: &mut Unit, agent_id: &str) {
    for id in containers_of(unit, agent_id) {
        delete_container(unit, agent_id, &id);
    }
    for row in unit.route_status.all(|row| row.agent_id == agent_id) {
        unit.route_status.delete(&(row.agent_id, row.hostname, row.path));
    }
    for row in unit.refresh_tokens.all(|row| row.agent_id == agent_id) {
        unit.refresh_tokens.delete(&row.id);
    }
    for row in unit.update_logs.all(|row| row.agent_id == agent_id) {
        unit.update_logs.delete(&(row.agent_id, row.place));
    }
    put_reviewed(unit, agent_id, &[]);
    unit.tunnel_observed.delete(&agent_id.into());
    updates::forget(unit, agent_id);
    if let Some(seen) = unit.agent_observed.get(&agent_id.into()).cloned() {
        // How it takes commands matters until it has done its last one.
        let dialect = seen.dialect;
        unit.agent_observed.put(agent_observed::Model { dialect, ..agent_observed::Model::unseen(agent_id) });
    }
}

fn of_cloudflare(unit: &mut Unit, change: &RowChange) {
    match change {
        RowChange::PutAppliedRules { tunnel_id, rules } => put_applied_rules(unit, tunnel_id.as_str(), rules),
        RowChange::PutDnsRecord(row) => unit.dns_records.put(dns_record::Model {
            zone_id: row.zone_id.as_str().into(),
            name: row.name.clone(),
            record_id: row.record_id.as_ref().map(|id| id.as_str().into()),
            tunnel_id: row.tunnel_id.as_str().into(),
            content: row.content.clone(),
            created_at: micros(row.created_at),
            settled: row.is_settled,
        }),
        RowChange::DeleteDnsRecord { zone_id, name } => {
            unit.dns_records.delete(&(zone_id.as_str().into(), name.clone()));
        }
        RowChange::PutOwnedTunnel(row) => unit.owned_tunnels.put(owned_tunnel::Model {
            account_id: row.account_id.as_str().into(),
            name: row.name.clone(),
            tunnel_id: row.tunnel_id.as_ref().map(|id| id.as_str().into()),
            created_at: micros(row.created_at),
            settled: row.is_settled,
        }),
        RowChange::DeleteOwnedTunnel { account_id, name } => {
            unit.owned_tunnels.delete(&(account_id.as_str().into(), name.clone()));
        }
        RowChange::PutDrift(row) => unit.drifts.put(drift::Model {
            account_id: row.account_id.as_str().into(),
            kind: row.drift.kind.as_str().into(),
            name: row.drift.name.clone(),
            tunnel_id: row.tunnel_id.as_str().into(),
            wanted: row.drift.wanted.clone(),
            found: row.drift.found.clone(),
            found_at: micros(row.found_at),
            state: row.state.as_str().into(),
        }),
        RowChange::DeleteDrift { account_id, kind, name } => {
            unit.drifts.delete(&drift_key(account_id, *kind, name));
        }
        RowChange::PutReviewedRoutes { agent_id, services } => {
            put_reviewed(unit, agent_id.as_str(), services)
        }
        RowChange::PutAccessPolicy(row) => unit.access_policies.put(access_policy::Model {
            account_id: row.account_id.as_str().into(),
            name: row.name.clone(),
            policy_id: row.policy_id.as_ref().map(|id| id.as_str().into()),
            body: to_json(&row.body),
            created_at: micros(row.created_at),
            settled: row.is_settled,
        }),
        RowChange::DeleteAccessPolicy { account_id, name } => {
            unit.access_policies.delete(&(account_id.as_str().into(), name.clone()));
        }
        RowChange::PutAccessApplication(row) => unit.access_applications.put(access_application::Model {
            account_id: row.account_id.as_str().into(),
            domain: row.domain.clone(),
            application_id: row.application_id.as_ref().map(|id| id.as_str().into()),
            aud: row.aud.clone(),
            tunnel_id: row.tunnel_id.as_str().into(),
            body: to_json(&row.body),
            created_at: micros(row.created_at),
            settled: row.is_settled,
        }),
        RowChange::DeleteAccessApplication { account_id, domain } => {
            unit.access_applications.delete(&(account_id.as_str().into(), domain.clone()));
        }
        RowChange::PutRouteStatus(row) => put_route_status(unit, row),
        RowChange::DeleteRouteStatus { agent_id, key, said_by } => {
            forget_route_status(unit, &status_key(agent_id.as_ref(), key), *said_by);
        }
        RowChange::PutTunnelStatus(row) => put_tunnel_status(unit, row),
        RowChange::DeleteTunnelStatus { tunnel_id } => {
            unit.tunnel_status.delete(&tunnel_id.as_str().into());
            unit.tunnel_connectors.delete(&tunnel_id.as_str().into());
        }
        RowChange::PutTunnelConnectors(row) => unit.tunnel_connectors.put(tunnel_connectors::Model {
            tunnel_id: row.tunnel_id.as_str().into(),
            connectors: to_json(&row.listed.connectors),
            listed_at: micros(row.listed.at),
            written_again: row.written_again,
        }),
        RowChange::PutCallBudget(row) => unit.call_budgets.put(call_budget::Model {
            account_id: row.account_id.as_str().into(),
            calls_left: row.calls_left,
            noted_at: micros(row.noted_at),
            blocked_until: row.blocked_until.map(micros),
        }),
        _ => {}
    }
}

/// Stores what is said of a tunnel. Since when its configuration has its version is seen here and nowhere else.
fn put_tunnel_status(unit: &mut Unit, row: &TunnelStatusRow) {
    let tunnel_id = row.tunnel_id.as_str().to_owned();
    let stored = unit.tunnel_status.get(&tunnel_id);
    let version_since = match stored.filter(|stored| stored.config_version == row.config_version) {
        Some(stored) => stored.version_since,
        None => row.config_version.map(|_| micros(row.updated_at)),
    };
    unit.tunnel_status.put(tunnel_status::Model {
        tunnel_id,
        state: row.state.clone(),
        reason: row.reason.clone(),
        cause: row.cause.map(|cause| cause.as_str().into()),
        answer: row.answer.clone(),
        config_version: row.config_version,
        foreign_rules: to_json(&row.foreign_rules),
        updated_at: micros(row.updated_at),
        version_since,
        settled: row.is_settled,
    });
}

/// Stores what is said of a route, if it can still be said. Whoever says it looked before this commit: meanwhile the
/// route may have been released, or its agent removed, and nobody would take the row away again.
fn put_route_status(unit: &mut Unit, row: &RouteStatusRow) {
    let key = status_key(row.agent_id.as_ref(), &row.key);
    let (agent_id, hostname, path) = key.clone();
    let place = (hostname.clone(), path.clone());
    let is_of_a_claim = PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher);
    let has_claim = match &row.agent_id {
        Some(_) => unit.routes.get(&place).is_some_and(|route| route.agent_id == agent_id),
        None => unit.manual_rules.get(&place).is_some(),
    };
    let agent = unit.agents.get(&agent_id);
    let is_removed = agent.is_some_and(|agent| agent.status == AgentStatus::Removed.as_str());
    if is_removed {
        unit.route_status.delete(&key);
        return;
    }
    if is_of_a_claim && !has_claim {
        // That it was taken away may be on record already, in the words of who noticed.
        forget_route_status(unit, &key, SaidBy::Publisher);
        return;
    }
    unit.route_status.put(route_status::Model {
        agent_id,
        hostname,
        path,
        state: row.state.clone(),
        reason: row.reason.clone(),
        cause: row.cause.map(|cause| cause.as_str().into()),
        answer: row.answer.clone(),
        updated_at: micros(row.updated_at),
    });
}

/// Forgets what one of both said of a route.
fn forget_route_status(unit: &mut Unit, key: &(String, String, String), said_by: SaidBy) {
    let is_from_publisher = |row: &route_status::Model| {
        PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher)
    };
    let is_its = |row: &route_status::Model| is_from_publisher(row) == (said_by == SaidBy::Publisher);
    if unit.route_status.get(key).is_some_and(is_its) {
        unit.route_status.delete(key);
    }
}

fn put_reviewed(unit: &mut Unit, agent_id: &str, services: &[Service]) {
    let wanted: BTreeSet<_> = services.iter().map(|service| &service.key).collect();
    for row in unit.reviewed_routes.all(|row| row.agent_id == agent_id) {
        let key = RouteKey { hostname: row.hostname, path: row.path };
        if !wanted.contains(&key) {
            unit.reviewed_routes.delete(&(row.agent_id, key.hostname, key.path));
        }
    }
    for service in services {
        unit.reviewed_routes.put(reviewed_route::Model {
            agent_id: agent_id.into(),
            hostname: service.key.hostname.clone(),
            path: service.key.path.clone(),
            service: to_json(service),
        });
    }
}

fn put_applied_rules(unit: &mut Unit, tunnel_id: &str, rules: &[AppliedRule]) {
    let wanted: BTreeSet<_> = rules.iter().map(|rule| (&rule.key.hostname, &rule.key.path)).collect();
    let gone = |row: &applied_rule::Model| {
        row.tunnel_id == tunnel_id && !wanted.contains(&(&row.hostname, &row.path))
    };
    for row in unit.applied_rules.all(gone) {
        unit.applied_rules.delete(&(row.tunnel_id, row.hostname, row.path));
    }
    for rule in rules {
        unit.applied_rules.put(applied_rule::Model {
            tunnel_id: tunnel_id.into(),
            hostname: rule.key.hostname.clone(),
            path: rule.key.path.clone(),
            rule: to_json(&rule.rule),
        });
    }
}
