//! `GET /api/v3/explain`: the whole story of a container or a hostname.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use crate::domain::story::Asked;
use crate::web::auth::Viewer;
use crate::web::error::ApiError;
use crate::web::query::KnownQuery;
use crate::web::state::WebState;
use crate::web::story;

/// Of what.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ExplainQuery {
    /// Name or id of a container, a hostname, or a hostname with a path.
    #[serde(default)]
    name: String,
}

/// `GET /api/v3/explain`: from the labels to what it waits for, from what is known here; Cloudflare is not asked.
#[utoipa::path(get, path = "/api/v3/explain", tag = "routes", params(ExplainQuery),
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn explain(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(query): KnownQuery<ExplainQuery>,
) -> Result<HttpResponse, ApiError> {
    let asked = Asked::parse(&query.name).map_err(ApiError::Invalid)?;
    let stories = story::tell(&state, &asked).await?;
    Ok(HttpResponse::Ok().json(json!({ "name": asked.text, "stories": stories })))
}
