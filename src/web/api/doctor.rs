//! `GET /api/v3/doctor`: what the master needs of others, looked at now.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::domain::doctor::{Family, worst};
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;
use crate::web::token_check;

/// `GET /api/v3/doctor`: looks at the token for Cloudflare and its rights, by harmless reads.
#[utoipa::path(get, path = "/api/v3/doctor", tag = "system",
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 503)),
    security(("admin_token" = [])))]
pub async fn look(
    _: Admin,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let looked = token_check::look(&state).await?;
    let family = Family::new("Cloudflare", looked.checks);
    let verdict = worst(&family.checks);
    Ok(HttpResponse::Ok().json(json!({ "at": looked.at, "verdict": verdict, "families": [family] })))
}
