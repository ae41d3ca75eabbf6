//! The supervision tree as it is right now, and the accounts at registries.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;

use super::overview::fragment_of;
use super::posted::{Posted, Refusal};
use super::view::{Badge, Fact, Moment, badge, count, fact};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part, registries};
use crate::actors::supervision::{Info, Kind, State};
use crate::db::read;
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most rows on the page; the API has all.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    shell: Shell,
    live: String,
    registries: String,
    form: LoginForm,
}

#[derive(Template)]
#[template(path = "system_live.html")]
struct Live {
    lines: Vec<Line>,
    summary: String,
    facts: Vec<Fact>,
}

/// What a person writes into the form; the password is not shown again.
#[derive(Default, Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    registry: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretString,
}

struct Line {
    level: usize,
    name: String,
    path: String,
    kind: &'static str,
    state: Badge,
    restarts: String,
    load: String,
    handled: String,
    since: Option<Moment>,
    last_exit: String,
}

/// `GET /system`.
#[utoipa::path(get, path = "/system", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, "/system");
    show_with(&person, &state, (StatusCode::OK, shell), LoginForm::default()).await
}

/// `POST /registries/logins`: sets the account at a registry.
#[utoipa::path(post, path = "/registries/logins", tag = "pages",
    responses((status = 303), (status = 400), (status = 403)), security(("session" = [])))]
pub async fn set_login(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    form: Posted<LoginForm>,
) -> Result<HttpResponse, ApiError> {
    let LoginForm { registry, username, password } = form.0;
    match state.master().set_registry_login(&registry, &username, password, &person.name).await {
        Ok(()) => Ok(go_to("/system#registries")),
        Err(error) => {
            let refusal = Refusal::of(error)?.shell(&person, "/system");
            let form = LoginForm { registry, username, ..LoginForm::default() };
            show_with(&person, &state, refusal, form).await
        }
    }
}

/// Shows the page, with what was written into its form.
async fn show_with(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    form: LoginForm,
) -> Result<HttpResponse, ApiError> {
    let registries = registries::render(person, state).await?;
    page_with(status, &SystemPage { shell, live: render(state).await?, registries, form })
}

/// `GET /fragments/system`: its live part.
#[utoipa::path(get, path = "/fragments/system", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state).await?))
}

async fn render(state: &WebState) -> Result<String, ApiError> {
    let agents =
        read::list_agents(&state.master().db, None, ROWS as u64).await.map_err(ApiError::internal)?;
    let names: HashMap<&str, &str> =
        agents.iter().map(|agent| (agent.id.as_str(), agent.display_name.as_str())).collect();
    let mut tree = state.master().tree.snapshot();
    tree.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let running = tree.iter().filter(|info| info.state == State::Running).count();
    let summary = format!(
        "{} of {} running. Actors of an agent start with its first change and stop when it is quiet. \
         Waiting: messages in a mailbox, and how many it takes.",
        running,
        count(tree.len() as u64, "actor and supervisor is", "actors and supervisors are")
    );
    let facts = vec![
        fact("Version", env!("CARGO_PKG_VERSION")),
        fact("Registered agents", state.master().directory.len().to_string()),
        fact(
            "Cloudflare",
            if state.master().has_cloudflare() { "token set" } else { "no token: routes are planned only" },
        ),
        fact(
            "Pushes to registries",
            match state.settings().push_token.is_some() {
                true => "heard",
                false => "not heard: no registry.push_token is set",
            },
        ),
        fact(
            "Key of orders",
            state
                .master()
                .directory
                .order_key()
                .map_or_else(|| "none yet".into(), |offer| offer.key.fingerprint().to_string()),
        ),
        fact(
            "Reached at",
            state.settings().public_url.as_deref().unwrap_or(if state.settings().is_loopback {
                "this host only"
            } else {
                "any address"
            }),
        ),
    ];
    let now = state.master().clock.now();
    let lines = tree.iter().take(ROWS).map(|info| line(info, &names, now)).collect();
    part(&Live { lines, summary, facts })
}

fn line(info: &Info, agents: &HashMap<&str, &str>, now: DateTime<Utc>) -> Line {
    let own = info.path.rsplit('/').next().unwrap_or_default();
    let tone = match info.state {
        State::Running => "good",
        State::Starting | State::Stopping => "busy",
        State::Backoff => "warn",
        State::Stopped | State::Finished => "idle",
        State::LeftBehind => "bad",
    };
    let is_actor = info.kind == Kind::Actor;
    Line {
        level: info.path.matches('/').count().min(6),
        name: spoken(own, agents),
        path: info.path.clone(),
        kind: if is_actor { "actor" } else { "supervisor" },
        state: badge(tone, info.state.as_str().replace('_', " ")),
        restarts: info.restarts.to_string(),
        load: if is_actor { format!("{} / {}", info.depth, info.cap) } else { String::new() },
        handled: if is_actor { info.handled.to_string() } else { String::new() },
        since: Some(Moment::of(info.since, now)),
        last_exit: info.last_exit.clone().unwrap_or_default(),
    }
}

/// An agent's subtree is called by its id; people call it by its name. A bare number is a shard of the fleet.
fn spoken(own: &str, agents: &HashMap<&str, &str>) -> String {
    match agents.get(own) {
        Some(name) => format!("agent {name}"),
        None if own.bytes().all(|byte| byte.is_ascii_digit()) => format!("shard {own}"),
        None => own.to_owned(),
    }
}
