//! Administrators: a forgotten password is set anew with the admin token or over the admin socket.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::actors::master::MasterError;
use crate::web::api::agents::missing;
use crate::web::attempts::Guest;
use crate::web::auth::Admin;
use crate::web::body::Json;
use crate::web::error::ApiError;
use crate::web::hashing::{Asker, Turn};
use crate::web::password;
use crate::web::state::WebState;

/// The new password.
#[derive(Deserialize, ToSchema)]
pub struct PasswordBody {
    password: String,
    /// The caller's own, which a signed-in browser has to send: somebody else may sit at it.
    current_password: Option<String>,
}

/// `POST /api/v3/admins/{name}/password`: sets the password; sessions of the old one end.
#[utoipa::path(post, path = "/api/v3/admins/{name}/password", tag = "admins", params(("name" = String, Path)),
    request_body = PasswordBody, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 429)),
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
    let turn = state.hashing().turn(Asker::Known(admin.name.clone())).await.ok_or(MasterError::Busy)?;
    if admin.is_browser {
        must_know_own(&admin, &state, &turn, body.0.current_password).await?;
    }
    let hash = turn.hash(body.0.password, state.master().chance.clone()).await?;
    state.master().set_admin_password(&name, hash, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// Fails unless the person at the browser knows the password that it was signed in with. Guesses are counted, also
/// for a stolen session.
async fn must_know_own(
    admin: &Admin,
    state: &WebState,
    turn: &Turn,
    current: Option<String>,
) -> Result<(), ApiError> {
    let current = current.ok_or_else(|| missing("current_password"))?;
    let who = Guest::new(format!("password/{}", admin.name));
    if let Some(retry_after) = state.attempts().must_wait(&who) {
        return Err(ApiError::TooManyAttempts { retry_after });
    }
    let hash = state.master().admin_password_hash(&admin.name).await?;
    if !turn.verify(current, hash.unwrap_or_else(|| state.decoy_hash().to_owned())).await? {
        state.attempts().sign_in_failed(&who);
        return Err(ApiError::WrongPassword);
    }
    state.attempts().signed_in(&who);
    Ok(())
}
