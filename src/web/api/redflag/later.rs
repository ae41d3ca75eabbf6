//! What installs something. It is not built yet, and says so: nothing is taken for done that is not.

use actix_web::HttpResponse;

use crate::web::auth::Operator;
use crate::web::error::ApiError;

const INSTALLING: &str = "installing updates";

/// `POST /api/v1/updates/{id}/approve`: not built yet.
#[utoipa::path(post, path = "/api/v1/updates/{id}/approve", tag = "v1", params(("id" = String, Path)),
    responses((status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn approve(_: Operator) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotBuiltYet("approving updates"))
}

/// `POST /api/v1/updates/approve`: not built yet.
#[utoipa::path(post, path = "/api/v1/updates/approve", tag = "v1",
    responses((status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn approve_many(_: Operator) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotBuiltYet("approving updates"))
}

/// `POST /api/v1/updates/{id}/install`: not built yet.
#[utoipa::path(post, path = "/api/v1/updates/{id}/install", tag = "v1", params(("id" = String, Path)),
    responses((status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn install(_: Operator) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotBuiltYet(INSTALLING))
}

/// `POST /api/v1/updates/{id}/confirm-dependencies`: not built yet.
#[utoipa::path(post, path = "/api/v1/updates/{id}/confirm-dependencies", tag = "v1", params(("id" = String, Path)),
    responses((status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn confirm_dependencies(_: Operator) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotBuiltYet(INSTALLING))
}
