//! Registries: what they say of pushes, and whose account the master has there.

use actix_web::{HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::db::read::list_registry_logins;
use crate::domain::registry::{PUSH_FORMS, Reference, read_pushes};
use crate::protocol::v2::answer;
use crate::web::auth::{Admin, CallingRegistry};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// An account at a registry.
#[derive(Deserialize, ToSchema)]
pub struct LoginBody {
    /// The account's name.
    username: Option<String>,
    /// Its password, or an access token in its place.
    #[schema(value_type = Option<String>)]
    password: Option<SecretString>,
}

/// `POST /api/v3/registries/events`: a registry, or a script in its place, says what was pushed. The hosts that run one of
/// these tags are told to look, once for all that comes within a second.
#[utoipa::path(post, path = "/api/v3/registries/events", tag = "registries", request_body = Value,
    responses((status = 202), (status = 400), (status = 401), (status = 409), (status = 429)),
    security(("push_token" = [])))]
pub async fn pushed(
    _: CallingRegistry,
    state: web::Data<WebState>,
    body: Lenient<Value>,
) -> Result<HttpResponse, ApiError> {
    let pushes = read_pushes(&body.0).ok_or_else(|| {
        ApiError::Invalid(format!("this says nothing of pushes; understood are {PUSH_FORMS}"))
    })?;
    let images: Vec<String> = pushes.tags.iter().map(Reference::familiar).collect();
    if !pushes.tags.is_empty() {
        state.master().pushed(pushes.tags)?;
    }
    let mut said = answer::success("Hosts that run one of these images are told to look.");
    said["images"] = json!(images);
    said["left_out"] = json!(pushes.left_out);
    Ok(HttpResponse::Accepted().json(said))
}

/// `GET /api/v3/registries/logins`: whose account the master has at which registry; passwords are never shown.
#[utoipa::path(get, path = "/api/v3/registries/logins", tag = "registries",
    responses((status = 200), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn list(_: Admin, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let rows = list_registry_logins(&state.master().db).await.map_err(ApiError::internal)?;
    let logins: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "registry": row.registry, "username": row.account, "set_at": row.set_at, "set_by": row.set_by }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "logins": logins })))
}

/// `PUT /api/v3/registries/logins/{registry}`: sets the account at a registry, in the place of an earlier one.
#[utoipa::path(put, path = "/api/v3/registries/logins/{registry}", tag = "registries",
    params(("registry" = String, Path)), request_body = LoginBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn set(
    admin: Admin,
    state: web::Data<WebState>,
    registry: web::Path<String>,
    body: Lenient<LoginBody>,
) -> Result<HttpResponse, ApiError> {
    let (username, password) = (body.0.username.unwrap_or_default(), body.0.password.unwrap_or_default());
    state.master().set_registry_login(&registry, &username, password, &admin.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The registry is asked with this login from now on.")))
}

/// `DELETE /api/v3/registries/logins/{registry}`: forgets the account at a registry.
#[utoipa::path(delete, path = "/api/v3/registries/logins/{registry}", tag = "registries",
    params(("registry" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404)), security(("admin_token" = [])))]
pub async fn remove(
    admin: Admin,
    state: web::Data<WebState>,
    registry: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().remove_registry_login(&registry, &admin.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The login is forgotten.")))
}
