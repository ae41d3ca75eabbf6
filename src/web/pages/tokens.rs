//! Registration tokens: made and shown once, listed, taken back.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::confirm::{Confirmation, REVOKE_TOKEN};
use super::posted::{Nothing, Posted};
use super::view::{Badge, badge};
use super::{Allowed, Shell, deploy, go_to, page};
use crate::actors::master::MasterError;
use crate::db::read::{TokenRow, list_tokens};
use crate::domain::id::TokenId;
use crate::domain::token::{TokenState, TokenWish};
use crate::protocol::redflag::duration;
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most tokens on the page.
const TOKENS: u64 = 100;

#[derive(Template)]
#[template(path = "token_made.html")]
struct TokenMadePage {
    shell: Shell,
    label: String,
    token: String,
    seats: u32,
    expires: String,
    loopback: bool,
    bare: String,
    address: String,
}

/// A token as the list shows it.
pub(super) struct TokenLine {
    pub id: String,
    pub label: String,
    pub seats: String,
    pub state: Badge,
    pub expires: String,
    pub made: String,
    pub action: &'static str,
    pub action_title: &'static str,
    pub question: &'static str,
}

/// Returns the newest tokens.
pub(super) async fn lines(state: &WebState) -> Result<Vec<TokenLine>, ApiError> {
    let now = state.master().clock.now();
    let rows = list_tokens(&state.master().db, TOKENS).await.map_err(ApiError::internal)?;
    Ok(rows.iter().map(|row| line(row, row.state(now))).collect())
}

fn line(row: &TokenRow, stands: TokenState) -> TokenLine {
    let is_active = stands == TokenState::Active;
    let tone = if is_active { "good" } else { "idle" };
    TokenLine {
        id: row.id.to_string(),
        label: row.label.clone(),
        seats: format!("{} of {}", row.seats_used, row.max_seats),
        state: badge(tone, stands.as_str()),
        expires: row.expires_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        made: format!("{} by {}", row.created_at.format("%Y-%m-%d %H:%M UTC"), row.created_by),
        action: if is_active { "revoke" } else { "delete" },
        action_title: if is_active { "Revoke" } else { "Delete" },
        question: if is_active { REVOKE_TOKEN.text } else { "Delete this registration token from the list?" },
    }
}

/// What a token is to be.
#[derive(Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    label: String,
    #[serde(default)]
    seats: String,
    #[serde(default)]
    life: String,
}

impl TokenForm {
    fn wish(self) -> Result<TokenWish, ApiError> {
        let wrong = |what: &str| ApiError::from(MasterError::Invalid(what.into()));
        let max_seats = match self.seats.trim() {
            "" => 1,
            text => text.parse().map_err(|_| wrong("the number of hosts is a number from 1 to 1000"))?,
        };
        let life = if self.life.trim().is_empty() { "24h" } else { self.life.trim() };
        let life =
            duration(life).ok_or_else(|| wrong("the life of a token is a time such as `24h` or `7d`"))?;
        Ok(TokenWish { label: self.label, max_seats, life, metadata: Default::default() })
    }
}

/// `POST /tokens`: makes a registration token and shows it, once.
#[utoipa::path(post, path = "/tokens", tag = "pages", responses((status = 200), (status = 400), (status = 403)),
    security(("session" = [])))]
pub async fn make(
    Allowed(person, _): Allowed<Admin>,
    req: HttpRequest,
    state: web::Data<WebState>,
    form: Posted<TokenForm>,
) -> Result<HttpResponse, ApiError> {
    let made = state.master().make_token(form.0.wish()?, &person.name).await?;
    let (address, token) = (deploy::address(&req, &state), made.raw.expose_secret().to_owned());
    page(&TokenMadePage {
        shell: Shell::new(&person, "/agents"),
        label: made.wish.label,
        seats: made.wish.max_seats,
        expires: made.expires_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        loopback: state.settings().is_loopback,
        bare: deploy::with_token(&address, &token),
        address,
        token,
    })
}

/// `POST /tokens/{id}/revoke`.
#[utoipa::path(post, path = "/tokens/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404)), security(("session" = [])))]
pub async fn revoke(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let (path, id) = (format!("/tokens/{id}"), TokenId::new(id.into_inner()));
    let revoke = state.master().revoke_token(&id, None, &person.name);
    REVOKE_TOKEN.after_yes(&person, &form.0, &path, revoke).await
}

/// `POST /tokens/{id}/delete`: takes a token off the list.
#[utoipa::path(post, path = "/tokens/{id}/delete", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 404)), security(("session" = [])))]
pub async fn delete(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    state.master().delete_token(&TokenId::new(id.into_inner()), &person.name).await?;
    Ok(go_to("/agents"))
}
