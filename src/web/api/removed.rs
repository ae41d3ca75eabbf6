//! What was withdrawn here: asked by whoever takes over what another program still has of it.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::db::read::{RemovalRow, withdrawn_among};
use crate::domain::removal::Withdrawn;
use crate::web::auth::Admin;
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most ids in one question.
const MOST: usize = 1_000;

/// Of which things it is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemovedBody {
    /// `key`, `group` or `rule`.
    #[schema(value_type = String)]
    kind: Withdrawn,
    /// SHA-256 of keys, ids of groups, `hostname|path` of rules; at most 1000.
    ids: Vec<String>,
}

/// `POST /api/v3/removed`: which of these were withdrawn here, and not made again since. Changes nothing.
#[utoipa::path(post, path = "/api/v3/removed", tag = "keys", request_body = RemovedBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn among(
    _: Admin,
    state: web::Data<WebState>,
    body: Lenient<RemovedBody>,
) -> Result<HttpResponse, ApiError> {
    let RemovedBody { kind, mut ids } = body.0;
    if ids.len() > MOST {
        return Err(ApiError::Invalid(format!("`ids` has more than {MOST} entries; ask in parts")));
    }
    // No id holds one, and PostgreSQL knows no such text.
    ids.retain(|id| !id.contains('\0'));
    let found = withdrawn_among(&state.master().db, kind, &ids).await.map_err(ApiError::internal)?;
    let row = |RemovalRow { id, removed_at, removed_by }| json!({ "id": id, "removed_at": removed_at, "removed_by": removed_by });
    let removed: Vec<Value> = found.into_iter().map(row).collect();
    Ok(HttpResponse::Ok().json(json!({ "removed": removed })))
}
