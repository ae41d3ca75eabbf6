//! Scripts sign in with an administrator's name and password, and get a token for a day.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::actors::master::MasterError;
use crate::db::read::{AdminRow, find_admin};
use crate::domain::role::Role;
use crate::web::auth::{Anyone, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::password_check::{Refused, check};
use crate::web::rated::{Public, Within};
use crate::web::state::WebState;

/// Who signs in.
#[derive(Deserialize, ToSchema)]
pub struct LoginBody {
    username: Option<String>,
    password: Option<String>,
}

/// `POST /api/v1/auth/login`.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "v1", request_body = LoginBody,
    responses((status = 200, description = "the token, for a day"), (status = 400), (status = 401), (status = 429),
        (status = 503)), security(()))]
pub async fn login(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    _limit: Within<Public>,
    body: Lenient<LoginBody>,
) -> Result<HttpResponse, ApiError> {
    let (Some(name), Some(password)) = (body.0.username, body.0.password) else {
        return Err(ApiError::Invalid("`username` and `password` are needed".into()));
    };
    let admin = match check(&req, &state, (&name, &password), None).await? {
        Ok(admin) => admin,
        Err(Refused::Wrong) => return Err(ApiError::WrongSignIn),
        Err(Refused::TooMany { wait, .. }) => return Err(ApiError::TooManyAttempts { retry_after: wait }),
        Err(Refused::Busy) => return Err(MasterError::Busy.into()),
    };
    let now = state.master().clock.now();
    let token = state.access_tokens().for_person(&admin.name, admin.session_version, now);
    let answer = json!({ "token": token, "user": user(&admin) });
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(answer))
}

/// A person as RedFlag's clients know one.
fn user(admin: &AdminRow) -> Value {
    json!({
        "id": admin.name, "username": admin.name, "email": "", "role": role(admin.role),
        "created_at": admin.created_at, "last_login": null,
    })
}

/// RedFlag's word for a role.
fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Operator => "user",
        Role::Viewer => "readonly",
    }
}

/// `POST /api/v1/auth/logout`: a token is good until its day is over, or the password changes; the client forgets it.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn logout(_: Viewer) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "message": "logged out successfully" }))
}

/// `GET /api/v1/auth/verify`: says who the token is for.
#[utoipa::path(get, path = "/api/v1/auth/verify", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn verify(viewer: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let admin = find_admin(&state.master().db, &viewer.name).await.map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(json!({ "valid": true, "user": admin.as_ref().map(user) })))
}
