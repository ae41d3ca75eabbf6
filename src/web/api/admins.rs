//! Administrators: a forgotten password is set anew with the admin token or over the admin socket.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::actors::master::MasterError;
use crate::web::auth::Admin;
use crate::web::body::Json;
use crate::web::error::ApiError;
use crate::web::password;
use crate::web::state::WebState;

/// The new password.
#[derive(Deserialize, ToSchema)]
pub struct PasswordBody {
    password: String,
}

/// `POST /api/v3/admins/{name}/password`: sets the password; sessions of the old one end.
#[utoipa::path(post, path = "/api/v3/admins/{name}/password", tag = "admins", params(("name" = String, Path)),
    request_body = PasswordBody, responses((status = 200), (status = 400), (status = 401), (status = 404)),
    security(("admin_token" = [])))]
pub async fn set_password(
    admin: Admin,
    state: web::Data<WebState>,
    name: web::Path<String>,
    body: Json<PasswordBody>,
) -> Result<HttpResponse, ApiError> {
    if let Some(complaint) = password::complaint(&body.0.password, &body.0.password) {
        return Err(ApiError::Invalid(complaint.into()));
    }
    let turn = state.hashing().turn(&admin.name).await.ok_or(MasterError::Busy)?;
    let hash = turn.hash(body.0.password, state.master().chance.clone()).await?;
    state.master().set_admin_password(&name, hash, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
