//! Agents, keys and rules in the shape that DockFlare's API gives them, without any key or token.
//!
//! What a DockFlare Master stored verbatim (`last_event`, `migration_status`) is made here from what we know,
//! so that scripts that read it find the fields they expect.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::error::ApiError;
use super::listings::{Elements, Page, Sink, next};
use super::picture::{Member, ROWS, Standing, Statuses, moving, presence, reaches, warning};
use super::state::WebState;
use crate::db::read::{self, AgentRow, ContainerRow, KeyRow, RouteStatusRow, TunnelObservedRow};
use crate::domain::access::AccessAsk;
use crate::domain::command::{Command, CommandStatus};
use crate::domain::connector::Reachability;
use crate::domain::id::{AgentId, GroupId, KeyId};
use crate::domain::route::{Route, RouteState, Service};
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::protocol::command::wire_form;

/// Writes a time as DockFlare does: microseconds and an offset.
pub fn legacy_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// What the record of one agent is made of; of an agent that has said nothing yet, nothing.
#[derive(Default)]
struct Parts {
    commands: Vec<Command>,
    containers: Vec<ContainerRow>,
    observed: Option<TunnelObservedRow>,
    reach: Option<Reachability>,
    rules: Vec<Value>,
}

/// Returns the record of one agent; fails with 404 if there is none.
pub async fn agent_record(state: &WebState, id: &AgentId) -> Result<Value, ApiError> {
    let db = &state.master().db;
    let row = read::find_agent(db, id).await.map_err(ApiError::internal)?.ok_or(ApiError::AgentNotFound)?;
    let routes = read::list_agent_routes(db, id).await.map_err(ApiError::internal)?;
    let statuses = Statuses::read(state, &row).await?;
    let rule = |route: &Route| rule_record(route, Some(&statuses.member), statuses.standing(route));
    let parts = Parts {
        rules: routes.iter().map(rule).collect(),
        commands: read::list_open_commands(db, id).await.map_err(ApiError::internal)?,
        containers: read::list_containers(db, id).await.map_err(ApiError::internal)?,
        observed: read::find_tunnel_observed(db, id).await.map_err(ApiError::internal)?,
        reach: statuses.member.reach.clone(),
    };
    Ok(record(state, &row, &parts))
}

/// Returns the record of an agent that registered just now for the first time: it has nothing else to be read.
pub async fn new_agent_record(state: &WebState, id: &AgentId) -> Result<Value, ApiError> {
    let row = read::find_agent(&state.master().db, id).await.map_err(ApiError::internal)?;
    Ok(record(state, &row.ok_or(ApiError::AgentNotFound)?, &Parts::default()))
}

/// Returns what an agent of our own is told of itself when it registers: it asks for all else where it needs it, and a
/// whole fleet comes at once.
pub fn native_record(state: &WebState, id: &AgentId) -> Value {
    let slot = state.master().directory.slot(id);
    json!({ "id": id, "status": slot.map(|slot| slot.status()) })
}

/// Agents on a page of their list: each brings its containers and routes.
const AGENTS: u64 = 200;

/// Returns the records of the agents after `after`, by id, and where the next page begins. The loop over agents is no
/// place for a query: there may be thousands.
async fn agent_page(state: WebState, after: Option<AgentId>) -> Page<AgentId> {
    let db = &state.master().db;
    let views = read::agent_views(db, after.as_ref(), AGENTS).await.map_err(ApiError::internal)?;
    let ids: Vec<AgentId> = views.iter().map(|view| view.agent.id.clone()).collect();
    let mut reaches = reaches(&state, &views).await?;
    let mut routes = read::routes_of_agents(db, &ids).await.map_err(ApiError::internal)?;
    let mut said = read::route_status_of(db, &ids).await.map_err(ApiError::internal)?;
    let mut commands = read::open_commands_of(db, &ids).await.map_err(ApiError::internal)?;
    let mut containers = read::containers_of(db, &ids).await.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for view in &views {
        let id = &view.agent.id;
        let member = Member::of(&state, &view.agent, view.tunnel.as_ref(), reaches.remove(id));
        let containers = containers.remove(id).unwrap_or_default();
        let networks = containers.iter().filter_map(|row| {
            let networks = row.container.networks.clone()?;
            Some((row.container.id.clone(), networks))
        });
        let statuses = Statuses::of(said.remove(id).unwrap_or_default(), networks.collect(), member);
        let rule = |route: &Route| rule_record(route, Some(&statuses.member), statuses.standing(route));
        let parts = Parts {
            rules: routes.remove(id).unwrap_or_default().iter().map(rule).collect(),
            commands: commands.remove(id).unwrap_or_default(),
            containers,
            observed: view.tunnel.clone(),
            reach: statuses.member.reach.clone(),
        };
        elements.entry(id.as_str(), &record(&state, &view.agent, &parts))?;
    }
    Ok((elements, next(&views, AGENTS, |view| view.agent.id.clone())))
}

fn record(state: &WebState, row: &AgentRow, parts: &Parts) -> Value {
    let presence = presence(state, &row.id, Some(row));
    let queued = parts.commands.iter().filter(|command| command.status == CommandStatus::Queued);
    let commands: Vec<_> = queued.map(|command| wire_form(&command.kind, None)).collect();
    let mut record = json!({
        "id": row.id, "display_name": row.display_name, "custom_name": row.custom_name, "version": row.version,
        "status": row.status, "last_seen": presence.last_seen.map(legacy_time), "online": presence.is_online,
        "health": if presence.is_online { "connected" } else { "disconnected" },
        "api_key": null, "key_id": row.key_id, "meta": { "registered_with_key_owner": row.key_owner },
        "assigned_tunnel_id": row.tunnel_id, "assigned_tunnel_name": row.tunnel_name, "assigned_tunnel_token": null,
        "commands": commands, "last_containers": containers(&parts.containers), "problem": warning(state, row),
        "hostname": row.hostname, "hostname_patterns": row.hostname_patterns, "shares_key": row.shares_key(),
    });
    if let Some(at) = presence.last_seen {
        record["last_event"] = json!({
            "type": "status_report", "timestamp": legacy_time(at),
            "container": { "containers": containers(&parts.containers) },
        });
    }
    if let Some(at) = row.enrolled_at {
        record["last_enrolled_at"] = json!(legacy_time(at));
    }
    if let Some(observed) = &parts.observed {
        record["tunnel_status"] = tunnel_record(&observed.report, row);
        record["tunnel_version"] = json!(observed.report.version);
        record["tunnel_last_seen"] = json!(legacy_time(observed.changed_at));
    }
    record["moving"] = match moving(state, row) {
        Some((reason, is_over)) => json!({
            "from": row.moving_from, "to": row.tunnel_id, "since": row.enrolled_at, "reason": reason, "overdue": is_over,
        }),
        None => Value::Null,
    };
    if row.tunnel_id.is_some() {
        record["migration_status"] = migration(row, parts);
        record["serves"] = serves(parts.reach.as_ref());
        record["serves_reason"] = json!(parts.reach.as_ref().and_then(|reach| reach.reason.as_deref()));
    }
    record
}

fn containers(rows: &[ContainerRow]) -> Vec<Value> {
    let entry = |row: &ContainerRow| {
        let one = &row.container;
        json!({ "id": one.id, "name": one.name, "labels": one.labels, "status": one.status.as_deref().unwrap_or("running") })
    };
    rows.iter().map(entry).collect()
}

/// State of a tunnel in the words a DockFlare Master keeps, with ours beside them.
fn tunnel_record(report: &TunnelReport, row: &AgentRow) -> Value {
    let name = row.tunnel_name.as_deref();
    if row.tunnel_id.as_ref().is_some_and(|tunnel| !report.is_about(tunnel, name)) {
        let other = report.name.as_deref().or(report.tunnel_id.as_ref().map(|id| id.as_str()));
        let reason = format!("the last word of the agent is about tunnel `{}`", other.unwrap_or_default());
        return json!({ "status": "unknown", "name": name, "version": null, "health": "unknown", "reason": reason });
    }
    let status = match report.health {
        TunnelHealth::Running | TunnelHealth::Degraded | TunnelHealth::Unknown => "running",
        TunnelHealth::Restarting | TunnelHealth::Failed | TunnelHealth::Stopped => "stopped",
    };
    json!({ "status": status, "name": report.name, "version": report.version, "health": report.health, "reason": report.reason })
}

/// An adopted tunnel is merged rule by rule, so there is nothing left to migrate; scripts look for the fields.
fn migration(row: &AgentRow, parts: &Parts) -> Value {
    json!({
        "auto_imported": 0, "completed_at": true, "errors": [], "has_conflicts": false, "has_orphaned": false,
        "last_analysis": {
            "agent_containers": containers(&parts.containers), "existing_rules": parts.rules, "auto_import": parts.rules,
            "conflicts": [], "new_containers": [], "orphaned": [], "tunnel_id": row.tunnel_id,
        },
    })
}

/// Returns the records of the keys after `after`, by id, and where the next page begins.
async fn key_page(state: WebState, after: Option<KeyId>) -> Page<KeyId> {
    let keys =
        read::keys_after(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for key in &keys {
        elements.entry(key.id.as_str(), &key_record(&state, key))?;
    }
    Ok((elements, next(&keys, ROWS, |key| key.id.clone())))
}

/// Writes all agents and all keys, as two fields of an object.
pub async fn write_agents_and_keys(state: &WebState, out: &mut Sink) -> Result<(), ApiError> {
    out.text("\"agents\":{");
    state.listings().pages(out, |after| agent_page(state.clone(), after)).await?;
    out.text("},\"agent_keys\":{");
    state.listings().pages(out, |after| key_page(state.clone(), after)).await?;
    out.text("}");
    Ok(())
}

fn key_record(state: &WebState, key: &KeyRow) -> Value {
    // The agent that uses the key was heard with it: the key itself keeps no time.
    let used = key.bound_agent_id.as_ref().and_then(|id| presence(state, id, None).last_seen);
    json!({
        "owner": key.owner, "status": key.status, "bound_agent_id": key.bound_agent_id,
        "created_at": legacy_time(key.created_at), "last_used_at": used.map(legacy_time),
        "revoked_at": key.revoked_at.map(legacy_time), "rolled_from": key.rolled_from,
        "hostname_patterns": key.hostname_patterns, "seats": key.seats,
    })
}

/// Returns what a route asks for, and where it stands, as `/services` lists it; `source` is whose it is.
pub fn spec_record(spec: &Service, standing: &Standing<'_>, source: &str) -> Value {
    let origin = &spec.origin_request;
    json!({
        "hostname": spec.key.hostname, "path": some(&spec.key.path), "service": spec.service,
        "status": standing.state.v2_status(), "reason": standing.reasons(),
        "cloudflare_answer": standing.answer, "source": source, "live": standing.is_live(),
        "serves": serves(standing.reach), "serves_reason": standing.reach.and_then(|reach| reach.reason.as_deref()),
        "zone_id": null, "zone_name": spec.zone_name,
        "no_tls_verify": origin.no_tls_verify.unwrap_or(false), "origin_server_name": origin.origin_server_name,
        "http_host_header": origin.http_host_header, "http2_origin": origin.http2_origin.unwrap_or(false),
        "disable_chunked_encoding": origin.disable_chunked_encoding.unwrap_or(false),
        "match_sni_to_host": origin.match_sni_to_host.unwrap_or(false),
        "protection": protection(&spec.access),
        "access_app_id": null, "access_app_config_hash": null,
        "access_group_id": groups_of(&spec.access), "access_policy_type": policy_type(&spec.access),
        "access_policy_ui_override": false, "rule_ui_override": false,
    })
}

/// Returns a rule as `/services` lists it.
pub fn rule_record(route: &Route, agent: Option<&Member>, standing: Standing<'_>) -> Value {
    let delete_at = match &route.state {
        RouteState::PendingDeletion { due_at, .. } => {
            Some(due_at.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
        RouteState::Active => None,
    };
    let mut record = spec_record(&route.spec, &standing, "agent");
    record["delete_at"] = json!(delete_at);
    record["agent_id"] = json!(route.agent_id);
    record["container_id"] = json!(route.container_id);
    record["container_name"] = json!(route.container_name);
    record["tunnel_id"] = json!(agent.and_then(|agent| agent.tunnel_id.as_ref()));
    record["tunnel_name"] = json!(agent.and_then(|agent| agent.tunnel_name.as_ref()));
    record
}

/// Says what protects a route: by a word, by the groups that it asks for, and as people read it.
fn protection(ask: &AccessAsk) -> Value {
    json!({ "kind": ask.kind(), "groups": ask.groups(), "in_words": ask.in_words() })
}

/// The groups of a rule as DockFlare tells them; a rule without any has null.
fn groups_of(ask: &AccessAsk) -> Option<&[GroupId]> {
    Some(ask.groups()).filter(|groups| !groups.is_empty())
}

/// DockFlare's word for where the policies of a rule come from.
fn policy_type(ask: &AccessAsk) -> Option<&'static str> {
    match ask {
        AccessAsk::Groups { .. } => Some("group"),
        AccessAsk::Inherit => Some("default_tld"),
        AccessAsk::Own { .. } => Some("inline"),
        AccessAsk::Nothing | AccessAsk::Public | AccessAsk::Unreadable { .. } => None,
    }
}

/// Returns what was asked for and not granted, as a rule with its reason.
pub fn refused_record(status: &RouteStatusRow) -> Value {
    json!({
        "hostname": status.key.hostname, "path": some(&status.key.path), "service": null, "status": status.state,
        "reason": status.reason, "cloudflare_answer": status.answer, "source": "agent", "agent_id": status.agent_id,
        "delete_at": null, "live": false, "serves": null, "serves_reason": null,
    })
}

/// Says whether requests reach a tunnel, in a word; null if there is none to reach.
pub fn serves(reach: Option<&Reachability>) -> Value {
    json!(reach.map(|reach| reach.reach))
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
