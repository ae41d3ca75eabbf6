//! First-run set-up: the one-time link, and the form that makes the first administrator.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::posted::Posted;
use super::sign_in::{open_session, visit, with_session};
use super::{Shell, go_to, page_with};
use crate::actors::master::MasterError;
use crate::db::read;
use crate::web::attempts::Guest;
use crate::web::auth::Anyone;
use crate::web::error::ApiError;
use crate::web::hashing::Asker;
use crate::web::password;
use crate::web::password_check::network;
use crate::web::query::Query;
use crate::web::session::Session;
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    shell: Shell,
    token: Option<String>,
    name: String,
    address: String,
    problem: Option<String>,
}

/// The token of the first-run link.
#[derive(Deserialize)]
pub struct SetupLink {
    token: Option<String>,
}

/// The set-up form.
#[derive(Deserialize)]
pub struct SetupForm {
    token: String,
    name: String,
    password: String,
    again: String,
}

/// `GET /setup`: with the token of the one-time link a form, without it a word on where the link is.
#[utoipa::path(get, path = "/setup", tag = "pages", responses((status = 200), (status = 303)), security(()))]
pub async fn show(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    Query(link): Query<SetupLink>,
) -> Result<HttpResponse, ApiError> {
    if read::has_admin(&state.master().db).await.map_err(ApiError::internal)? {
        return Ok(go_to("/login"));
    }
    let session = visit(&req, &state);
    let token = link.token.clone().filter(|token| state.is_setup_token(token));
    show_with(&req, &state, &session, StatusCode::OK, token, String::new(), None)
}

/// `POST /setup`: makes the first administrator and signs in.
#[utoipa::path(post, path = "/setup", tag = "pages", responses((status = 303), (status = 400), (status = 403)), security(()))]
pub async fn set_up(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    form: Posted<SetupForm>,
) -> Result<HttpResponse, ApiError> {
    let form = form.0;
    let session = visit(&req, &state);
    let source = network(state.source(&req));
    // Who has the link is never kept out by others who guess.
    if !state.is_setup_token(&form.token) {
        let who = Guest::new(format!("setup/{source}"));
        if let Some(retry_after) = state.attempts().must_wait(&who) {
            return Err(ApiError::TooManyAttempts { retry_after });
        }
        state.attempts().sign_in_failed(&who);
        return show_with(&req, &state, &session, StatusCode::FORBIDDEN, None, String::new(), None);
    }
    let complaint = password::name_complaint(&form.name).or(password::complaint(&form.password, &form.again));
    if let Some(complaint) = complaint {
        let problem = Some(complaint.to_owned());
        return show_with(
            &req,
            &state,
            &session,
            StatusCode::BAD_REQUEST,
            Some(form.token),
            form.name,
            problem,
        );
    }
    let turn = state.hashing().turn(Asker::Known("set-up".into())).await.ok_or(MasterError::Busy)?;
    let hash = turn.hash(form.password, state.master().chance.clone()).await?;
    state.master().set_up_admin(&form.name, hash).await?;
    state.close_setup();
    let admin = read::find_admin(&state.master().db, &form.name).await.map_err(ApiError::internal)?;
    open_session(&state, &form.name, admin.map_or(0, |admin| admin.session_version), None, "/").await
}

fn show_with(
    req: &HttpRequest,
    state: &WebState,
    session: &Session,
    status: StatusCode,
    token: Option<String>,
    name: String,
    problem: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let address = super::deploy::address(req, state);
    let page = SetupPage { shell: Shell::visitor(session), token, name, address, problem };
    with_session(page_with(status, &page)?, session, state)
}
