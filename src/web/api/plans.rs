//! What hosts would change, and people's yes to it.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::actors::master::{MOST_HOSTS, MasterError, OnHosts, Terms};
use crate::db::read::{ApprovalFilter, ApprovalRow, HeldImageRow, list_approvals};
use crate::domain::id::{AgentId, ApprovalId, RequestId};
use crate::domain::text::repeated;
use crate::domain::update::{ApprovalMode, LIFETIME, PlanId};
use crate::web::auth::{Operator, Viewer};
use crate::web::body::{Lenient, NoBody};
use crate::web::error::{ApiError, retry_after};
use crate::web::planned::{Group, Held, Named, Planned};
use crate::web::query::{KnownQuery, flag, number_within};
use crate::web::state::WebState;

use super::plan_asks::{Asks, PlanBody, asks, bad};

/// Most approvals in one answer, and how many are in it unless the caller says so.
const APPROVALS: (u64, u64) = (1_000, 100);

/// Which plan is approved, and for which hosts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    /// The plan's id, all 64 digits.
    plan: Option<String>,
    /// Ids of agents; left out: every host that answered with this plan, or, unless it is `exact`, with any.
    agents: Option<Vec<String>>,
    /// How long the yes counts, 60 to 604,800; a day if it is left out.
    expires_in_seconds: Option<u64>,
    /// When hosts are told, at most 7 days from now; at once if it is left out. The yes counts from then on.
    not_before: Option<DateTime<Utc>>,
    /// How far the yes goes: `exact` (which it is if it is left out), `same_scope` or `skip`.
    mode: Option<String>,
}

/// Which approvals.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct ApprovalsQuery {
    /// Of the agent with this id.
    agent_id: Option<String>,
    /// Only those of which something may still come.
    #[param(value_type = Option<bool>)]
    open: Option<String>,
    /// Most approvals, 1 to 1,000; 100 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// `POST /api/v3/plans`: asks hosts what they would change. Nothing is changed by it.
#[utoipa::path(post, path = "/api/v3/plans", tag = "plans", request_body = PlanBody,
    responses((status = 202), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 503)), security(("admin_token" = [])))]
pub async fn ask(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<PlanBody>,
) -> Result<HttpResponse, ApiError> {
    let Asks { asks, unknown } = asks(&state, body.0).await?;
    let unknown = unknown.into_iter().map(|id| (None, MasterError::UpdateNotFound(id)));
    let mut left: Vec<_> = unknown.collect();
    if asks.is_empty() && !left.is_empty() {
        return Ok(on_hosts((StatusCode::ACCEPTED, "request", ""), &[], &left));
    }
    let asked = state.master().ask_plans(asks, &operator.name).await?;
    left.extend(asked.left.into_iter().map(|(agent, why)| (Some(agent), why)));
    Ok(on_hosts((StatusCode::ACCEPTED, "request", asked.id.as_str()), &asked.done, &left))
}

/// `GET /api/v3/plans/{request}`: what hosts answered to a question; those that would change the same stand together.
#[utoipa::path(get, path = "/api/v3/plans/{request}", tag = "plans", params(("request" = String, Path)),
    responses((status = 200), (status = 401), (status = 404), (status = 503)), security(("admin_token" = [])))]
pub async fn show(
    _: Viewer,
    state: web::Data<WebState>,
    request: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let request = RequestId::new(request.into_inner());
    let state = WebState::clone(&state);
    let lists = state.listings().clone();
    let answer = lists
        .make(async move {
            let planned = Planned::read(&state, &request).await?;
            let failed = planned.failed.iter().map(|(host, problem)| {
                json!({ "agent_id": host.id, "agent": host.name, "problem": problem.reason, "way_out": problem.way_out })
            });
            Ok(json!({
                "request": request, "ask": planned.first.ask, "asked_by": planned.first.asked_by,
                "asked_at": planned.first.asked_at, "plans": planned.groups.iter().map(group).collect::<Vec<_>>(),
                "waiting": planned.waiting.iter().map(named).collect::<Vec<_>>(),
                "failed": failed.collect::<Vec<_>>(),
                "approvals": planned.approvals.iter().map(approval_form).collect::<Vec<_>>(),
            }))
        })
        .await?;
    Ok(HttpResponse::Ok().json(answer))
}

fn named(host: &Named) -> Value {
    json!({ "agent_id": host.id, "agent": host.name })
}

/// An image that failed on a host, in the form of the API.
pub fn held_form(row: &HeldImageRow, host: &str) -> Value {
    json!({
        "digest": row.image.digest, "image": row.image.image, "reason": row.image.reason, "agent_id": row.agent_id,
        "agent": host, "run": row.run_id, "failed_at": row.failed_at,
    })
}

fn group(group: &Group) -> Value {
    let held = |held: &Held| held_form(&held.row, &held.host);
    let behind = |host: &Named| {
        let own = group.behind.iter().filter(|one| one.host.id == host.id);
        let forms = own.map(|one| {
            json!({ "hostname": one.route.hostname, "path": one.route.path, "container": one.container })
        });
        forms.collect::<Vec<_>>()
    };
    let host = |(host, on_host): &(Named, Box<_>)| json!({ "agent_id": host.id, "agent": host.name, "on_host": on_host, "routes": behind(host) });
    json!({
        "id": group.plan, "changes": group.changes, "hosts": group.hosts.iter().map(host).collect::<Vec<_>>(),
        "held": group.held.iter().map(held).collect::<Vec<_>>(),
    })
}

/// `POST /api/v3/plans/{request}/approve`: says yes to a plan, for the hosts that answered with it.
#[utoipa::path(post, path = "/api/v3/plans/{request}/approve", tag = "plans", params(("request" = String, Path)),
    request_body = ApproveBody, responses((status = 202), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409), (status = 503)), security(("admin_token" = [])))]
pub async fn approve(
    operator: Operator,
    req: HttpRequest,
    state: web::Data<WebState>,
    request: web::Path<String>,
    body: Lenient<ApproveBody>,
) -> Result<HttpResponse, ApiError> {
    let request = RequestId::new(request.into_inner());
    let plan = body.0.plan.as_deref().and_then(PlanId::parse);
    let plan = plan.ok_or_else(|| bad("plan", "send the plan's id, 64 hexadecimal digits"))?;
    let lifetime = body.0.expires_in_seconds.map_or(LIFETIME, Duration::from_secs);
    let mode = body.0.mode.as_deref().map_or(Some(ApprovalMode::Exact), ApprovalMode::parse);
    let mode = mode.ok_or_else(|| bad("mode", "send `exact`, `same_scope` or `skip`"))?;
    let agents = match body.0.agents {
        Some(ids) if ids.is_empty() || ids.len() > MOST_HOSTS => {
            return Err(bad("agents", "send 1 to 20,000 ids of agents, or leave it out"));
        }
        Some(ids) => ids.into_iter().map(AgentId::new).collect(),
        None => Planned::read(&state, &request).await?.hosts_for(&plan, mode),
    };
    if agents.is_empty() {
        let (plan, request) = (plan.short(), repeated(request.as_str()));
        let words = format!("no host answered the question `{request}` with a plan `{plan}`");
        return Err(MasterError::PlanNotFound(words).into());
    }
    let who = (operator.name.as_str(), Some(state.source(&req).to_string()));
    let terms = Terms { lifetime, mode, not_before: body.0.not_before };
    let done = state.master().approve_plan(&request, &plan, agents, terms, who).await?;
    Ok(decided(StatusCode::ACCEPTED, done))
}

/// `GET /api/v3/approvals`: who said yes to what, and what came of it, the newest first.
#[utoipa::path(get, path = "/api/v3/approvals", tag = "plans", params(ApprovalsQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn approvals(
    _: Viewer,
    state: web::Data<WebState>,
    query: KnownQuery<ApprovalsQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = number_within("limit", query.0.limit.as_deref(), APPROVALS.1, 1..=APPROVALS.0)?;
    let filter = ApprovalFilter {
        agent: query.0.agent_id.filter(|id| !id.is_empty()).map(AgentId::new),
        open: flag("open", query.0.open.as_deref())?,
        ..ApprovalFilter::default()
    };
    listed(&state, &filter, limit).await
}

/// `GET /api/v3/approvals/{id}`: one yes, with every host that it is about.
#[utoipa::path(get, path = "/api/v3/approvals/{id}", tag = "plans", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn approval(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = Some(ApprovalId::new(id.into_inner()));
    let filter = ApprovalFilter { id, ..ApprovalFilter::default() };
    listed(&state, &filter, MOST_HOSTS as u64).await
}

async fn listed(state: &WebState, filter: &ApprovalFilter, limit: u64) -> Result<HttpResponse, ApiError> {
    let rows = list_approvals(&state.master().db, filter, limit).await.map_err(ApiError::internal)?;
    if let Some(id) = filter.id.as_ref().filter(|_| rows.is_empty()) {
        return Err(MasterError::ApprovalNotFound(id.clone()).into());
    }
    let forms: Vec<Value> = rows.iter().map(approval_form).collect();
    Ok(HttpResponse::Ok().json(json!({ "approvals": forms })))
}

/// `POST /api/v3/approvals/{id}/second`: a second person says yes too.
#[utoipa::path(post, path = "/api/v3/approvals/{id}/second", tag = "plans", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 503)), security(("admin_token" = [])))]
pub async fn second(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let done = state.master().second_approval(&id, &operator.name).await?;
    Ok(decided(StatusCode::OK, done))
}

/// `POST /api/v3/approvals/{id}/withdraw`: takes a yes back, for every host that has not fetched the order.
#[utoipa::path(post, path = "/api/v3/approvals/{id}/withdraw", tag = "plans", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 503)), security(("admin_token" = [])))]
pub async fn withdraw(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let done = state.master().withdraw_approval(&id, &operator.name).await?;
    Ok(decided(StatusCode::OK, done))
}

/// Says which hosts something concerns, and which not. If it concerns none the first reason is the answer, and nothing is
/// there that an id could lead to.
fn on_hosts(
    (status, name, id): (StatusCode, &str, &str),
    done: &[AgentId],
    left: &[(Option<AgentId>, MasterError)],
) -> HttpResponse {
    let form = |(agent, why): &(Option<AgentId>, MasterError)| {
        let mut form = json!({ "reason": why.to_string(), "code": why.code() });
        if let Some(agent) = agent {
            form["agent_id"] = json!(agent);
        }
        form
    };
    let forms: Vec<Value> = left.iter().map(form).collect();
    let Some((_, why)) = left.first().filter(|_| done.is_empty()) else {
        return HttpResponse::build(status).json(json!({ name: id, "agents": done, "left": forms }));
    };
    let mut answer = HttpResponse::build(StatusCode::from_u16(why.status()).unwrap_or(StatusCode::CONFLICT));
    if let Some(after) = retry_after(why) {
        answer.insert_header((RETRY_AFTER, after.as_secs()));
    }
    answer.json(json!({ "error": why.to_string(), "code": why.code(), "agents": done, "left": forms }))
}

/// What became of an approval.
fn decided(status: StatusCode, done: OnHosts<ApprovalId>) -> HttpResponse {
    let left: Vec<_> = done.left.into_iter().map(|(agent, why)| (Some(agent), why)).collect();
    on_hosts((status, "approval", done.id.as_str()), &done.done, &left)
}

fn approval_form(row: &ApprovalRow) -> Value {
    json!({
        "id": row.id, "agent_id": row.agent_id, "request": row.request_id, "plan": row.plan_id, "status": row.status.as_str(),
        "given_by": row.given_by, "given_from": row.given_from, "given_at": row.given_at, "expires_at": row.expires_at,
        "needs_second": row.needs_second, "ordered_by": row.ordered_by, "command_id": row.command_id, "run": row.run_id,
        "reason": row.reason, "ended_at": row.ended_at, "mode": row.mode, "approved_plan": row.shown_plan(),
        "reissued_at": row.reissued_at, "not_before": row.not_before,
    })
}
