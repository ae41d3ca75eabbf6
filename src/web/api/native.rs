//! Our own admin endpoints: plan, apply, the supervision tree.

use std::collections::HashSet;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::actors::master::{BlockedChange, ChangeKind, Drifted, Plan, PlannedChange};
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;

/// Longest time an `apply` may take.
const APPLY_TIME: Duration = Duration::from_secs(25);
/// What an `apply` says that was not done in that time.
const GOES_ON: &str =
    "calls to Cloudflare are still under way and go on by themselves; the plan shows what is left";

/// Agreement to what the plan says.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ApplyBody {
    /// Has to be true.
    #[serde(default)]
    yes: bool,
}

/// `GET /api/v3/plan`: what would be changed at Cloudflare, and what waits for a person.
#[utoipa::path(get, path = "/api/v3/plan", tag = "routes",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn plan(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(plan_record(&state.master().plan().await?)))
}

/// `POST /api/v3/apply`: confirms what waits and carries it out; answers within 25 s, and goes on by itself after.
#[utoipa::path(post, path = "/api/v3/apply", tag = "routes", request_body = ApplyBody,
    responses((status = 200), (status = 400), (status = 401), (status = 409, description = "no Cloudflare token")),
    security(("admin_token" = [])))]
pub async fn apply(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<ApplyBody>,
) -> Result<HttpResponse, ApiError> {
    if !body.0.yes {
        return Err(ApiError::Invalid("send `{\"yes\": true}` to confirm what the plan says".into()));
    }
    let report = state.master().apply(&operator.name, APPLY_TIME).await?;
    let not_applied: HashSet<&str> =
        report.blocked.iter().chain(&report.failed).map(|one| one.hostname.as_str()).collect();
    let done = report.planned.iter().filter(|change| !not_applied.contains(change.hostname.as_str()));
    let word = if report.finished { "applied" } else { "under way" };
    let applied: Vec<Value> = done.map(|change| change_record(change, word)).collect();
    Ok(HttpResponse::Ok().json(json!({
        "finished": report.finished, "message": (!report.finished).then_some(GOES_ON), "applied": applied,
        "blocked": blocked_records(&report.blocked, "blocked"), "failed": blocked_records(&report.failed, "failed"),
        "confirmed_tunnels": report.confirmed_tunnels, "released_routes": report.released_routes,
    })))
}

/// `GET /api/v3/tree`: the supervision tree as it is.
#[utoipa::path(get, path = "/api/v3/tree", tag = "system",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn tree(_: Viewer, state: web::Data<WebState>, _: KnownQuery<NoParameters>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "actors": state.master().tree.snapshot() }))
}

fn plan_record(plan: &Plan) -> Value {
    let word = match (plan.connected, plan.review) {
        (false, _) => "planned",
        (true, true) => "waits",
        (true, false) => "due",
    };
    let mut list: Vec<Value> = plan.changes.iter().map(|change| change_record(change, word)).collect();
    list.extend(plan.drift.iter().map(drift_record));
    list.extend(blocked_records(&plan.held, "held"));
    list.extend(plan.waiting.iter().map(|tunnel| {
        let found = tunnel.foreign.join("; ");
        json!({
            "action": "confirm_tunnel", "what": tunnel.tunnel_name, "state": "waiting",
            "reason": format!("it holds what others made: {found}"), "tunnel_id": tunnel.tunnel_id,
        })
    }));
    json!({
        "connected": plan.connected, "review": plan.review, "changes": list, "waiting": plan.waiting,
        "held": plan.held, "drift": plan.drift,
        "blocked": blocked_records(&plan.blocked, "blocked"), "failed": blocked_records(&plan.failed, "failed"),
    })
}

fn change_record(change: &PlannedChange, state: &str) -> Value {
    json!({
        "action": change.kind, "what": what(change), "state": state, "reason": change.reason,
        "hostname": change.hostname, "path": change.path, "name": change.name,
        "tunnel_name": change.tunnel_name, "agent_id": change.agent_id, "detail": change.detail,
    })
}

/// What others changed, as a change that puts it right.
fn drift_record(drifted: &Drifted) -> Value {
    json!({
        "action": "restore", "what": format!("{} {}", drifted.kind, drifted.name),
        "state": if drifted.waits { "waits" } else { "due" }, "reason": drifted.reason, "name": drifted.name,
        "tunnel_name": drifted.tunnel_name,
    })
}

/// What is changed and how, in a line.
pub fn what(change: &PlannedChange) -> String {
    match change.kind {
        ChangeKind::RemoveRule | ChangeKind::DeleteDns => format!("{}{}", change.hostname, change.path),
        ChangeKind::AddRule | ChangeKind::ChangeRule | ChangeKind::CreateDns | ChangeKind::ChangeDns => {
            format!("{}{} → {}", change.hostname, change.path, change.detail)
        }
        ChangeKind::DeletePolicy | ChangeKind::DeleteApplication => change.name.clone(),
        ChangeKind::CreatePolicy
        | ChangeKind::ChangePolicy
        | ChangeKind::CreateApplication
        | ChangeKind::ChangeApplication => format!("{} → {}", change.name, change.detail),
    }
}

fn blocked_records(list: &[BlockedChange], state: &str) -> Vec<Value> {
    let record = |one: &BlockedChange| {
        json!({
            "action": if state == "held" { "withdraw" } else { "publish" },
            "what": format!("{}{}", one.hostname, one.path), "state": state, "reason": one.reason,
            "hostname": one.hostname, "path": one.path, "agent_id": one.agent_id,
        })
    };
    list.iter().map(record).collect()
}
