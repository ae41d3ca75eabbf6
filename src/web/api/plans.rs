//! What hosts would change, and people's yes to it.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::actors::master::{MOST_HOSTS, MasterError, OnHosts};
use crate::db::read::{ApprovalFilter, ApprovalRow, find_updates, list_approvals};
use crate::domain::id::{AgentId, ApprovalId, RequestId, UpdateId};
use crate::domain::update::{LIFETIME, PlanAsk, PlanId, RunId, Wanted};
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::planned::{Group, Named, Planned};
use crate::web::query::{KnownQuery, flag, number};
use crate::web::state::WebState;

/// Most updates that one question is about.
const MOST_IDS: usize = 10_000;
/// Most approvals in one answer, and how many are in it unless the caller says so.
const APPROVALS: (u64, u64) = (1_000, 100);

/// What hosts are asked: updates by id; or hosts, with what; or a run that is to be taken back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanBody {
    /// Ids of updates, at most 10,000; each host is asked about its own.
    pub updates: Option<Vec<String>>,
    /// Ids of agents whose hosts are asked.
    pub agents: Option<Vec<String>>,
    /// With `agents`: `all` or `security`; or `names`.
    pub what: Option<String>,
    /// With `agents`: names such as `bash`, `apt:bash` or `docker_image:web`.
    pub names: Option<Vec<String>>,
    /// A run that is to be taken back.
    pub run: Option<RunName>,
    /// With `run`: only these names of it.
    pub only: Option<Vec<String>>,
}

/// Names a run.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RunName {
    /// The agent on whose host it was.
    pub agent: String,
    /// Its name there.
    pub id: String,
}

/// Which plan is approved, and for which hosts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    /// The plan's id, all 64 digits.
    plan: Option<String>,
    /// Ids of agents; left out: every host that answered with this plan.
    agents: Option<Vec<String>>,
    /// How long the yes counts, 60 to 604,800; a day if it is left out.
    expires_in_seconds: Option<u64>,
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
    responses((status = 202), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn ask(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<PlanBody>,
) -> Result<HttpResponse, ApiError> {
    let asks = asks(&state, body.0).await?;
    let asked = state.master().ask_plans(asks, &operator.name).await?;
    Ok(on_hosts(StatusCode::ACCEPTED, "request", asked.id.as_str(), &asked))
}

/// Reads whom a question is for, and what it is.
pub async fn asks(state: &WebState, body: PlanBody) -> Result<Vec<(AgentId, PlanAsk)>, ApiError> {
    match body {
        PlanBody { run: Some(run), only, .. } => {
            let name = RunId::parse(&run.id).ok_or_else(|| ApiError::Missing("no such run exists".into()))?;
            let ask = PlanAsk::Undo { run: name, only: only.unwrap_or_default() };
            Ok(vec![(AgentId::new(run.agent), ask)])
        }
        PlanBody { updates: Some(ids), .. } => asks_of_updates(state, &ids).await,
        PlanBody { agents: Some(agents), what, names, .. } => {
            if agents.is_empty() || agents.len() > MOST_HOSTS {
                return Err(bad("agents", "send 1 to 20,000 ids of agents"));
            }
            let wanted = match (what.as_deref(), names) {
                (_, Some(names)) => Wanted::Named(names),
                (Some("all"), None) => Wanted::All,
                (Some("security"), None) => Wanted::Security,
                _ => return Err(bad("what", "send `all` or `security`, or `names`")),
            };
            Ok(agents.into_iter().map(|id| (AgentId::new(id), PlanAsk::Install(wanted.clone()))).collect())
        }
        _ => Err(ApiError::Invalid(
            "nothing is asked: send `updates`, `agents` with `what` or `names`, or `run`".into(),
        )),
    }
}

async fn asks_of_updates(state: &WebState, ids: &[String]) -> Result<Vec<(AgentId, PlanAsk)>, ApiError> {
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(bad("updates", "send 1 to 10,000 ids of updates"));
    }
    let ids: Vec<UpdateId> = ids.iter().cloned().map(UpdateId::new).collect();
    let found = find_updates(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    let mut names = BTreeMap::<AgentId, Vec<String>>::new();
    for row in found {
        names.entry(row.agent_id).or_default().push(format!("{}:{}", row.kind, row.update.finding.name));
    }
    if names.is_empty() {
        return Err(ApiError::Missing("none of these updates exists any more".into()));
    }
    let ask = |(agent, mut names): (AgentId, Vec<String>)| {
        names.sort();
        (agent, PlanAsk::Install(Wanted::Named(names)))
    };
    Ok(names.into_iter().map(ask).collect())
}

/// `GET /api/v3/plans/{request}`: what hosts answered to a question; those that would change the same stand together.
#[utoipa::path(get, path = "/api/v3/plans/{request}", tag = "plans", params(("request" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
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

fn group(group: &Group) -> Value {
    let host = |(host, on_host): &(Named, Box<_>)| json!({ "agent_id": host.id, "agent": host.name, "on_host": on_host });
    json!({
        "id": group.plan, "changes": group.changes, "hosts": group.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

/// `POST /api/v3/plans/{request}/approve`: says yes to a plan, for the hosts that answered with it.
#[utoipa::path(post, path = "/api/v3/plans/{request}/approve", tag = "plans", params(("request" = String, Path)),
    request_body = ApproveBody, responses((status = 202), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409)), security(("admin_token" = [])))]
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
    let agents = match body.0.agents {
        Some(ids) if ids.is_empty() || ids.len() > MOST_HOSTS => {
            return Err(bad("agents", "send 1 to 20,000 ids of agents, or leave it out"));
        }
        Some(ids) => ids.into_iter().map(AgentId::new).collect(),
        None => Planned::read(&state, &request).await?.hosts_with(&plan),
    };
    if agents.is_empty() {
        return Err(MasterError::PlanNotFound.into());
    }
    let who = (operator.name.as_str(), Some(state.source(&req).to_string()));
    let done = state.master().approve_plan(&request, &plan, agents, lifetime, who).await?;
    Ok(on_hosts(StatusCode::ACCEPTED, "approval", done.id.as_str(), &done))
}

/// `GET /api/v3/approvals`: who said yes to what, and what came of it, the newest first.
#[utoipa::path(get, path = "/api/v3/approvals", tag = "plans", params(ApprovalsQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn approvals(
    _: Viewer,
    state: web::Data<WebState>,
    query: KnownQuery<ApprovalsQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = number("limit", query.0.limit.as_deref(), APPROVALS.1, 1..=APPROVALS.0)?;
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
    if rows.is_empty() && filter.id.is_some() {
        return Err(ApiError::Missing("no such approval is known".into()));
    }
    let forms: Vec<Value> = rows.iter().map(approval_form).collect();
    Ok(HttpResponse::Ok().json(json!({ "approvals": forms })))
}

/// `POST /api/v3/approvals/{id}/second`: a second person says yes too.
#[utoipa::path(post, path = "/api/v3/approvals/{id}/second", tag = "plans", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn second(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let done = state.master().second_approval(&id, &operator.name).await?;
    Ok(on_hosts(StatusCode::OK, "approval", done.id.as_str(), &done))
}

/// `POST /api/v3/approvals/{id}/withdraw`: takes a yes back, for every host that has not fetched the order.
#[utoipa::path(post, path = "/api/v3/approvals/{id}/withdraw", tag = "plans", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn withdraw(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let done = state.master().withdraw_approval(&id, &operator.name).await?;
    Ok(on_hosts(StatusCode::OK, "approval", done.id.as_str(), &done))
}

/// Says which hosts something concerns. If it concerns none, the first reason is the answer.
fn on_hosts<T>(status: StatusCode, name: &str, id: &str, done: &OnHosts<T>) -> HttpResponse {
    let status = match done.left.first().filter(|_| done.done.is_empty()) {
        Some((_, why)) => StatusCode::from_u16(why.status()).unwrap_or(StatusCode::CONFLICT),
        None => status,
    };
    let left = done
        .left
        .iter()
        .map(|(agent, why)| json!({ "agent_id": agent, "reason": why.to_string(), "code": why.code() }));
    let mut answer = json!({ name: id, "agents": done.done, "left": left.collect::<Vec<_>>() });
    if let Some((_, why)) = done.left.first().filter(|_| done.done.is_empty()) {
        answer["error"] = json!(why.to_string());
        answer["code"] = json!(why.code());
    }
    HttpResponse::build(status).json(answer)
}

fn approval_form(row: &ApprovalRow) -> Value {
    json!({
        "id": row.id, "agent_id": row.agent_id, "request": row.request_id, "plan": row.plan_id, "status": row.status.as_str(),
        "given_by": row.given_by, "given_from": row.given_from, "given_at": row.given_at, "expires_at": row.expires_at,
        "needs_second": row.needs_second, "ordered_by": row.ordered_by, "command_id": row.command_id, "run": row.run_id,
        "reason": row.reason, "ended_at": row.ended_at,
    })
}

fn bad(field: &str, expected: &str) -> ApiError {
    ApiError::Invalid(format!("field `{field}` is not allowed: {expected}"))
}
