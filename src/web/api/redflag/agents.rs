//! Agents, as RedFlag's clients see them: every agent of ours is one.

use std::collections::{BTreeMap, HashMap};

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::filled;
use crate::db::read::{
    AgentRow, HostRow, RefreshTokenRow, ScanRow, find_agent, hosts_of, list_agents, refresh_tokens_of,
    scans_of_agents,
};
use crate::domain::agent::AgentStatus;
use crate::domain::host::Host;
use crate::domain::id::AgentId;
use crate::domain::refresh::{InForce, in_force};
use crate::domain::update::RebootAsk;
use crate::web::api::agents::agent_id;
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::check_ins::LONGEST_RAPID;
use crate::web::error::ApiError;
use crate::web::listings::{self, Elements, Page, next};
use crate::web::picture::{presence, warning};
use crate::web::query::Query;
use crate::web::state::WebState;

/// Agents that are read at a time.
const AT_ONCE: u64 = 200;
/// For how long an agent checks in often if nobody says it.
const HEARTBEAT_MINUTES: u32 = 10;

/// Which agents.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
pub struct AgentsQuery {
    /// `online` or `offline`.
    status: Option<String>,
    /// `linux`, `windows` or `macos`.
    os_type: Option<String>,
}

/// `GET /api/v1/agents`: every agent.
#[utoipa::path(get, path = "/api/v1/agents", tag = "v1", params(AgentsQuery), responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    query: Query<AgentsQuery>,
) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    let wanted = query.0;
    listings::json(|mut out| async move {
        out.text("{\"agents\":[");
        state.listings().pages(&mut out, |after| page(state.clone(), wanted.clone(), after)).await?;
        let total = out.count();
        out.text("]");
        out.fields(&json!({ "total": total }))?;
        out.text("}");
        Ok(out)
    })
    .await
}

async fn page(state: WebState, wanted: AgentsQuery, after: Option<AgentId>) -> Page<AgentId> {
    let rows = list_agents(&state.master().db, after.as_ref(), AT_ONCE).await.map_err(ApiError::internal)?;
    let ids: Vec<AgentId> = rows.iter().map(|row| row.id.clone()).collect();
    let known = Known::of(&state, &ids).await?;
    let mut elements = Elements::default();
    for row in rows.iter().filter(|row| row.status != AgentStatus::Removed) {
        let record = record(&state, row, &known);
        let fits = |wanted: &Option<String>, name: &str| {
            filled(wanted).is_none_or(|word| record.get(name).and_then(Value::as_str) == Some(word.as_str()))
        };
        if fits(&wanted.status, "status") && fits(&wanted.os_type, "os_type") {
            elements.push(&record)?;
        }
    }
    Ok((elements, next(&rows, AT_ONCE, |row| row.id.clone())))
}

/// `GET /api/v1/agents/{id}`.
#[utoipa::path(get, path = "/api/v1/agents/{id}", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn one(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = listed(&state, &agent_id(&id)?).await?;
    let known = Known::of(&state, std::slice::from_ref(&row.id)).await?;
    Ok(HttpResponse::Ok().json(record(&state, &row, &known)))
}

/// Returns an agent that is on the list.
pub(super) async fn listed(state: &WebState, id: &AgentId) -> Result<AgentRow, ApiError> {
    let row = find_agent(&state.master().db, id).await.map_err(ApiError::internal)?;
    row.filter(|row| row.status != AgentStatus::Removed).ok_or(ApiError::AgentNotFound)
}

/// What is shown beside agents, read for many at once.
struct Known {
    hosts: BTreeMap<AgentId, HostRow>,
    scans: Vec<ScanRow>,
    tokens: HashMap<AgentId, Vec<RefreshTokenRow>>,
}

impl Known {
    async fn of(state: &WebState, ids: &[AgentId]) -> Result<Self, ApiError> {
        let db = &state.master().db;
        Ok(Self {
            hosts: hosts_of(db, ids).await.map_err(ApiError::internal)?,
            scans: scans_of_agents(db, ids).await.map_err(ApiError::internal)?,
            tokens: refresh_tokens_of(db, ids).await.map_err(ApiError::internal)?,
        })
    }
}

fn record(state: &WebState, row: &AgentRow, known: &Known) -> Value {
    let presence = presence(state, &row.id, Some(row));
    let host = known.hosts.get(&row.id).cloned();
    let (changed_at, host) =
        host.map_or((row.registered_at, Host::default()), |row| (row.changed_at, row.host));
    let scans = known.scans.iter().filter(|scan| scan.agent_id == row.id);
    let tokens = known.tokens.get(&row.id).map(Vec::as_slice).unwrap_or_default();
    let reboot = host.reboot.clone().unwrap_or_default();
    json!({
        "id": row.id, "hostname": host.hostname.as_ref().unwrap_or(&row.display_name), "display_name": row.display_name,
        "os_type": host.os_type, "os_version": host.os_version, "os_architecture": host.architecture,
        "agent_version": row.version, "current_version": row.version, "update_available": false,
        "last_version_check": null, "last_seen": presence.last_seen,
        "status": if presence.is_online { "online" } else { "offline" }, "metadata": metadata(state, row, &host),
        "reboot_required": reboot.wanted, "last_reboot_at": null,
        "reboot_reason": (!reboot.reasons.is_empty()).then(|| reboot.reasons.join("; ")),
        "created_at": row.registered_at, "updated_at": changed_at,
        "last_scan": scans.map(|scan| scan.checked_at).max(),
        "standing": row.status, "dialect": row.dialect, "key_id": row.key_id, "problem": warning(state, row),
        "credential": credential(tokens, state.master().clock.now()),
    })
}

/// What RedFlag keeps in one heap: measurements and what the machine is, as it names them.
fn metadata(state: &WebState, row: &AgentRow, host: &Host) -> Value {
    let said = state.check_ins().of(&row.id);
    let mut all: Map<String, Value> = said.metrics;
    if let Some(at) = said.metrics_at {
        all.insert("metrics_updated_at".into(), json!(at));
    }
    let disk = host.disks.first();
    for (name, value) in [
        ("cpu_model", json!(host.cpu_model)),
        ("cpu_cores", json!(host.cpu_count)),
        ("memory_total", json!(host.memory_bytes)),
        ("disk_mount", json!(disk.map(|disk| &disk.mount))),
        ("disk_total", json!(disk.map(|disk| disk.total_bytes))),
        ("disk_used", json!(disk.map(|disk| disk.used_bytes))),
        ("rapid_polling_until", json!(said.rapid_until)),
    ] {
        if !value.is_null() {
            all.insert(name.into(), value);
        }
    }
    Value::Object(all)
}

/// What renews the agent's access, if anything does.
fn credential(tokens: &[RefreshTokenRow], now: DateTime<Utc>) -> Value {
    let Some(InForce { token, is_rotated }) = in_force(tokens, now) else { return Value::Null };
    json!({
        "kind": "refresh_token", "rotated": is_rotated, "bound_to": if is_rotated { "client" } else { "machine" },
        "created_at": token.created_at, "last_used_at": token.last_used_at, "expires_at": token.expires_at,
    })
}

/// `POST /api/v1/agents/{id}/scan`: the agent looks for updates as soon as it asks.
#[utoipa::path(post, path = "/api/v1/agents/{id}/scan", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409), (status = 503)),
    security(("admin_token" = [])))]
pub async fn scan(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    listed(&state, &id).await?;
    let command = state.master().scan_now(&id, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "scan triggered", "command_id": command.id })))
}

/// `GET /api/v1/agents/{id}/heartbeat`: whether the agent checks in often.
#[utoipa::path(get, path = "/api/v1/agents/{id}/heartbeat", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn heartbeat(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    listed(&state, &id).await?;
    let now = state.master().clock.now();
    let until = state.check_ins().rapid(&id, now);
    Ok(HttpResponse::Ok().json(json!({
        "enabled": until.is_some(), "until": until, "active": until.is_some(),
        "duration_minutes": until.map_or(0, |until| (until - now).num_minutes()), "source": null,
    })))
}

/// When a host is started anew, and what people on it are told.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RebootBody {
    /// Minutes until then, 0 to 1,440; 1 if it is left out.
    delay_minutes: Option<u16>,
    /// At most 200 characters.
    message: Option<String>,
}

/// `POST /api/v1/agents/{id}/reboot`: has a host started anew; one of ours if its own policy allows that.
#[utoipa::path(post, path = "/api/v1/agents/{id}/reboot", tag = "v1", params(("id" = String, Path)),
    request_body = RebootBody, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409)),
    security(("admin_token" = [])))]
pub async fn reboot(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<RebootBody>,
) -> Result<HttpResponse, ApiError> {
    let row = listed(&state, &agent_id(&id)?).await?;
    let RebootBody { delay_minutes, message } = body.0;
    let ask = RebootAsk { delay_minutes: delay_minutes.unwrap_or(1), message: message.unwrap_or_default() };
    let command = state.master().reboot_host(&row.id, ask, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "reboot command sent", "command_id": command, "agent_id": row.id, "hostname": row.display_name,
    })))
}

/// How often an agent is to check in.
#[derive(Debug, Deserialize, ToSchema)]
pub struct HeartbeatOrder {
    /// True: every few seconds, for a while; false: as often as before.
    enabled: Option<bool>,
    /// For how long, from 1 to 60 minutes; 10 if it is left out.
    duration_minutes: Option<i64>,
}

impl HeartbeatOrder {
    /// For how many minutes; none ends it.
    fn minutes(&self) -> Result<Option<u32>, ApiError> {
        let bad = |field: &str, way_out: &str| {
            Err(ApiError::Invalid(format!("field `{field}` is not allowed: {way_out}")))
        };
        match (self.enabled, self.duration_minutes.map(u32::try_from)) {
            (None, _) => bad("enabled", "send `true` or `false`"),
            (Some(false), _) => Ok(None),
            (Some(true), None) => Ok(Some(HEARTBEAT_MINUTES)),
            (Some(true), Some(Ok(minutes)))
                if i64::from(minutes) <= LONGEST_RAPID.num_minutes() && minutes > 0 =>
            {
                Ok(Some(minutes))
            }
            // RedFlag's own page offers -1 for "for ever", which its agent takes for a time long past.
            (Some(true), Some(_)) => bad("duration_minutes", "send a number from 1 to 60"),
        }
    }
}

/// `POST /api/v1/agents/{id}/heartbeat`: a RedFlag agent checks in every few seconds for a while, or as often as before.
#[utoipa::path(post, path = "/api/v1/agents/{id}/heartbeat", tag = "v1", params(("id" = String, Path)),
    request_body = HeartbeatOrder, responses((status = 200), (status = 400), (status = 401), (status = 403),
        (status = 404), (status = 409), (status = 503)),
    security(("admin_token" = [])))]
pub async fn set_heartbeat(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<HeartbeatOrder>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    listed(&state, &id).await?;
    let minutes = body.0.minutes()?;
    let command = state.master().set_heartbeat(&id, minutes, &operator.name).await?;
    let word = if minutes.is_some() { "enabled" } else { "disabled" };
    Ok(HttpResponse::Ok().json(json!({
        "message": format!("heartbeat {word} command sent"), "command_id": command.id, "enabled": minutes.is_some(),
    })))
}
