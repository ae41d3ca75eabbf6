//! Service tokens: what programs show Cloudflare Access instead of a sign-in.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::actors::master::MasterError;
use crate::domain::access::TokenDraft;
use crate::web::auth::{Admin, Viewer};
use crate::web::body::{Lenient, NoBody};
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::service_tokens::{TokenView, read_tokens, secret_record};
use crate::web::state::WebState;

/// How long Cloudflare may take to list them.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer with a secret is kept by nobody on its way.
const NO_STORE: (&str, &str) = ("cache-control", "no-store");

/// What a token is to be.
#[derive(Deserialize, ToSchema)]
pub struct NewServiceToken {
    /// What people will call it; the name has to be free.
    name: Option<String>,
    /// How long it is good: `8760h` (a year) if it is left out, or `forever`.
    duration: Option<String>,
}

/// `GET /api/v3/access/service-tokens`: every service token, without its secret, and the groups that name it. What others
/// did at Cloudflare in the last minute may be missing.
#[utoipa::path(get, path = "/api/v3/access/service-tokens", tag = "access",
    responses((status = 200), (status = 400), (status = 401), (status = 409), (status = 502), (status = 503)),
    security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let tokens: Vec<Value> = read_tokens(&state, PATIENCE).await?.iter().map(TokenView::record).collect();
    Ok(HttpResponse::Ok().json(json!({ "service_tokens": tokens })))
}

/// `POST /api/v3/access/service-tokens`: makes one. Its secret is in this answer, and nowhere else.
#[utoipa::path(post, path = "/api/v3/access/service-tokens", tag = "access", request_body = NewServiceToken,
    responses((status = 201, description = "the token with its secret, told once"), (status = 400), (status = 401),
        (status = 403), (status = 409), (status = 502), (status = 503)),
    security(("admin_token" = [])))]
pub async fn create(
    admin: Admin,
    state: web::Data<WebState>,
    body: Lenient<NewServiceToken>,
) -> Result<HttpResponse, ApiError> {
    let NewServiceToken { name, duration } = body.0;
    let draft = TokenDraft::read(name.as_deref().unwrap_or_default(), duration.as_deref())
        .map_err(MasterError::Invalid)?;
    let made = state.master().create_service_token(draft, &admin.name).await?;
    Ok(HttpResponse::Created().insert_header(NO_STORE).json(secret_record(&made.token, &made.secret)))
}

/// `POST /api/v3/access/service-tokens/{id}/rotate`: gives one, by its id or name, another secret; the one before is good
/// no longer.
#[utoipa::path(post, path = "/api/v3/access/service-tokens/{id}/rotate", tag = "access", params(("id" = String, Path)),
    responses((status = 200, description = "the token with its new secret, told once"), (status = 400), (status = 401),
        (status = 403), (status = 404), (status = 409), (status = 502), (status = 503)),
    security(("admin_token" = [])))]
pub async fn rotate(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let rotated = state.master().rotate_service_token(&id, &admin.name).await?;
    Ok(HttpResponse::Ok().insert_header(NO_STORE).json(secret_record(&rotated.token, &rotated.secret)))
}

/// `DELETE /api/v3/access/service-tokens/{id}`: revokes one, by its id or name, that no group names.
#[utoipa::path(delete, path = "/api/v3/access/service-tokens/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409), (status = 502), (status = 503)),
    security(("admin_token" = [])))]
pub async fn revoke(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let gone = state.master().revoke_service_token(&id, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "success", "id": gone.id, "name": gone.name })))
}
