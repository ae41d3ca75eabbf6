//! DockFlare's endpoints about the account: zones, tunnels, records, and its reconciliation.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::overview::reconciliation;
use crate::actors::master::MasterError;
use crate::db::read::{self, ALL};
use crate::domain::dns::tunnel_target;
use crate::domain::id::TunnelId;
use crate::protocol::v2::answer;
use crate::web::auth::{Operator, Viewer};
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// `GET /api/v2/zones`: the zones of the account.
#[utoipa::path(get, path = "/api/v2/zones", tag = "routes",
    responses((status = 200), (status = 401), (status = 409), (status = 502)), security(("admin_token" = [])))]
pub async fn zones(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    if !state.master().has_cloudflare() {
        return Err(MasterError::NoCloudflareToken.into());
    }
    let reason = "the zones of the account cannot be listed; give the API token the right `Zone Read`";
    let zones = state.master().zones().await?.ok_or_else(|| ApiError::NotNow(reason.into()))?;
    let account = state.settings().account_id.clone();
    let zone = |zone: &crate::domain::zone::Zone| json!({ "id": zone.id, "name": zone.name, "status": "active", "account": { "id": account } });
    Ok(HttpResponse::Ok().json(zones.iter().map(zone).collect::<Vec<_>>()))
}

/// `GET /api/v2/tunnels/account`: the tunnels that this master knows, with who has them.
#[utoipa::path(get, path = "/api/v2/tunnels/account", tag = "routes",
    responses((status = 200), (status = 401)), security(("admin_token" = [])))]
pub async fn tunnels(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let rows = read::list_tunnels(&state.master().db, None, ALL).await.map_err(ApiError::internal)?;
    let tunnels: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "name": row.name, "account_tag": row.account_id, "config_src": "cloudflare",
                "agent_id": row.agent_id, "enrolled_at": row.enrolled_at,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "tunnels": tunnels })))
}

/// `GET /api/v2/tunnels/{id}/dns-records`: the records that this master made for a tunnel.
#[utoipa::path(get, path = "/api/v2/tunnels/{id}/dns-records", tag = "routes", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn records(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (db, id) = (&state.master().db, TunnelId::new(id.into_inner()));
    let tunnel = read::find_tunnel(db, &id).await.map_err(ApiError::internal)?;
    // What was taken for an id is not repeated.
    tunnel.ok_or_else(|| MasterError::TunnelNotFound("(of this id)".into()))?;
    let rows = read::list_dns_records(db, &id).await.map_err(ApiError::internal)?;
    let records: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.record_id, "zone_id": row.zone_id, "type": "CNAME", "name": row.name,
                "content": tunnel_target(&id), "proxied": true, "is_settled": row.is_settled,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "dns_records": records })))
}

/// `GET /api/v2/reconciliation-status`.
#[utoipa::path(get, path = "/api/v2/reconciliation-status", tag = "routes",
    responses((status = 200), (status = 401)), security(("admin_token" = [])))]
pub async fn reconciliation_status(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let db = &state.master().db;
    let routes: u64 = read::counts(db).await.map_err(ApiError::internal)?.routes.values().sum();
    let rules = read::count_rules(db).await.map_err(ApiError::internal)?;
    let all = usize::try_from(routes + rules).unwrap_or(usize::MAX);
    Ok(HttpResponse::Ok().json(reconciliation(all)))
}

/// `POST /api/v2/reconcile`: has what is published compared with what is wanted.
#[utoipa::path(post, path = "/api/v2/reconcile", tag = "routes",
    responses((status = 202), (status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn reconcile(_: Operator, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    state.master().compare()?;
    Ok(HttpResponse::Accepted().json(answer::success("Reconciliation started.")))
}
