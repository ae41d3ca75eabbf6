//! DockFlare's read-only endpoints: overview, services, ping.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::db::read::ContainerProblemRow;
use crate::domain::id::AgentId;
use crate::web::auth::Viewer;
use crate::web::error::ApiError;
use crate::web::picture::Picture;
use crate::web::records::{agent_records, key_records, legacy_time, refused_record, rule_record};
use crate::web::state::WebState;

/// `GET /api/v2/services`: every route with its state, refused ones too.
#[utoipa::path(get, path = "/api/v2/services", tag = "routes", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn services(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let all = WebState::clone(&state);
    let services = async move { Ok(json!({ "services": rules(&Picture::read(&all).await?) })) };
    state.listings().json(services).await
}

/// `GET /api/v2/overview`: what a DockFlare page shows.
#[utoipa::path(get, path = "/api/v2/overview", tag = "routes", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn overview(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let all = WebState::clone(&state);
    state.listings().json(async move { overview_record(&all).await }).await
}

async fn overview_record(state: &WebState) -> Result<Value, ApiError> {
    let picture = Picture::read(state).await?;
    let by_key: Map<String, Value> = rules(&picture)
        .into_iter()
        .map(|rule| {
            let part = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            (format!("{}|{}", part("hostname"), part("path")), rule)
        })
        .collect();
    let configured = state.settings().account_id.is_some();
    Ok(json!({
        "agents": agent_records(state, &picture).await?, "agent_keys": key_records(state).await?, "rules": by_key,
        "agent_state": { "container_status": "not_found", "last_action_status": null },
        "all_account_tunnels": [], "cloudflared_container_name": crate::domain::tunnel::CONTAINER_NAME,
        "config_status": {
            "account_email_for_tld": null, "account_id_for_display": null, "cf_account_id_configured": configured,
            "cf_zone_id_configured": false, "relevant_zone_name_for_tld_policy": null, "tld_policy_exists": false,
        },
        "display_token": null, "docker_available": false, "external_cloudflared": false, "external_tunnel_id": null,
        "initialization": { "complete": true, "in_progress": false }, "log_stream_path": null,
        "reconciliation_info": {
            "in_progress": false, "progress": 100, "total_items": by_key.len(), "processed_items": by_key.len(),
            "status": "", "start_time": null, "completed_at": null,
        },
        "tunnel_state": { "id": null, "name": null, "token": null, "status_message": null, "error": null },
    }))
}

/// `GET /api/v2/ping`.
#[utoipa::path(get, path = "/api/v2/ping", tag = "health", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn ping(_: Viewer, state: web::Data<WebState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "success", "message": "pong", "version": env!("CARGO_PKG_VERSION"),
        "timestamp": legacy_time(state.master().clock.now()),
    }))
}

/// `GET /api/v3/routes`: every route with its state and the reason for it, labels that cannot be carried out, and the
/// state of the tunnels.
#[utoipa::path(get, path = "/api/v3/routes", tag = "routes", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn routes(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let all = WebState::clone(&state);
    state.listings().json(async move { Ok(route_records(&Picture::read(&all).await?)) }).await
}

fn route_records(picture: &Picture) -> Value {
    let name = |id: &AgentId| picture.agent(id).map(|agent| agent.display_name.clone());
    let mut list: Vec<Value> = Vec::new();
    for row in &picture.routes {
        let standing = picture.standing(&row.route);
        let mut entry = rule_record(&row.route, picture.agent(&row.route.agent_id), standing);
        entry["state"] = json!(standing.state);
        entry["path"] = json!(row.route.spec.key.path);
        entry["agent"] = json!(name(&row.route.agent_id));
        entry["container"] = json!(row.route.container_name);
        entry["claimed_at"] = json!(row.claimed_at);
        list.push(entry);
    }
    let askers = picture.askers();
    for status in picture.refused() {
        let mut entry = refused_record(status);
        entry["state"] = json!(status.state);
        entry["path"] = json!(status.key.path);
        entry["agent"] = json!(name(&status.agent_id));
        entry["container"] = json!(askers.get(&(&status.agent_id, status.key.to_string())));
        list.push(entry);
    }
    let problem = |row: &ContainerProblemRow| {
        json!({
            "agent_id": row.agent_id, "agent": name(&row.agent_id),
            "container_id": row.container_id, "container": picture.container_name(row),
            "label": row.problem.label, "value": row.problem.value, "reason": row.problem.reason,
        })
    };
    let label_problems: Vec<Value> = picture.label_problems().map(problem).collect();
    json!({ "routes": list, "label_problems": label_problems, "tunnels": tunnels(picture) })
}

/// How far each tunnel's configuration has come, and what is to be said about others who write to it.
fn tunnels(picture: &Picture) -> Vec<Value> {
    let reach: HashMap<_, _> = picture
        .agents
        .iter()
        .filter_map(|view| Some((view.agent.publishes_in()?, picture.reach(&view.agent.id)?)))
        .collect();
    let entry = |row: &crate::db::read::TunnelStatusRow| {
        let reach = reach.get(&row.tunnel_id);
        let unreached = reach.and_then(|reach| reach.reason.as_deref());
        json!({
            "tunnel_id": row.tunnel_id, "state": row.state, "reason": row.reason.as_deref().or(unreached),
            "cloudflare_answer": row.answer, "config_version": row.config_version, "updated_at": row.updated_at,
            "serves": reach.map(|reach| reach.reach), "serves_reason": unreached,
        })
    };
    picture.tunnels.values().map(entry).collect()
}

fn rules(picture: &Picture) -> Vec<Value> {
    let claimed = picture
        .routes
        .iter()
        .map(|row| rule_record(&row.route, picture.agent(&row.route.agent_id), picture.standing(&row.route)));
    claimed.chain(picture.refused().into_iter().map(refused_record)).collect()
}
