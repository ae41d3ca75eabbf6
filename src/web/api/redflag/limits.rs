//! RedFlag's limits of requests: seen, set, and kept over restarts.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::db::read::find_setting;
use crate::web::body::Json;
use crate::web::error::ApiError;
use crate::web::rated::Administrator;
use crate::web::rates::{Rates, SETTING};
use crate::web::state::WebState;

/// `GET /api/v1/admin/rate-limits`.
#[utoipa::path(get, path = "/api/v1/admin/rate-limits", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn show(_: Administrator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let row = find_setting(&state.master().db, SETTING).await.map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(json!({
        "settings": state.rate_limits().rates(), "updated_at": row.map(|row| row.changed_at),
    })))
}

/// `PUT /api/v1/admin/rate-limits`: sets all six.
#[utoipa::path(put, path = "/api/v1/admin/rate-limits", tag = "v1", request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 415), (status = 429)),
    security(("admin_token" = [])))]
pub async fn set(
    admin: Administrator,
    state: web::Data<WebState>,
    body: Json<Rates>,
) -> Result<HttpResponse, ApiError> {
    if let Some(complaint) = body.0.complaint() {
        return Err(ApiError::Invalid(complaint));
    }
    keep(&state, body.0, &admin.name, "Rate limit settings updated successfully").await
}

async fn keep(state: &WebState, rates: Rates, by: &str, message: &str) -> Result<HttpResponse, ApiError> {
    state.master().change_setting(SETTING, json!(rates), by).await?;
    state.rate_limits().set(rates);
    Ok(HttpResponse::Ok().json(json!({
        "message": message, "settings": rates, "updated_at": state.master().clock.now(),
    })))
}

/// `POST /api/v1/admin/rate-limits/reset`: sets what they were in the beginning.
#[utoipa::path(post, path = "/api/v1/admin/rate-limits/reset", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn reset(admin: Administrator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    keep(&state, Rates::default(), &admin.name, "Rate limit settings reset to defaults").await
}

/// `POST /api/v1/admin/rate-limits/cleanup`: forgets callers that are quiet; that happens by itself, too.
#[utoipa::path(post, path = "/api/v1/admin/rate-limits/cleanup", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn cleanup(_: Administrator, state: web::Data<WebState>) -> HttpResponse {
    let left = state.rate_limits().tidy();
    HttpResponse::Ok().json(json!({
        "message": "Rate limit entries cleaned up", "remaining": left, "timestamp": state.master().clock.now(),
    }))
}

/// `GET /api/v1/admin/rate-limits/stats`.
#[utoipa::path(get, path = "/api/v1/admin/rate-limits/stats", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn stats(_: Administrator, state: web::Data<WebState>) -> HttpResponse {
    let rates = state.rate_limits().rates();
    let enabled: Vec<_> = rates.named().into_iter().filter(|(_, rate)| rate.enabled).collect();
    let a_minute = |window: f64, requests: u32| f64::from(requests) * 60.0 / window.max(1.0);
    let total: f64 =
        enabled.iter().map(|(_, rate)| a_minute(rate.window().as_secs_f64(), rate.requests)).sum();
    let body: Value = json!({
        "total_configured_limits": rates.named().len(), "enabled_limits": enabled.len(),
        "total_requests_per_minute": total.round() as u64, "settings": rates,
    });
    HttpResponse::Ok().json(body)
}
