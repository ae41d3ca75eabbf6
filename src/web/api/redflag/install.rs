//! What RedFlag's clients install. A yes goes to the host at once: one of ours works out what it would change, and does it if that
//! is the update and nothing else; what comes along has to be confirmed.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::db::read::{UpdateRow, find_updates};
use crate::domain::id::{CommandId, UpdateId};
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
    /// When to begin: nothing is scheduled, so a time is refused.
    scheduled_at: Option<Value>,
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
    if body.0.scheduled_at.is_some_and(|at| !at.is_null()) {
        return Err(ApiError::NotBuiltYet("beginning at a later time"));
    }
    let (mut commands, mut left) = (Vec::new(), Vec::new());
    for id in ids {
        match want(&state, &id, false, &operator.name).await {
            Ok(command) => commands.push(command),
            Err(why) => left.push(json!({ "update_id": id, "error": why.to_string() })),
        }
    }
    Ok(HttpResponse::Ok().json(json!({
        "message": "updates approved", "count": commands.len(), "command_ids": commands, "left": left,
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

async fn want(state: &WebState, id: &str, confirms: bool, by: &str) -> Result<CommandId, ApiError> {
    let ids = [UpdateId::new(id)];
    let found = find_updates(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    let row: UpdateRow =
        found.into_iter().next().ok_or_else(|| ApiError::Missing("no update has this id".into()))?;
    Ok(state.master().want_update(&row, confirms, by).await?)
}
