//! Service tokens, made, rotated and revoked on the page. A secret is on the page that follows, once.

use actix_web::{HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::token_list::{day, in_path};
use super::{GroupForm, PLACE, refused};
use crate::actors::master::MasterError;
use crate::domain::access::{ServiceToken, TokenDraft};
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::pages::confirm::{Confirmation, REVOKE_SERVICE_TOKEN, ROTATE_SERVICE_TOKEN};
use crate::web::pages::posted::Posted;
use crate::web::pages::{Allowed, Shell, go_to, page};
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "service_token_made.html")]
struct TokenMadePage {
    shell: Shell,
    heading: String,
    name: String,
    client_id: String,
    secret: String,
    expires: Option<String>,
}

fn made_page(
    shell: Shell,
    heading: &str,
    token: &ServiceToken,
    secret: &SecretString,
) -> Result<HttpResponse, ApiError> {
    page(&TokenMadePage {
        shell,
        heading: format!("{heading} {}", token.name),
        name: token.name.clone(),
        client_id: token.client_id.clone(),
        secret: secret.expose_secret().to_owned(),
        expires: token.expires_at.map(day),
    })
}

/// What a token is to be.
#[derive(Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    name: String,
    duration: Option<String>,
}

/// `POST /access/tokens`: makes a service token and shows its secret, once.
#[utoipa::path(post, path = "/access/tokens", tag = "pages",
    responses((status = 200), (status = 400), (status = 403), (status = 409), (status = 502)), security(("session" = [])))]
pub async fn create(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    form: Posted<TokenForm>,
) -> Result<HttpResponse, ApiError> {
    let draft = match TokenDraft::read(&form.0.name, form.0.duration.as_deref()) {
        Ok(draft) => draft,
        Err(wrong) => return refused(&person, &state, MasterError::Invalid(wrong), GroupForm::empty()).await,
    };
    match state.master().create_service_token(draft, &person.name).await {
        Ok(made) => made_page(Shell::new(&person, PLACE), "The service token", &made.token, &made.secret),
        Err(error) => refused(&person, &state, error, GroupForm::empty()).await,
    }
}

/// `POST /access/tokens/{id}/rotate`: gives a service token another secret and shows it, once.
#[utoipa::path(post, path = "/access/tokens/{id}/rotate", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 403), (status = 404), (status = 409), (status = 502)), security(("session" = [])))]
pub async fn rotate(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    if !form.0.is_given() {
        return ROTATE_SERVICE_TOKEN.ask(&person, &format!("{PLACE}/tokens/{}", in_path(&id)), PLACE);
    }
    match state.master().rotate_service_token(&id, &person.name).await {
        Ok(made) => made_page(Shell::new(&person, PLACE), "Another secret for", &made.token, &made.secret),
        Err(error) => refused(&person, &state, error, GroupForm::empty()).await,
    }
}

/// `POST /access/tokens/{id}/revoke`: deletes a service token that no group names.
#[utoipa::path(post, path = "/access/tokens/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404), (status = 409), (status = 502)),
    security(("session" = [])))]
pub async fn revoke(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    if !form.0.is_given() {
        return REVOKE_SERVICE_TOKEN.ask(&person, &format!("{PLACE}/tokens/{}", in_path(&id)), PLACE);
    }
    match state.master().revoke_service_token(&id, &person.name).await {
        Ok(_) => Ok(go_to(PLACE)),
        Err(error) => refused(&person, &state, error, GroupForm::empty()).await,
    }
}
