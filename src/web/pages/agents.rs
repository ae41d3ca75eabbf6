//! The agents of this master, and the form that adds a host.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::filter::{Filter, Gathering, Shown, Wanted};
use super::keys;
use super::overview::{agent_line, fragment_of};
use super::posted::{Posted, Refusal};
use super::view::{AgentLine, agent_words};
use super::{Allowed, Shell, SignedIn, page_with, part};
use crate::db::read::agent_views;
use crate::web::auth::Admin;
use crate::web::body::Patterns;
use crate::web::error::ApiError;
use crate::web::listings::next;
use crate::web::picture::ROWS;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Where the page is, and where its live part.
const PLACES: (&str, &str) = ("/agents", "/fragments/agents");

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    shell: Shell,
    filter: Option<Filter>,
    fragment: String,
    live: String,
    keys: String,
    loopback: bool,
    form: KeyForm,
}

#[derive(Template)]
#[template(path = "agents_live.html")]
struct Live {
    agents: Shown<AgentLine>,
}

/// Whom a key is for, and which hostnames its agent may publish, with commas between them; none: any.
#[derive(Default, Deserialize)]
pub struct KeyForm {
    #[serde(default)]
    owner: String,
    #[serde(default)]
    hostname_patterns: String,
}

/// `GET /agents`.
#[utoipa::path(get, path = "/agents", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn list(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACES.0);
    show(&person, &state, (StatusCode::OK, shell), wanted, KeyForm::default()).await
}

/// `POST /agents/keys`: makes a key and shows it, once, with what to do with it.
#[utoipa::path(post, path = "/agents/keys", tag = "pages", responses((status = 200), (status = 400), (status = 403)),
    security(("session" = [])))]
pub async fn make(
    Allowed(person, _): Allowed<Admin>,
    req: HttpRequest,
    state: web::Data<WebState>,
    form: Posted<KeyForm>,
) -> Result<HttpResponse, ApiError> {
    let owner: String = form.0.owner.trim().chars().take(100).collect();
    let patterns = Patterns::Text(form.0.hostname_patterns.clone()).list();
    let key = match state.master().generate_limited_key(&owner, patterns, &person.name).await {
        Ok(key) => key,
        Err(error) => return show_refused(&person, &state, Refusal::of(error)?, form.0).await,
    };
    let heading =
        if owner.is_empty() { "A key for another host".to_owned() } else { format!("A key for {owner}") };
    keys::show_once(&person, &req, &state, heading, key)
}

/// Shows the page again, with why no key was made and what was written.
async fn show_refused(
    person: &SignedIn,
    state: &WebState,
    refusal: Refusal,
    form: KeyForm,
) -> Result<HttpResponse, ApiError> {
    show(person, state, refusal.shell(person, PLACES.0), Wanted::default(), form).await
}

async fn show(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    wanted: Wanted,
    form: KeyForm,
) -> Result<HttpResponse, ApiError> {
    let fragment = wanted.at(PLACES.1);
    let (live, total) = render(state, wanted.clone()).await?;
    let filter = wanted.filter(PLACES.0, "name or tunnel", agent_words(), total);
    let keys = keys::render(person, state).await?;
    let loopback = state.settings().is_loopback;
    page_with(status, &AgentsPage { shell, filter, fragment, live, keys, loopback, form })
}

/// `GET /fragments/agents`: the list, which is live; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/agents", tag = "pages", params(Wanted), responses((status = 200)),
    security(("session" = [])))]
pub async fn fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state, wanted).await?.0))
}

/// Returns the live part, and how many agents there are.
async fn render(state: &WebState, wanted: Wanted) -> Result<(String, usize), ApiError> {
    let all = state.clone();
    let live = async move {
        let (mut lines, mut after) = (Gathering::new(wanted, AgentLine::place), None);
        loop {
            let found = agent_views(&all.master().db, after.as_ref(), ROWS).await;
            let views = found.map_err(ApiError::internal)?;
            views.iter().for_each(|view| lines.add(agent_line(&all, view)));
            after = next(&views, ROWS, |view| view.agent.id.clone());
            if after.is_none() {
                break;
            }
        }
        let total = lines.total();
        Ok((part(&Live { agents: lines.page(PLACES.0) })?, total))
    };
    state.listings().make(live).await
}
