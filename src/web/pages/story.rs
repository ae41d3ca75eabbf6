//! The whole story of one route: from who asks for it to what it waits for.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use utoipa::IntoParams;

use super::overview::fragment_of;
use super::view::{Badge, badge, route_badge, story_of};
use super::{Shell, SignedIn, page, part};
use crate::domain::publish::PublicState;
use crate::domain::route::RouteKey;
use crate::domain::story::{Asker, Section, Story};
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::rules::form_of;
use crate::web::state::WebState;
use crate::web::story;

/// Which route.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Which {
    /// Its hostname.
    pub hostname: String,
    /// Its path; left out for the whole host.
    pub path: String,
}

#[derive(Template)]
#[template(path = "story.html")]
struct StoryPage {
    shell: Shell,
    title: String,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "story_live.html")]
struct Live {
    stories: Vec<Told>,
}

/// A story on the page.
struct Told {
    /// Tells its headings from those of others on the page.
    mark: String,
    /// Whose it is; of one alone it is not said.
    whose: Option<String>,
    /// Where a rule of a person is changed.
    form: Option<String>,
    state: Badge,
    sections: Vec<Section>,
}

impl Which {
    fn key(&self) -> RouteKey {
        RouteKey { hostname: self.hostname.clone(), path: self.path.clone() }
    }
}

/// `GET /routes/of`: the whole story of one route.
#[utoipa::path(get, path = "/routes/of", tag = "pages", params(Which),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(which): Query<Which>,
) -> Result<HttpResponse, ApiError> {
    let key = which.key();
    let live = render(&state, &key).await?;
    let fragment = format!("/fragments{}", story_of(&key));
    page(&StoryPage { shell: Shell::new(&person, "/routes"), title: key.to_string(), fragment, live })
}

/// `GET /fragments/routes/of`: its live part.
#[utoipa::path(get, path = "/fragments/routes/of", tag = "pages", params(Which),
    responses((status = 200), (status = 404)), security(("session" = [])))]
pub async fn fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    Query(which): Query<Which>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state, &which.key()).await?))
}

async fn render(state: &WebState, key: &RouteKey) -> Result<String, ApiError> {
    let stories = story::tell_route(state, key).await?;
    let is_alone = stories.len() == 1;
    let told = stories.into_iter().enumerate().map(|(number, story)| told(number, story, key, is_alone));
    part(&Live { stories: told.collect() })
}

fn told(number: usize, story: Story, key: &RouteKey, is_alone: bool) -> Told {
    let state = match PublicState::parse(&story.state) {
        Some(state) => route_badge(state, story.serves),
        None => badge("idle", story.state.replace('_', " ")),
    };
    Told {
        mark: format!("story-{number}"),
        whose: (!is_alone).then(|| story.whose()),
        form: (story.source == Asker::Person).then(|| form_of(key)),
        state,
        sections: story.sections,
    }
}
