//! Agent keys: made, revoked, dropped. A raw key is in the answer that makes it and nowhere else.

use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::actors::master::{KeyDropped, KeyRef};
use crate::domain::id::KeyId;
use crate::protocol::v2::answer;
use crate::web::auth::Admin;
use crate::web::body::{Lenient, Patterns};
use crate::web::error::ApiError;
use crate::web::records::legacy_time;
use crate::web::state::WebState;

/// Longest text that says whom a key is for.
const OWNER_LIMIT: usize = 200;
/// How long DockFlare keeps revoked keys.
const RETENTION_DAYS: u32 = 30;

/// Whom a key is for, and which hostnames its agent may claim (none: any). What is not known is refused: it might have been
/// the patterns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    owner: Option<String>,
    hostname_patterns: Option<Patterns>,
}

/// Names a key, by itself or by its id.
#[derive(Deserialize, ToSchema)]
pub struct KeyBody {
    key: Option<String>,
    key_id: Option<String>,
}

/// `POST /api/v2/agents/generate-key`.
#[utoipa::path(post, path = "/api/v2/agents/generate-key", tag = "keys", request_body = NewKeyBody,
    responses((status = 201, description = "the key, shown once"), (status = 400), (status = 401)),
    security(("admin_token" = [])))]
pub async fn generate(
    admin: Admin,
    state: web::Data<WebState>,
    body: Lenient<NewKeyBody>,
) -> Result<HttpResponse, ApiError> {
    let owner = body.0.owner.unwrap_or_default();
    if owner.chars().count() > OWNER_LIMIT {
        return Err(ApiError::Invalid(format!("`owner` has more than {OWNER_LIMIT} characters")));
    }
    let patterns = body.0.hostname_patterns.map(Patterns::list).unwrap_or_default();
    let key = state.master().generate_limited_key(owner.trim(), patterns, &admin.name).await?;
    let meta = json!({
        "owner": key.owner, "status": "active", "bound_agent_id": null, "last_used_at": null,
        "created_at": legacy_time(key.created_at), "hostname_patterns": key.hostname_patterns,
    });
    Ok(HttpResponse::Created().insert_header(("cache-control", "no-store")).json(json!({
        "status": "success", "key": key.raw.expose_secret(), "key_id": key.key_id, "meta": meta,
    })))
}

/// `POST /api/v2/agents/revoke-key`.
#[utoipa::path(post, path = "/api/v2/agents/revoke-key", tag = "keys", request_body = KeyBody,
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn revoke(
    admin: Admin,
    state: web::Data<WebState>,
    body: Lenient<KeyBody>,
) -> Result<HttpResponse, ApiError> {
    let dropped = state.master().revoke_key(named(body.0)?, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "status": "success", "message": format!("Key {} revoked.", dropped.key_id), "key_id": dropped.key_id,
        "affected_agents": dropped.affected_agents,
    })))
}

/// How many agents may be enrolled with a key.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SeatsBody {
    seats: u32,
}

/// `POST /api/v3/keys/{id}/seats`: says how many agents may be enrolled with a key.
#[utoipa::path(post, path = "/api/v3/keys/{id}/seats", tag = "keys", params(("id" = String, Path)),
    request_body = SeatsBody,
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn seats(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<SeatsBody>,
) -> Result<HttpResponse, ApiError> {
    let (key, seats) = (KeyRef::Id(KeyId::new(id.into_inner())), body.0.seats);
    let seated = state.master().seat_key(key, seats, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": format!("Key {} has {seats} {} now.", seated.key_id, if seats == 1 { "seat" } else { "seats" }),
        "key_id": seated.key_id, "seats": seats, "agents": seated.affected_agents,
    })))
}

/// Which revoked keys go.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CleanupBody {
    /// Those that were revoked longer ago than so many days; 30 if nothing is said.
    retention_days: Option<u32>,
}

/// `POST /api/v2/agents/keys/cleanup`: drops keys that were revoked long ago.
#[utoipa::path(post, path = "/api/v2/agents/keys/cleanup", tag = "keys", request_body = CleanupBody,
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn cleanup(
    admin: Admin,
    state: web::Data<WebState>,
    body: Lenient<CleanupBody>,
) -> Result<HttpResponse, ApiError> {
    let days = body.0.retention_days.unwrap_or(RETENTION_DAYS);
    let before = state.master().clock.now() - TimeDelta::days(days.into());
    let dropped = state.master().delete_revoked_keys(Some(before), &admin.name).await?;
    let ids: Vec<_> = dropped.into_iter().map(|key| key.key_id).collect();
    Ok(HttpResponse::Ok().json(json!({
        "status": "success", "cleaned_count": ids.len(), "retention_days": days, "expired_keys": ids,
    })))
}

/// A key that another program made.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TakeKeyBody {
    /// Whom it is for.
    owner: Option<String>,
    /// How many agents may be enrolled with it; 1 if nothing is said.
    seats: Option<u32>,
}

/// `GET /api/v3/keys/digests/{sha256}`: the key of this digest.
#[utoipa::path(get, path = "/api/v3/keys/digests/{sha256}", tag = "keys", params(("sha256" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn known(
    _: Admin,
    state: web::Data<WebState>,
    sha256: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let key = state.master().key_of_digest(&sha256).await?;
    Ok(HttpResponse::Ok().json(json!({
        "key_id": key.id, "owner": key.owner, "status": key.status, "seats": key.seats,
    })))
}

/// `PUT /api/v3/keys/digests/{sha256}`: has a key that another program made open what agent keys open. Only its SHA-256 is
/// told; a key that is known stays as it is.
#[utoipa::path(put, path = "/api/v3/keys/digests/{sha256}", tag = "keys", params(("sha256" = String, Path)),
    request_body = TakeKeyBody,
    responses((status = 200, description = "it was known"), (status = 201), (status = 400), (status = 401)),
    security(("admin_token" = [])))]
pub async fn take(
    admin: Admin,
    state: web::Data<WebState>,
    sha256: web::Path<String>,
    body: Lenient<TakeKeyBody>,
) -> Result<HttpResponse, ApiError> {
    let owner = body.0.owner.unwrap_or_default();
    let taken = state.master().take_key(&sha256, &owner, body.0.seats.unwrap_or(1), &admin.name).await?;
    let mut answer = if taken.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let message = if taken.is_new { "Key taken over." } else { "This key is known already." };
    Ok(answer.json(json!({ "message": message, "key_id": taken.key_id })))
}

/// `DELETE /api/v2/agents/keys/{id}`: drops one revoked key.
#[utoipa::path(delete, path = "/api/v2/agents/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 200), (status = 400, description = "not revoked yet"), (status = 401), (status = 404)),
    security(("admin_token" = [])))]
pub async fn delete(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let dropped = state.master().delete_key(KeyRef::Id(KeyId::new(id.into_inner())), &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "status": "success", "message": format!("Key {} deleted.", dropped.key_id),
        "deleted_key": dropped.key_id, "owner": dropped.owner,
    })))
}

/// `DELETE /api/v2/agents/keys/revoked`: drops every revoked key.
#[utoipa::path(delete, path = "/api/v2/agents/keys/revoked", tag = "keys",
    responses((status = 200), (status = 401)), security(("admin_token" = [])))]
pub async fn delete_revoked(admin: Admin, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let dropped = state.master().delete_revoked_keys(None, &admin.name).await?;
    let ids: Vec<&KeyDropped> = dropped.iter().collect();
    let ids: Vec<_> = ids.iter().map(|key| &key.key_id).collect();
    let mut body = answer::success(&format!("{} revoked keys deleted.", ids.len()));
    body["deleted_count"] = json!(ids.len());
    body["deleted_keys"] = json!(ids);
    Ok(HttpResponse::Ok().json(body))
}

fn named(body: KeyBody) -> Result<KeyRef, ApiError> {
    let filled = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    match (filled(body.key_id), filled(body.key)) {
        (Some(id), _) => Ok(KeyRef::Id(KeyId::new(id))),
        (None, Some(raw)) => Ok(KeyRef::Raw(SecretString::from(raw))),
        (None, None) => Err(ApiError::Invalid("name the key: send `key_id` or `key`".into())),
    }
}
