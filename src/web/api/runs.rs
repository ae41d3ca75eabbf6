//! What runs on hosts did, and the key that orders are signed with.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::actors::master::MasterError;
use crate::db::read::{
    HeldImageRow, RunFilter, RunRow, agent_names, find_plan, find_run, list_held_images, list_order_keys,
    list_runs,
};
use crate::domain::id::AgentId;
use crate::domain::update::{PlanId, RunId, RunOutcome};
use crate::web::api::plans::held_form;
use crate::web::auth::{Admin, Operator, Viewer};
use crate::web::body::NoBody;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters, flag, number, number_within};
use crate::web::state::WebState;

/// Most runs in one answer, and how many are in it unless the caller says so.
const RUNS: (u64, u64) = (200, 50);

/// Which runs.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct RunsQuery {
    /// On the host of the agent with this id.
    agent_id: Option<String>,
    /// Of this plan.
    plan: Option<String>,
    /// Only those that are under way, or only those that are not.
    #[param(value_type = Option<bool>)]
    running: Option<String>,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Most runs, 1 to 200; 50 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// `GET /api/v3/runs`: runs on hosts, the newest first, with those that were begun on the hosts themselves.
#[utoipa::path(get, path = "/api/v3/runs", tag = "plans", params(RunsQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    query: KnownQuery<RunsQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.0;
    let limit = number_within("limit", query.limit.as_deref(), RUNS.1, 1..=RUNS.0)?;
    let after = number("after", query.after.as_deref(), 0, 0..=i64::MAX as u64)?;
    let running = match query.running.as_deref().map(str::trim) {
        None | Some("") => None,
        text => Some(flag("running", text)?),
    };
    let filter = RunFilter {
        agent: query.agent_id.filter(|id| !id.is_empty()).map(AgentId::new),
        plan: query.plan.filter(|id| !id.is_empty()).map(PlanId::stored),
        running,
    };
    let db = &state.master().db;
    let page = list_runs(db, &filter, after, limit).await.map_err(ApiError::internal)?;
    let ids: Vec<AgentId> = page.runs.iter().map(|run| run.agent_id.clone()).collect();
    let names = agent_names(db, &ids).await.map_err(ApiError::internal)?;
    let forms = page.runs.iter().map(|run| form(run, names.get(&run.agent_id)));
    let next = after + limit;
    Ok(HttpResponse::Ok().json(json!({
        "runs": forms.collect::<Vec<_>>(), "total": page.total, "next": (next < page.total).then_some(next),
    })))
}

/// `GET /api/v3/runs/{agent}/{run}`: one run, with its plan, its steps and the end of its log.
#[utoipa::path(get, path = "/api/v3/runs/{agent}/{run}", tag = "plans",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn show(
    _: Viewer,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    let db = &state.master().db;
    let changes = find_plan(db, &row.plan_id).await.map_err(ApiError::internal)?;
    let names = agent_names(db, std::slice::from_ref(&row.agent_id)).await.map_err(ApiError::internal)?;
    let mut form = form(&row, names.get(&row.agent_id));
    form["changes"] = json!(changes);
    form["steps"] = json!(row.steps);
    form["log"] = json!(row.log);
    Ok(HttpResponse::Ok().json(form))
}

/// `POST /api/v3/runs/{agent}/{run}/cancel`: stops a run at its next safe point; what is done stays done.
#[utoipa::path(post, path = "/api/v3/runs/{agent}/{run}/cancel", tag = "plans",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 202), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 503)), security(("admin_token" = [])))]
pub async fn cancel(
    operator: Operator,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    let command = state.master().cancel_run(&row.agent_id, &row.id, &operator.name).await?;
    Ok(HttpResponse::Accepted().json(json!({ "command_id": command })))
}

/// Returns a run; fails with 404 if there is none.
pub async fn one(state: &WebState, agent: &str, run: &str) -> Result<RunRow, ApiError> {
    let agent = AgentId::new(agent);
    let found = match RunId::parse(run) {
        Some(id) => find_run(&state.master().db, &agent, &id).await.map_err(ApiError::internal)?,
        None => None,
    };
    found.ok_or_else(|| MasterError::RunNotFound { agent, run: run.to_owned() }.into())
}

fn form(run: &RunRow, name: Option<&String>) -> Value {
    let ended = run.ended.as_ref();
    json!({
        "agent_id": run.agent_id, "agent": name, "id": run.id, "plan": run.plan_id, "status": run.status(),
        "reason": ended.and_then(|(_, outcome)| outcome.reason()),
        "is_refused": matches!(ended, Some((_, RunOutcome::NotStarted { is_refused: true, .. }))),
        "by": run.begun_by, "order": run.order_id, "undoes": run.undoes, "started_at": run.started_at,
        "ended_at": ended.map(|(at, _)| at), "step": run.step, "percent": run.percent, "words": run.words,
    })
}

/// `GET /api/v3/order-key`: the key that orders to hosts are signed with, as hosts show it.
#[utoipa::path(get, path = "/api/v3/order-key", tag = "plans",
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn order_key(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let mut keys = list_order_keys(&state.master().db).await.map_err(ApiError::internal)?;
    let present = keys.pop().ok_or_else(|| ApiError::Missing("there is no key yet".into()))?;
    Ok(HttpResponse::Ok().json(json!({
        "fingerprint": present.public.fingerprint(), "key": present.public, "set_at": present.set_at,
        "set_by": present.set_by, "earlier": keys.iter().map(|key| key.public.fingerprint()).collect::<Vec<_>>(),
    })))
}

/// `POST /api/v3/order-key/exchange`: signs with another key from now on. Hosts follow when they register next, because the
/// present key gives its word for the new one; until then they refuse what is signed with it.
#[utoipa::path(post, path = "/api/v3/order-key/exchange", tag = "plans",
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 503)),
    security(("admin_token" = [])))]
pub async fn exchange_order_key(
    admin: Admin,
    state: web::Data<WebState>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let fingerprint = state.master().exchange_order_key(&admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "fingerprint": fingerprint })))
}

/// `GET /api/v3/held-images`: images that failed on a host, and are approved on none until a person lets them go.
#[utoipa::path(get, path = "/api/v3/held-images", tag = "plans",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn held_images(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let held = list_held_images(&state.master().db).await.map_err(ApiError::internal)?;
    let agents: Vec<AgentId> = held.iter().map(|row| row.agent_id.clone()).collect();
    let names = agent_names(&state.master().db, &agents).await.map_err(ApiError::internal)?;
    let form = |row: &HeldImageRow| {
        held_form(row, names.get(&row.agent_id).map_or(row.agent_id.as_str(), String::as_str))
    };
    Ok(HttpResponse::Ok().json(json!({ "images": held.iter().map(form).collect::<Vec<_>>() })))
}

/// `POST /api/v3/held-images/{digest}/let-go`: an image that failed may be tried again.
#[utoipa::path(post, path = "/api/v3/held-images/{digest}/let-go", tag = "plans", params(("digest" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 503)),
    security(("admin_token" = [])))]
pub async fn let_go(
    operator: Operator,
    state: web::Data<WebState>,
    digest: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    state.master().let_image_go(&digest, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
