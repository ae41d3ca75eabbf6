//! `GET /api/v3/cloudflare/limits`: how many of each kind the Cloudflare account has, and may have.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;

/// `GET /api/v3/cloudflare/limits`: counts now, by harmless reads.
#[utoipa::path(get, path = "/api/v3/cloudflare/limits", tag = "system",
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 409), (status = 503)),
    security(("admin_token" = [])))]
pub async fn show(
    _: Admin,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let limits = state.master().account_limits().await?;
    Ok(HttpResponse::Ok().json(json!({ "limits": limits })))
}
