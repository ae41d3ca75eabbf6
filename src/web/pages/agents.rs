//! The agents of this master, and the form that adds a host.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;

use super::keys::{self, KeyForm};
use super::overview::{agent_lines, fragment_of};
use super::posted::Refusal;
use super::view::AgentLine;
use super::{Shell, SignedIn, page_with, part};
use crate::web::error::ApiError;
use crate::web::picture::Picture;
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    shell: Shell,
    live: String,
    keys: String,
    loopback: bool,
    form: KeyForm,
}

#[derive(Template)]
#[template(path = "agents_live.html")]
struct Live {
    agents: Vec<AgentLine>,
}

/// `GET /agents`.
#[utoipa::path(get, path = "/agents", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn list(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, "/agents");
    show(&person, &state, (StatusCode::OK, shell), KeyForm::default()).await
}

/// Shows the page again, with why no key was made and what was written.
pub async fn show_refused(
    person: &SignedIn,
    state: &WebState,
    refusal: Refusal,
    form: KeyForm,
) -> Result<HttpResponse, ApiError> {
    show(person, state, refusal.shell(person, "/agents"), form).await
}

async fn show(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    form: KeyForm,
) -> Result<HttpResponse, ApiError> {
    let (live, keys) = (render(state).await?, keys::render(person, state).await?);
    let loopback = state.settings().is_loopback;
    page_with(status, &AgentsPage { shell, live, keys, loopback, form })
}

/// `GET /fragments/agents`: the list, which is live; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/agents", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state).await?))
}

async fn render(state: &WebState) -> Result<String, ApiError> {
    let all = state.clone();
    state.listings().make(async move { live(&all).await }).await
}

async fn live(state: &WebState) -> Result<String, ApiError> {
    let picture = Picture::read(state).await?;
    part(&Live { agents: agent_lines(state, &picture) })
}
