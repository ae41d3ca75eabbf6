//! What RedFlag's clients install. A yes goes to the host at once: one of ours works out what it would change, and does it if that
//! is the update and nothing else; what comes along has to be confirmed.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::agents::listed;
use crate::actors::master::MasterError;
use crate::db::read::{UpdateFilter, UpdateOrder, UpdateRow, find_updates, list_updates};
use crate::domain::id::{AgentId, CommandId, UpdateId};
use crate::domain::update::{Kind, LIFETIME, Term};
use crate::web::api::agents::agent_id;
use crate::web::auth::Operator;
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most updates that are approved at once.
const MOST_IDS: usize = 1_000;

/// Updates that are approved together.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ApproveBody {
    /// Their ids, at most 1,000.
    update_ids: Option<Vec<String>>,
    /// When they are installed, at most 7 days from now; at once if it is left out.
    scheduled_at: Option<DateTime<Utc>>,
}

/// `POST /api/v1/updates/{id}/approve`: says yes to an update; its host is told at once.
#[utoipa::path(post, path = "/api/v1/updates/{id}/approve", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn approve(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let command = want(&state, &id, false, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "update approved", "command_id": command })))
}

/// `POST /api/v1/updates/approve`: the same for many. Those that cannot be approved are named, the others are.
#[utoipa::path(post, path = "/api/v1/updates/approve", tag = "v1", request_body = ApproveBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 409)),
    security(("admin_token" = [])))]
pub async fn approve_many(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<ApproveBody>,
) -> Result<HttpResponse, ApiError> {
    let ids = body.0.update_ids.unwrap_or_default();
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(ApiError::Invalid(
            "field `update_ids` is not allowed: send 1 to 1,000 ids of updates".into(),
        ));
    }
    let at = body.0.scheduled_at;
    if let Err(fault) = Term::new(state.master().clock.now(), LIFETIME, at) {
        return Err(ApiError::Invalid(format!("field `scheduled_at` is not allowed: {fault}")));
    }
    let ids: Vec<UpdateId> = ids.into_iter().map(UpdateId::new).collect();
    let rows = find_updates(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    let known: BTreeSet<&UpdateId> = rows.iter().map(|row| &row.update.id).collect();
    let unknown: Vec<Value> = ids
        .iter()
        .filter(|id| !known.contains(id))
        .map(|id| json!({ "update_id": id, "error": "no update has this id" }))
        .collect();
    let Approved { count, commands, left, .. } = want_all(&state, &rows, at, &operator.name).await;
    let left = [left, unknown].concat();
    Ok(HttpResponse::Ok().json(json!({
        "message": "updates approved", "count": count, "scheduled_at": at, "command_ids": commands, "left": left,
    })))
}

/// `POST /api/v1/updates/{id}/install`: the same as the approval; for an update that is under way, the command that it is
/// under way with.
#[utoipa::path(post, path = "/api/v1/updates/{id}/install", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn install(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let command = want(&state, &id, false, &operator.name).await?;
    Ok(HttpResponse::Ok()
        .json(json!({ "message": "dry run command created for agent", "command_id": command })))
}

/// `POST /api/v1/updates/{id}/confirm-dependencies`: says yes to what comes along.
#[utoipa::path(post, path = "/api/v1/updates/{id}/confirm-dependencies", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn confirm_dependencies(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let command = want(&state, &id, true, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "dependency installation confirmed and command created", "command_id": command,
    })))
}

/// What of a host is installed.
#[derive(Debug, Deserialize, ToSchema)]
pub struct HostUpdateBody {
    /// `update_all`, `update_approved` or `update_package`.
    action: Option<String>,
    /// Only of this kind; needed for `update_package`.
    package_type: Option<String>,
    /// With `update_package`: its name.
    package_name: Option<String>,
}

/// `POST /api/v1/agents/{id}/update`: says yes to one update of a host, or to all that are pending; for those that were approved
/// before it names what they are under way with. Each goes its own way, as if it had been approved alone.
#[utoipa::path(post, path = "/api/v1/agents/{id}/update", tag = "v1", params(("id" = String, Path)),
    request_body = HostUpdateBody, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409), (status = 503)), security(("admin_token" = [])))]
pub async fn update_host(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<HostUpdateBody>,
) -> Result<HttpResponse, ApiError> {
    let agent = agent_id(&id)?;
    listed(&state, &agent).await?;
    let action = body.0.action.clone().unwrap_or_default();
    let package = body.0.package_name.clone();
    let rows = body.0.rows(&state, agent).await?;
    let Approved { commands, left, refused, .. } = want_all(&state, &rows, None, &operator.name).await;
    match (commands.first(), refused) {
        (None, Some(why)) => Err(why.into()),
        (None, None) => {
            Err(MasterError::CannotApprove("nothing of the kind is pending on this host".into()).into())
        }
        (Some(first), _) => Ok(HttpResponse::Ok().json(json!({
            "message": "updates approved", "command_id": first, "action": action, "package": package,
            "command_ids": commands, "left": left,
        }))),
    }
}

impl HostUpdateBody {
    /// Returns the updates of a host that are meant.
    async fn rows(self, state: &WebState, agent: AgentId) -> Result<Vec<UpdateRow>, ApiError> {
        let bad = |field: &str, expected: &str| {
            ApiError::Invalid(format!("field `{field}` is not allowed: send {expected}"))
        };
        let statuses: &[&str] = match self.action.as_deref() {
            Some("update_all" | "update_package") => &["discovered", "failed", "rolled_back"],
            Some("update_approved") => &["approved", "planned", "installing"],
            _ => return Err(bad("action", "`update_all`, `update_approved` or `update_package`")),
        };
        let kind = self.package_type.filter(|word| !word.is_empty());
        let kind = kind.map(|word| word.parse::<Kind>()).transpose();
        let kind = kind
            .map_err(|_| bad("package_type", "`apt`, `dnf`, `docker_image`, `windows_update` or `winget`"))?;
        let is_one = self.action.as_deref() == Some("update_package");
        let name = self.package_name.filter(|name| is_one && !name.is_empty());
        if is_one && (kind.is_none() || name.is_none()) {
            return Err(bad("package_name", "it with `package_type` for `update_package`"));
        }
        let statuses = statuses.iter().map(|word| (*word).to_owned()).collect();
        let filter = UpdateFilter { agent: Some(agent), kind, name, statuses, ..UpdateFilter::default() };
        let found = list_updates(&state.master().db, &filter, UpdateOrder::Risk, 0, MOST_IDS as u64).await;
        Ok(found.map_err(ApiError::internal)?.into_iter().map(|view| view.row).collect())
    }
}

/// What became of a yes to many updates.
#[derive(Default)]
struct Approved {
    /// How many were approved, or were so before.
    count: usize,
    /// The commands that they are under way with, each once.
    commands: Vec<CommandId>,
    /// Those that could not be approved, and why.
    left: Vec<Value>,
    /// The first reason.
    refused: Option<MasterError>,
}

/// Says yes to updates, host by host.
async fn want_all(state: &WebState, rows: &[UpdateRow], at: Option<DateTime<Utc>>, by: &str) -> Approved {
    let mut by_host = BTreeMap::<&AgentId, Vec<&UpdateRow>>::new();
    for row in rows {
        by_host.entry(&row.agent_id).or_default().push(row);
    }
    let mut all = Approved::default();
    for (agent, rows) in by_host {
        let names = rows.iter().map(|row| (row.kind, row.update.finding.name.clone())).collect();
        let done = match state.master().want_updates(agent, names, at, by).await {
            Ok(done) => done,
            Err(why) => {
                let words = why.to_string();
                all.refused.get_or_insert(why);
                all.left.extend(rows.iter().map(|row| json!({ "update_id": row.update.id, "error": words })));
                continue;
            }
        };
        for (row, done) in rows.iter().zip(done) {
            match done {
                Ok(command) => {
                    all.count += 1;
                    if !all.commands.contains(&command) {
                        all.commands.push(command);
                    }
                }
                Err(why) => {
                    all.left.push(json!({ "update_id": row.update.id, "error": why.to_string() }));
                    all.refused.get_or_insert(why);
                }
            }
        }
    }
    all
}

async fn want(state: &WebState, id: &str, confirms: bool, by: &str) -> Result<CommandId, ApiError> {
    let ids = [UpdateId::new(id)];
    let found = find_updates(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    let row: UpdateRow =
        found.into_iter().next().ok_or_else(|| ApiError::Missing("no update has this id".into()))?;
    Ok(state.master().want_update(&row, confirms, by).await?)
}
