//! The two routes that DockFlare agents take for Cloudflare's API.
//!
//! Nothing an agent sends here is passed through: a write means "make my tunnel as my labels ask", and the
//! account's one caller does that. Refusals come in Cloudflare's envelope too; a DockFlare agent logs them and
//! goes on.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::actors::master::MasterError;
use crate::domain::id::TunnelId;
use crate::protocol::v2::answer::cloudflare_success;
use crate::web::auth::{CallingKey, Reporting};
use crate::web::body::{Json, SMALL};
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// `GET /accounts`: names the account.
#[utoipa::path(get, path = "/accounts", tag = "agent v2", responses((status = 200), (status = 401)),
    security(("agent_key" = [])))]
pub async fn accounts(_key: CallingKey<Reporting>, state: web::Data<WebState>) -> HttpResponse {
    let account = state.settings().account_id.as_ref();
    let list: Vec<Value> = account.map(|id| json!({ "id": id, "name": "lightship" })).into_iter().collect();
    HttpResponse::Ok().json(cloudflare_success(json!(list)))
}

/// `PUT /accounts/{account}/cfd_tunnel/{tunnel}/configurations`: writes the calling agent's wanted rules.
#[utoipa::path(put, path = "/accounts/{account}/cfd_tunnel/{tunnel}/configurations", tag = "agent v2",
    params(("account" = String, Path), ("tunnel" = String, Path)), request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 403, description = "another agent's tunnel"),
        (status = 409, description = "the tunnel waits for a person"), (status = 502)), security(("agent_key" = [])))]
pub async fn put_configuration(
    key: CallingKey<Reporting>,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    _ignored: Json<Value, SMALL>,
) -> Result<HttpResponse, ApiError> {
    if state.settings().account_id.as_deref() != Some(path.0.as_str()) {
        return Err(ApiError::KeyMismatch);
    }
    let tunnel = TunnelId::new(path.1.clone());
    let agent = state.master().directory.agent_in(&key.0, &tunnel).ok_or(MasterError::NotYourTunnel)?;
    let version = state.master().put_agent_rules(&agent, &tunnel).await?;
    Ok(HttpResponse::Ok().json(cloudflare_success(json!({ "tunnel_id": path.1, "version": version }))))
}
