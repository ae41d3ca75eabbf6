//! Agents: the list, one agent's page, and what a person does to an agent or a key.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::overview::{agent_lines, fragment_of};
use super::posted::{Confirmation, Nothing, Posted};
use super::view::{AgentLine, Badge, badge};
use super::{Shell, SignedIn, deploy, go_to, page, part};
use crate::actors::master::{KeyRef, NewKey};
use crate::db::read::{self, KeyRow};
use crate::domain::agent::KeyStatus;
use crate::domain::id::KeyId;
use crate::web::api::agents::agent_id;
use crate::web::auth::{Role, at_least};
use crate::web::error::ApiError;
use crate::web::picture::Picture;
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    shell: Shell,
    live: String,
    keys: Vec<KeyLine>,
    loopback: bool,
}

#[derive(Template)]
#[template(path = "agents_live.html")]
struct Live {
    agents: Vec<AgentLine>,
}

#[derive(Template)]
#[template(path = "key_made.html")]
struct KeyMadePage {
    shell: Shell,
    heading: String,
    key: String,
    key_id: String,
    loopback: bool,
    compose: String,
    run: String,
    bare: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    shell: Shell,
    title: &'static str,
    question: &'static str,
    action: String,
    back: String,
}

struct KeyLine {
    id: String,
    owner: String,
    agent: Option<String>,
    agent_href: String,
    state: Badge,
    made: String,
    action: &'static str,
    action_title: &'static str,
    question: &'static str,
}

/// Whom a key is for.
#[derive(Deserialize)]
pub struct KeyForm {
    #[serde(default)]
    owner: String,
}

/// Which tunnel.
#[derive(Deserialize)]
pub struct EnrollForm {
    tunnel_name: String,
}

/// Which name.
#[derive(Deserialize)]
pub struct RenameForm {
    display_name: String,
}

/// `GET /agents`.
#[utoipa::path(get, path = "/agents", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn list(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let picture = Picture::read(&state).await?;
    let keys = read::list_keys(&state.master().db, 500).await.map_err(ApiError::internal)?;
    page(&AgentsPage {
        shell: Shell::new(&person, "/agents"),
        live: part(&Live { agents: agent_lines(&state, &picture) })?,
        keys: keys.iter().map(|key| key_line(key, &picture)).collect(),
        loopback: state.settings().is_loopback,
    })
}

/// `GET /fragments/agents`: its live part.
#[utoipa::path(get, path = "/fragments/agents", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn list_fragment(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let picture = Picture::read(&state).await?;
    Ok(fragment_of(part(&Live { agents: agent_lines(&state, &picture) })?))
}

/// `POST /agents/keys`: makes a key and shows it, once, with what to do with it.
#[utoipa::path(post, path = "/agents/keys", tag = "pages", responses((status = 200), (status = 403)), security(("session" = [])))]
pub async fn make_key(
    person: SignedIn,
    req: HttpRequest,
    state: web::Data<WebState>,
    form: Posted<KeyForm>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let owner: String = form.0.owner.trim().chars().take(100).collect();
    let key = state.master().generate_key(&owner, &person.name).await?;
    let heading =
        if owner.is_empty() { "A key for another host".to_owned() } else { format!("A key for {owner}") };
    key_made(&person, &req, &state, heading, key)
}

/// `POST /agents/{id}/roll-key`: gives the agent another key and shows it, once.
#[utoipa::path(post, path = "/agents/{id}/roll-key", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 403)), security(("session" = [])))]
pub async fn roll_key(
    person: SignedIn,
    req: HttpRequest,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let id = agent_id(req.match_info().query("id"))?;
    let key = state.master().roll_key(&id, &person.name).await?;
    let heading = format!("A new key for {}", key.owner);
    key_made(&person, &req, &state, heading, key)
}

fn key_made(
    person: &SignedIn,
    req: &HttpRequest,
    state: &WebState,
    heading: String,
    key: NewKey,
) -> Result<HttpResponse, ApiError> {
    let (address, raw) = (deploy::address(req, state), key.raw.expose_secret());
    page(&KeyMadePage {
        shell: Shell::new(person, "/agents"),
        heading,
        key: raw.to_owned(),
        key_id: key.key_id.to_string(),
        loopback: state.settings().is_loopback,
        compose: deploy::compose(&address, raw, &key.owner),
        run: deploy::docker_run(&address, raw),
        bare: deploy::bare(&address, raw),
    })
}

/// `POST /agents/keys/{id}/revoke`.
#[utoipa::path(post, path = "/agents/keys/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn revoke_key(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    if !form.0.is_given() {
        return confirm(
            &person,
            "Revoke key",
            REVOKE_KEY,
            format!("/agents/keys/{id}/revoke"),
            "/agents".into(),
        );
    }
    state.master().revoke_key(KeyRef::Id(KeyId::new(id.into_inner())), &person.name).await?;
    Ok(go_to("/agents"))
}

/// `POST /agents/keys/{id}/delete`.
#[utoipa::path(post, path = "/agents/keys/{id}/delete", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn delete_key(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    state.master().delete_key(KeyRef::Id(KeyId::new(id.into_inner())), &person.name).await?;
    Ok(go_to("/agents"))
}

/// `POST /agents/{id}/enroll`.
#[utoipa::path(post, path = "/agents/{id}/enroll", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409), (status = 502)), security(("session" = [])))]
pub async fn enroll(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<EnrollForm>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    state.master().enroll(&agent_id(&id)?, form.0.tunnel_name.trim(), &person.name).await?;
    Ok(go_to(&format!("/agents/{id}")))
}

/// `POST /agents/{id}/rename`.
#[utoipa::path(post, path = "/agents/{id}/rename", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn rename(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<RenameForm>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    state.master().rename(&agent_id(&id)?, form.0.display_name.trim(), &person.name).await?;
    Ok(go_to(&format!("/agents/{id}")))
}

/// `POST /agents/{id}/redeploy`.
#[utoipa::path(post, path = "/agents/{id}/redeploy", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn redeploy(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    let here = format!("/agents/{id}");
    if !form.0.is_given() {
        return confirm(&person, "Replace connector", REDEPLOY, format!("{here}/redeploy"), here);
    }
    state.master().redeploy(&agent_id(&id)?, &person.name).await?;
    Ok(go_to(&here))
}

/// `POST /agents/{id}/revoke`.
#[utoipa::path(post, path = "/agents/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn revoke(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let here = format!("/agents/{id}");
    if !form.0.is_given() {
        return confirm(&person, "Revoke key", REVOKE_KEY, format!("{here}/revoke"), here);
    }
    state.master().revoke(&agent_id(&id)?, &person.name).await?;
    Ok(go_to(&here))
}

/// `POST /agents/{id}/remove`.
#[utoipa::path(post, path = "/agents/{id}/remove", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn remove(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let here = format!("/agents/{id}");
    if !form.0.is_given() {
        return confirm(&person, "Remove agent", REMOVE, format!("{here}/remove"), here);
    }
    state.master().remove(&agent_id(&id)?, &person.name).await?;
    Ok(go_to("/agents"))
}

/// What revoking a key means.
pub const REVOKE_KEY: &str =
    "Revoke this key? Its agent is not heard any more until it has a new one. Tunnel and routes stay.";
/// What replacing the connector means.
pub const REDEPLOY: &str = "Replace the connector? Requests may fail for a moment.";
/// What removing an agent means.
pub const REMOVE: &str =
    "Remove this agent? Its tunnel is stopped, its routes are withdrawn and its key is revoked.";

fn confirm(
    person: &SignedIn,
    title: &'static str,
    question: &'static str,
    action: String,
    back: String,
) -> Result<HttpResponse, ApiError> {
    page(&ConfirmPage { shell: Shell::new(person, "/agents"), title, question, action, back })
}

fn key_line(key: &KeyRow, picture: &Picture) -> KeyLine {
    let is_active = key.status == KeyStatus::Active;
    let name = |id| picture.agent(id).map_or_else(|| id.to_string(), |agent| agent.display_name.clone());
    KeyLine {
        id: key.id.to_string(),
        owner: key.owner.clone(),
        agent: key.bound_agent_id.as_ref().map(name),
        agent_href: key.bound_agent_id.as_ref().map(|id| format!("/agents/{id}")).unwrap_or_default(),
        state: if is_active { badge("good", "active") } else { badge("idle", "revoked") },
        made: key.created_at.format("%Y-%m-%d %H:%M").to_string(),
        action: if is_active { "revoke" } else { "delete" },
        action_title: if is_active { "Revoke" } else { "Delete" },
        question: if is_active { REVOKE_KEY } else { "Delete this revoked key from the list?" },
    }
}
