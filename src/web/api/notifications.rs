//! Notifications: where people are told what happened, and what was sent there.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::actors::master::MasterError;
use crate::db::read::list_messages;
use crate::domain::id::TargetId;
use crate::domain::notify::read_target;
use crate::protocol::v2::answer;
use crate::web::auth::{Admin, Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::notifications::{TargetView, message_record, read_target_view, read_targets};
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;

/// Messages in one answer.
const MESSAGES: u64 = 200;

/// Which messages are listed.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Which {
    /// Those to this target only.
    target: Option<String>,
}

/// `GET /api/v3/notifications/targets`: every target and how it is; what opens one is never shown.
#[utoipa::path(get, path = "/api/v3/notifications/targets", tag = "notifications",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let targets: Vec<Value> = read_targets(&state).await?.iter().map(TargetView::record).collect();
    Ok(HttpResponse::Ok().json(json!({ "targets": targets })))
}

/// `PUT /api/v3/notifications/targets/{id}`: makes a target, or puts it in the place of the one that has its id. What opens it
/// stays if it does not come along and the server is the same.
#[utoipa::path(put, path = "/api/v3/notifications/targets/{id}", tag = "notifications", params(("id" = String, Path)),
    request_body = Value,
    responses((status = 200), (status = 400), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn set(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<Value>,
) -> Result<HttpResponse, ApiError> {
    let draft = read_target(&id, body.0).map_err(|wrong| ApiError::Invalid(wrong.join("; ")))?;
    state.master().set_target(draft, &admin.name).await?;
    Ok(HttpResponse::Ok().json(read_target_view(&state, &id).await?.record()))
}

/// `DELETE /api/v3/notifications/targets/{id}`: removes a target, with all that waits for it.
#[utoipa::path(delete, path = "/api/v3/notifications/targets/{id}", tag = "notifications", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404)), security(("admin_token" = [])))]
pub async fn remove(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().remove_target(&known(&id)?, &admin.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The target is removed.")))
}

/// `POST /api/v3/notifications/targets/{id}/test`: sends a test message now, and answers once the target took it.
#[utoipa::path(post, path = "/api/v3/notifications/targets/{id}/test", tag = "notifications",
    params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 502)),
    security(("admin_token" = [])))]
pub async fn test(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().test_target(&known(&id)?, &operator.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The target took the test message.")))
}

/// `GET /api/v3/notifications/outbox`: what is sent and what was, the newest first.
#[utoipa::path(get, path = "/api/v3/notifications/outbox", tag = "notifications", params(Which),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn outbox(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(which): KnownQuery<Which>,
) -> Result<HttpResponse, ApiError> {
    let target = which.target.filter(|id| !id.is_empty()).map(TargetId::new);
    let rows =
        list_messages(&state.master().db, target.as_ref(), MESSAGES).await.map_err(ApiError::internal)?;
    let messages: Vec<Value> = rows.iter().map(message_record).collect();
    Ok(HttpResponse::Ok().json(json!({ "messages": messages })))
}

/// An id that a target may have.
fn known(id: &str) -> Result<TargetId, MasterError> {
    TargetId::parse(id).map_err(|_| MasterError::TargetNotFound)
}
