//! DockFlare's read-only endpoints: overview, services, ping; and what we say of routes beside them.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::db::read::{
    ContainerProblemView, RefusedView, RouteView, TunnelStatusRow, container_problem_views, refused_views,
    route_views, tunnel_status_after,
};
use crate::domain::connector::Reachability;
use crate::domain::id::{AgentId, ContainerId, TunnelId};
use crate::domain::route::RouteKey;
use crate::web::auth::Viewer;
use crate::web::error::ApiError;
use crate::web::listings::{self, Elements, Page, Sink, next};
use crate::web::picture::{Members, ROWS};
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::records::{legacy_time, refused_record, rule_record, write_agents_and_keys};
use crate::web::rules::{RuleView, legacy_record, route_record, rule_page};
use crate::web::state::WebState;

/// How a list shows routes.
#[derive(Clone, Copy)]
struct Shape {
    claimed: fn(&mut Elements, &Members, &RouteView) -> Result<(), ApiError>,
    refused: fn(&mut Elements, &Members, &RefusedView) -> Result<(), ApiError>,
    manual: fn(&mut Elements, &RuleView) -> Result<(), ApiError>,
    /// True if a name that another holds, or another asks for as well, is left out.
    is_by_name: bool,
}

/// `GET /api/v2/services`: every route with its state, refused ones too.
#[utoipa::path(get, path = "/api/v2/services", tag = "routes", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn services(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    let shape = Shape {
        claimed: |to, members, view| to.push(&rule(members, view)),
        refused: |to, _, view| to.push(&refused_record(&view.status)),
        manual: |to, view| to.push(&legacy_record(view)),
        is_by_name: false,
    };
    listings::json(|mut out| async move {
        let members = members(&state).await?;
        out.text("{\"services\":[");
        write_routes(&state, &members, &mut out, shape).await?;
        out.text("]}");
        Ok(out)
    })
    .await
}

/// `GET /api/v2/overview`: what a DockFlare page shows.
#[utoipa::path(get, path = "/api/v2/overview", tag = "routes", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn overview(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    let shape = Shape {
        claimed: |to, members, view| to.entry(&by_name(&view.route.route.spec.key), &rule(members, view)),
        refused: |to, _, view| to.entry(&by_name(&view.status.key), &refused_record(&view.status)),
        manual: |to, view| to.entry(&by_name(&view.row.rule.spec.key), &legacy_record(view)),
        is_by_name: true,
    };
    listings::json(|mut out| async move {
        let members = members(&state).await?;
        out.text("{");
        write_agents_and_keys(&state, &mut out).await?;
        out.text(",\"rules\":{");
        write_routes(&state, &members, &mut out, shape).await?;
        let rules = out.count();
        out.text("}");
        out.fields(&dockflare_fields(&state, rules))?;
        out.text("}");
        Ok(out)
    })
    .await
}

fn by_name(key: &RouteKey) -> String {
    format!("{}|{}", key.hostname, key.path)
}

/// What DockFlare's page shows of itself.
fn dockflare_fields(state: &WebState, rules: usize) -> Value {
    let configured = state.settings().account_id.is_some();
    json!({
        "agent_state": { "container_status": "not_found", "last_action_status": null },
        "all_account_tunnels": [], "cloudflared_container_name": crate::domain::tunnel::CONTAINER_NAME,
        "config_status": {
            "account_email_for_tld": null, "account_id_for_display": null, "cf_account_id_configured": configured,
            "cf_zone_id_configured": false, "relevant_zone_name_for_tld_policy": null, "tld_policy_exists": false,
        },
        "display_token": null, "docker_available": false, "external_cloudflared": false, "external_tunnel_id": null,
        "initialization": { "complete": true, "in_progress": false }, "log_stream_path": null,
        "reconciliation_info": reconciliation(rules),
        "tunnel_state": { "id": null, "name": null, "token": null, "status_message": null, "error": null },
    })
}

/// How DockFlare tells of its reconciliation. Here every change is reconciled by itself, so it is always done.
pub fn reconciliation(rules: usize) -> Value {
    json!({
        "in_progress": false, "progress": 100, "total_items": rules, "processed_items": rules,
        "status": "", "start_time": null, "completed_at": null,
    })
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
#[utoipa::path(get, path = "/api/v3/routes", tag = "routes",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn routes(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    let shape = Shape {
        claimed: |to, members, view| to.push(&claimed_record(members, view)),
        refused: |to, members, view| to.push(&asked_record(members, view)),
        manual: |to, view| to.push(&route_record(view)),
        is_by_name: false,
    };
    listings::json(|mut out| async move {
        let (lists, members) = (state.listings(), members(&state).await?);
        out.text("{\"routes\":[");
        write_routes(&state, &members, &mut out, shape).await?;
        out.text("],\"label_problems\":[");
        lists.pages(&mut out, |after| problem_page(state.clone(), Arc::clone(&members), after)).await?;
        out.text("],\"tunnels\":[");
        let reaches = Arc::new(reaches_of_tunnels(&members));
        lists.pages(&mut out, |after| tunnel_page(state.clone(), Arc::clone(&reaches), after)).await?;
        out.text("]}");
        Ok(out)
    })
    .await
}

async fn members(state: &WebState) -> Result<Arc<Members>, ApiError> {
    let all = state.clone();
    state.listings().make(async move { Members::read(&all).await.map(Arc::new) }).await
}

/// Writes the claimed routes, the rules that people made, then the routes that were refused.
async fn write_routes(
    state: &WebState,
    members: &Arc<Members>,
    out: &mut Sink,
    shape: Shape,
) -> Result<(), ApiError> {
    let lists = state.listings();
    lists.pages(out, |after| claimed_page(state.clone(), Arc::clone(members), shape, after)).await?;
    lists.pages(out, |after| rule_page(state.clone(), Arc::clone(members), shape.manual, after)).await?;
    lists.pages(out, |after| refused_page(state.clone(), Arc::clone(members), shape, after)).await
}

async fn claimed_page(
    state: WebState,
    members: Arc<Members>,
    shape: Shape,
    after: Option<RouteKey>,
) -> Page<RouteKey> {
    let views = route_views(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for view in &views {
        (shape.claimed)(&mut elements, &members, view)?;
    }
    Ok((elements, next(&views, ROWS, |view| view.route.route.spec.key.clone())))
}

async fn refused_page(
    state: WebState,
    members: Arc<Members>,
    shape: Shape,
    after: Option<(RouteKey, AgentId)>,
) -> Page<(RouteKey, AgentId)> {
    let views = refused_views(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    let mut before = after.map(|(key, _)| key);
    for view in &views {
        let is_told = view.is_held || before.as_ref() == Some(&view.status.key);
        if !(shape.is_by_name && is_told) {
            (shape.refused)(&mut elements, &members, view)?;
        }
        before = Some(view.status.key.clone());
    }
    let place = |view: &RefusedView| (view.status.key.clone(), view.agent_id.clone());
    Ok((elements, next(&views, ROWS, place)))
}

fn rule(members: &Members, view: &RouteView) -> Value {
    let route = &view.route.route;
    rule_record(route, members.member(&route.agent_id), members.standing(view))
}

fn claimed_record(members: &Members, view: &RouteView) -> Value {
    let route = &view.route.route;
    let mut entry = rule(members, view);
    entry["state"] = json!(members.standing(view).state);
    entry["path"] = json!(route.spec.key.path);
    entry["agent"] = json!(members.name(&route.agent_id));
    entry["container"] = json!(route.container_name);
    entry["claimed_at"] = json!(view.route.claimed_at);
    entry
}

fn asked_record(members: &Members, view: &RefusedView) -> Value {
    let status = &view.status;
    let mut entry = refused_record(status);
    entry["state"] = json!(status.state);
    entry["path"] = json!(status.key.path);
    entry["agent"] = json!(members.name(&view.agent_id));
    entry["container"] = json!(view.container);
    entry
}

/// Labels that cannot be carried out, but for names that are told of as refused routes already.
async fn problem_page(
    state: WebState,
    members: Arc<Members>,
    after: Option<(AgentId, ContainerId, i32)>,
) -> Page<(AgentId, ContainerId, i32)> {
    let found = container_problem_views(&state.master().db, after.as_ref(), ROWS).await;
    let views = found.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for view in views.iter().filter(|view| !view.is_refused_route) {
        let row = &view.row;
        elements.push(&json!({
            "agent_id": row.agent_id, "agent": members.name(&row.agent_id),
            "container_id": row.container_id, "container": view.container,
            "label": row.problem.label, "value": row.problem.value, "reason": row.problem.reason,
        }))?;
    }
    Ok((elements, next(&views, ROWS, ContainerProblemView::place)))
}

type Reaches = HashMap<TunnelId, Reachability>;

fn reaches_of_tunnels(members: &Members) -> Reaches {
    let members = members.members();
    members.filter_map(|member| Some((member.publishes_in.clone()?, member.reach.clone()?))).collect()
}

/// How far each tunnel's configuration has come, and what is to be said about others who write to it.
async fn tunnel_page(state: WebState, reaches: Arc<Reaches>, after: Option<TunnelId>) -> Page<TunnelId> {
    let rows =
        tunnel_status_after(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for row in &rows {
        elements.push(&tunnel_record(row, reaches.get(&row.tunnel_id)))?;
    }
    Ok((elements, next(&rows, ROWS, |row| row.tunnel_id.clone())))
}

fn tunnel_record(row: &TunnelStatusRow, reach: Option<&Reachability>) -> Value {
    let unreached = reach.and_then(|reach| reach.reason.as_deref());
    json!({
        "tunnel_id": row.tunnel_id, "state": row.state, "reason": row.reason.as_deref().or(unreached),
        "cloudflare_answer": row.answer, "config_version": row.config_version, "updated_at": row.updated_at,
        "serves": reach.map(|reach| reach.reach), "serves_reason": unreached,
    })
}
