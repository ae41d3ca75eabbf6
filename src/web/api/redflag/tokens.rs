//! Registration tokens, as RedFlag's clients handle them. The text of a token is in the answer that makes it and nowhere else:
//! where upstream shows it, its id stands.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{PageOf, filled};
use crate::db::read::{ALL, TokenRow, find_token, list_tokens};
use crate::domain::id::TokenId;
use crate::domain::token::{LONGEST_LIFE, MOST_SEATS, TokenState, TokenWish};
use crate::protocol::redflag::duration;
use crate::web::auth::Admin;
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::pages::deploy;
use crate::web::picture::presence;
use crate::web::query::Query;
use crate::web::rated::{Administrator, TokenMaking, Within};
use crate::web::state::WebState;

/// How long a token lives unless its maker says so.
const BY_DEFAULT: &str = "24h";

/// What a token is to be.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TokenBody {
    label: Option<String>,
    /// Such as `24h` or `7d`, at most `168h`.
    expires_in: Option<String>,
    /// How many hosts may register with it; 1 if it is left out.
    max_seats: Option<u32>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<BTreeMap<String, Value>>,
}

impl TokenBody {
    fn wish(self) -> Result<TokenWish, ApiError> {
        let asked = filled(&self.expires_in).unwrap_or_else(|| BY_DEFAULT.into());
        let life = duration(&asked).ok_or_else(|| {
            ApiError::Invalid("`expires_in` is a time such as `24h` or `7d`, at most `168h`".into())
        })?;
        Ok(TokenWish {
            label: self.label.unwrap_or_default(),
            max_seats: self.max_seats.unwrap_or(1),
            life,
            metadata: self.metadata.unwrap_or_default(),
        })
    }
}

/// `POST /api/v1/admin/registration-tokens`: makes one; its text is shown once, here.
#[utoipa::path(post, path = "/api/v1/admin/registration-tokens", tag = "v1", request_body = TokenBody,
    responses((status = 201), (status = 400), (status = 401), (status = 403), (status = 429)),
    security(("admin_token" = [])))]
pub async fn make(
    admin: Admin,
    req: HttpRequest,
    state: web::Data<WebState>,
    _limit: Within<TokenMaking>,
    body: Lenient<TokenBody>,
) -> Result<HttpResponse, ApiError> {
    let made = state.master().make_token(body.0.wish()?, &admin.name).await?;
    let raw = made.raw.expose_secret();
    let answer = json!({
        "token": raw, "id": made.token_id, "label": made.wish.label, "expires_at": made.expires_at,
        "max_seats": made.wish.max_seats, "metadata": made.wish.metadata,
        "install_command": deploy::with_token(&deploy::address(&req, &state), raw),
    });
    Ok(HttpResponse::Created().insert_header(("cache-control", "no-store")).json(answer))
}

/// Which tokens, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
pub struct TokensQuery {
    /// `active`, `used`, `expired` or `revoked`.
    status: Option<String>,
    /// `true` is the same as `status=active`.
    is_active: Option<String>,
    /// Which page, from 1.
    #[param(value_type = Option<u64>)]
    page: Option<String>,
    /// Tokens of a page, 1 to 100; 50 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// `GET /api/v1/admin/registration-tokens`.
#[utoipa::path(get, path = "/api/v1/admin/registration-tokens", tag = "v1", params(TokensQuery),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 429)),
    security(("admin_token" = [])))]
pub async fn list(
    _: Administrator,
    state: web::Data<WebState>,
    query: Query<TokensQuery>,
) -> Result<HttpResponse, ApiError> {
    let asked = query.0;
    let mut page = PageOf::read(asked.page.as_deref(), ("limit", asked.limit.as_deref()), 50)?;
    page.size = page.size.min(100);
    let is_active = asked.is_active.as_deref() == Some("true");
    let wanted = if is_active { Some("active".to_owned()) } else { filled(&asked.status) };
    let (rows, now) = all_tokens(&state).await?;
    let (stats, seats) = (stats(&rows, now), seats(&rows));
    let fits = |row: &TokenRow| wanted.as_deref().is_none_or(|word| row.state(now).as_str() == word);
    let shown = page.cut(rows.into_iter().filter(fits).collect());
    Ok(HttpResponse::Ok().json(json!({
        "tokens": shown.iter().map(|row| record(row, now)).collect::<Vec<_>>(),
        "pagination": { "page": page.page, "limit": page.size, "offset": page.skipped() },
        "stats": stats, "seat_usage": seats,
    })))
}

/// `GET /api/v1/admin/registration-tokens/active`.
#[utoipa::path(get, path = "/api/v1/admin/registration-tokens/active", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn active(_: Administrator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let (rows, now) = all_tokens(&state).await?;
    let active = rows.iter().filter(|row| row.state(now) == TokenState::Active);
    Ok(HttpResponse::Ok().json(json!({ "tokens": active.map(|row| record(row, now)).collect::<Vec<_>>() })))
}

/// Returns every token, and the time by which they stand somewhere.
async fn all_tokens(state: &WebState) -> Result<(Vec<TokenRow>, DateTime<Utc>), ApiError> {
    let rows = list_tokens(&state.master().db, ALL).await.map_err(ApiError::internal)?;
    Ok((rows, state.master().clock.now()))
}

/// How many tokens stand where.
fn stats(rows: &[TokenRow], now: DateTime<Utc>) -> Value {
    let count = |state: TokenState| rows.iter().filter(|row| row.state(now) == state).count();
    TokenState::ALL.into_iter().map(|state| (state.as_str().to_owned(), json!(count(state)))).collect()
}

fn seats(rows: &[TokenRow]) -> Value {
    let sum = |of: fn(&TokenRow) -> u32| rows.iter().map(|row| u64::from(of(row))).sum::<u64>();
    json!({ "current": sum(|row| row.seats_used), "max": sum(|row| row.max_seats) })
}

fn record(row: &TokenRow, now: DateTime<Utc>) -> Value {
    json!({
        "id": row.id, "token": null, "label": row.label, "expires_at": row.expires_at, "created_at": row.created_at,
        "used_at": row.used_at, "used_by_agent_id": null, "revoked": row.revoked_at.is_some(),
        "revoked_at": row.revoked_at, "revoked_reason": row.revoked_reason, "status": row.state(now).as_str(),
        "created_by": row.created_by, "metadata": row.metadata, "max_seats": row.max_seats,
        "seats_used": row.seats_used,
    })
}

/// Why a token is taken back.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ReasonBody {
    reason: Option<String>,
}

/// `DELETE /api/v1/admin/registration-tokens/{token}`: takes a token back, named by its text or its id.
#[utoipa::path(delete, path = "/api/v1/admin/registration-tokens/{token}", tag = "v1",
    params(("token" = String, Path)), request_body = ReasonBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 429)),
    security(("admin_token" = [])))]
pub async fn revoke(
    admin: Administrator,
    state: web::Data<WebState>,
    token: web::Path<String>,
    body: Lenient<ReasonBody>,
) -> Result<HttpResponse, ApiError> {
    let id = named(&state, token.into_inner()).await?;
    state.master().revoke_token(&id, body.0.reason, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Registration token revoked successfully" })))
}

/// Returns the id of a token that is named by its text or its id.
async fn named(state: &WebState, text: String) -> Result<TokenId, ApiError> {
    let id = TokenId::new(text.clone());
    if find_token(&state.master().db, &id).await.map_err(ApiError::internal)?.is_some() {
        return Ok(id);
    }
    let row = state.master().find_token(&SecretString::from(text)).await?;
    Ok(row.ok_or(crate::actors::master::MasterError::TokenNotFound)?.id)
}

/// `DELETE /api/v1/admin/registration-tokens/delete/{id}`: drops a token from the list.
#[utoipa::path(delete, path = "/api/v1/admin/registration-tokens/delete/{id}", tag = "v1",
    params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 429)),
    security(("admin_token" = [])))]
pub async fn delete(
    admin: Administrator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().delete_token(&TokenId::new(id.into_inner()), &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Registration token deleted successfully" })))
}

/// `POST /api/v1/admin/registration-tokens/cleanup`: drops the tokens that ended without any host.
#[utoipa::path(post, path = "/api/v1/admin/registration-tokens/cleanup", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn cleanup(admin: Administrator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let cleaned = state.master().drop_expired_tokens(&admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Cleanup completed", "cleaned": cleaned })))
}

/// `GET /api/v1/admin/registration-tokens/stats`.
#[utoipa::path(get, path = "/api/v1/admin/registration-tokens/stats", tag = "v1",
    responses((status = 200), (status = 401), (status = 403), (status = 429)), security(("admin_token" = [])))]
pub async fn statistics(_: Administrator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let (rows, now) = all_tokens(&state).await?;
    let slots = state.master().directory.slots();
    let online = slots.iter().filter(|slot| presence(&state, slot.id(), None).is_online).count();
    let free: u64 = rows
        .iter()
        .filter(|row| row.state(now) == TokenState::Active)
        .map(|row| u64::from(row.max_seats.saturating_sub(row.seats_used)))
        .sum();
    Ok(HttpResponse::Ok().json(json!({
        "token_stats": stats(&rows, now),
        "agent_usage": { "active_agents": online, "max_seats": seats(&rows)["max"], "available": free },
        "security_limits": {
            "max_tokens_per_request": MOST_SEATS, "max_token_duration": format!("{}h", LONGEST_LIFE.as_secs() / 3_600),
            "token_expiry_default": BY_DEFAULT,
        },
    })))
}

/// The text of a token.
#[derive(Deserialize, IntoParams)]
pub struct ValidateQuery {
    token: Option<String>,
}

/// `GET /api/v1/admin/registration-tokens/validate?token=`: says whether a host could register with a token.
#[utoipa::path(get, path = "/api/v1/admin/registration-tokens/validate", tag = "v1", params(ValidateQuery),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 429)),
    security(("admin_token" = [])))]
pub async fn validate(
    _: Administrator,
    state: web::Data<WebState>,
    query: Query<ValidateQuery>,
) -> Result<HttpResponse, ApiError> {
    let now = state.master().clock.now();
    let text = SecretString::from(filled(&query.0.token).unwrap_or_default());
    let row = state.master().find_token(&text).await?;
    Ok(match row.filter(|row| row.state(now) == TokenState::Active) {
        Some(row) => HttpResponse::Ok().json(json!({ "valid": true, "token": record(&row, now) })),
        None => HttpResponse::NotFound().json(json!({
            "valid": false, "error": "the token is invalid or has expired", "code": "token_not_found",
        })),
    })
}
