//! The agents of this master, and the form that adds a host.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::overview::{agent_lines, fragment_of};
use super::view::AgentLine;
use super::{Shell, SignedIn, keys, page, part};
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
}

#[derive(Template)]
#[template(path = "agents_live.html")]
struct Live {
    agents: Vec<AgentLine>,
}

/// `GET /agents`.
#[utoipa::path(get, path = "/agents", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn list(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    page(&AgentsPage {
        live: render(&state).await?,
        keys: keys::render(&person, &state).await?,
        loopback: state.settings().is_loopback,
        shell: Shell::new(&person, "/agents"),
    })
}

/// `GET /fragments/agents`: the list, which is live; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/agents", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state).await?))
}

async fn render(state: &WebState) -> Result<String, ApiError> {
    let picture = Picture::read(state).await?;
    part(&Live { agents: agent_lines(state, &picture) })
}
