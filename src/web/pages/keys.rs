//! Agent keys: the list, showing a new one once, and taking one back.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::ExposeSecret;

use super::confirm::{Confirmation, REVOKE_KEY};
use super::overview::fragment_of;
use super::posted::{Nothing, Posted};
use super::tokens::{self, TokenLine};
use super::view::{Badge, badge, permitted};
use super::{Allowed, Shell, SignedIn, deploy, go_to, page, part};
use crate::actors::master::{KeyRef, NewKey};
use crate::db::read::{self, KeyRow};
use crate::domain::agent::KeyStatus;
use crate::domain::id::{AgentId, KeyId};
use crate::web::api::agents::agent_id;
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most keys on the page.
const KEYS: usize = 500;

#[derive(Template)]
#[template(path = "keys_live.html")]
struct Live {
    csrf: String,
    keys: Vec<KeyLine>,
    has_older: bool,
    tokens: Vec<TokenLine>,
}

#[derive(Template)]
#[template(path = "key_made.html")]
struct KeyMadePage {
    shell: Shell,
    heading: String,
    key: String,
    key_id: String,
    limited_to: Option<String>,
    loopback: bool,
    compose: String,
    run: String,
    bare: String,
}

struct KeyLine {
    id: String,
    owner: String,
    agent: Option<String>,
    agent_href: String,
    permitted: String,
    state: Badge,
    made: String,
    action: &'static str,
    action_title: &'static str,
    question: &'static str,
}

/// `GET /fragments/keys`: the list of keys, which is live: a key that was just used says by whom.
#[utoipa::path(get, path = "/fragments/keys", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state).await?))
}

/// Renders the list of keys.
pub async fn render(person: &SignedIn, state: &WebState) -> Result<String, ApiError> {
    let db = &state.master().db;
    let mut keys = read::list_keys(db, KEYS as u64 + 1).await.map_err(ApiError::internal)?;
    let has_older = keys.len() > KEYS;
    keys.truncate(KEYS);
    let agents: Vec<AgentId> = keys.iter().filter_map(|key| key.bound_agent_id.clone()).collect();
    let names = read::agent_names(db, &agents).await.map_err(ApiError::internal)?;
    part(&Live {
        csrf: person.session.csrf.clone(),
        keys: keys.iter().map(|key| key_line(key, &names)).collect(),
        has_older,
        tokens: tokens::lines(state).await?,
    })
}

fn key_line(key: &KeyRow, names: &HashMap<AgentId, String>) -> KeyLine {
    let is_active = key.status == KeyStatus::Active;
    let agent = key.bound_agent_id.as_ref();
    KeyLine {
        id: key.id.to_string(),
        owner: key.owner.clone(),
        agent: agent.map(|id| names.get(id).map_or(id.as_str(), String::as_str).to_owned()),
        agent_href: agent.map(|id| format!("/agents/{id}")).unwrap_or_default(),
        permitted: permitted(&key.hostname_patterns),
        state: if is_active { badge("good", "active") } else { badge("idle", "revoked") },
        made: key.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        action: if is_active { "revoke" } else { "delete" },
        action_title: if is_active { "Revoke" } else { "Delete" },
        question: if is_active { REVOKE_KEY.text } else { "Delete this revoked key from the list?" },
    }
}

/// `POST /agents/{id}/roll-key`: gives the agent another key and shows it, once.
#[utoipa::path(post, path = "/agents/{id}/roll-key", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 403)), security(("session" = [])))]
pub async fn roll(
    Allowed(person, _): Allowed<Admin>,
    req: HttpRequest,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(req.match_info().query("id"))?;
    let key = state.master().roll_key(&id, &person.name).await?;
    let heading = format!("A new key for {}", key.owner);
    show_once(&person, &req, &state, heading, key)
}

/// Shows a key that was made just now.
pub(super) fn show_once(
    person: &SignedIn,
    req: &HttpRequest,
    state: &WebState,
    heading: String,
    key: NewKey,
) -> Result<HttpResponse, ApiError> {
    let (address, raw) = (deploy::address(req, state), key.raw.expose_secret());
    let prefix = state.settings().label_prefix.as_deref();
    page(&KeyMadePage {
        shell: Shell::new(person, "/agents"),
        heading,
        key: raw.to_owned(),
        key_id: key.key_id.to_string(),
        limited_to: (!key.hostname_patterns.is_empty()).then(|| permitted(&key.hostname_patterns)),
        loopback: state.settings().is_loopback,
        compose: deploy::compose(&address, raw, &key.owner, prefix),
        run: deploy::docker_run(&address, raw, prefix),
        bare: deploy::bare(&address, raw, prefix),
    })
}

/// `POST /agents/keys/{id}/revoke`.
#[utoipa::path(post, path = "/agents/keys/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn revoke(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let (path, id) = (format!("/agents/keys/{id}"), KeyId::new(id.into_inner()));
    let revoke = async { state.master().revoke_key(KeyRef::Id(id), &person.name).await.map(drop) };
    REVOKE_KEY.after_yes(&person, &form.0, &path, revoke).await
}

/// `POST /agents/keys/{id}/delete`: takes a revoked key off the list.
#[utoipa::path(post, path = "/agents/keys/{id}/delete", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn delete(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    state.master().delete_key(KeyRef::Id(KeyId::new(id.into_inner())), &person.name).await?;
    Ok(go_to("/agents"))
}
