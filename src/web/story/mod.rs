//! Tells the whole story of a name, from what is written down here and what is in memory: nobody else is asked.
//!
//! Each section is a file. What stands before the protection of a route is told in `protection`.

mod changed;
mod claim;
mod container;
mod find;
mod made;
mod protection;
mod record;
mod rule;
mod said;
mod scene;
mod times;

use super::error::ApiError;
use super::state::WebState;
use crate::db::read;
use crate::domain::route::RouteKey;
use crate::domain::story::{Asked, Section, Story, nearest};
use crate::domain::text::repeated;

use find::{Owner, Subject, of_name, of_route};
use scene::{Scene, Teller};

/// Most names that are compared with one that nobody knows.
const COMPARED: u64 = 10_000;

/// Tells the stories of a container, a hostname, or a hostname with a path; fails with the nearest known names if there is
/// none.
pub async fn tell(state: &WebState, asked: &Asked) -> Result<Vec<Story>, ApiError> {
    let subjects = of_name(state, asked).await?;
    if subjects.is_empty() {
        return Err(unknown(state, asked).await?);
    }
    told(state, subjects).await
}

/// Tells the stories of a route, of everybody who has or wants it.
pub async fn tell_route(state: &WebState, key: &RouteKey) -> Result<Vec<Story>, ApiError> {
    let subjects = of_route(state, key).await?;
    if subjects.is_empty() {
        let asked =
            Asked { text: key.to_string(), hostname: key.hostname.clone(), path: Some(key.path.clone()) };
        return Err(unknown(state, &asked).await?);
    }
    told(state, subjects).await
}

async fn told(state: &WebState, subjects: Vec<Subject>) -> Result<Vec<Story>, ApiError> {
    let mut teller = Teller::new(state);
    let mut stories = Vec::new();
    for subject in subjects {
        let scene = teller.scene(subject).await?;
        stories.push(story(state, &scene).await?);
    }
    Ok(stories)
}

async fn story(state: &WebState, scene: &Scene) -> Result<Story, ApiError> {
    let mut sections: Vec<Section> = match (&scene.owner, &scene.rule) {
        (Owner::Agent(_), _) => vec![container::section(state, scene), container::labels(state, scene)],
        (Owner::Person, Some(rule)) => vec![made::section(scene, rule)],
        (Owner::Person, None) => Vec::new(),
    };
    if let Some(key) = &scene.key {
        sections.push(claim::section(scene, key));
        sections.push(rule::section(scene));
        sections.push(protection::section(state, scene, key));
        sections.push(record::section(state, scene, key).await?);
        sections.extend(changed::section(state, scene, key).await?);
        sections.push(said::last_answer(scene));
    }
    sections.push(said::waits(state, scene));
    Ok(Story {
        route: scene.key.as_ref().map(ToString::to_string),
        source: said::asker(scene),
        agent: scene.agent_name().map(str::to_owned),
        tunnel: scene.rule.as_ref().map(|rule| rule.tunnel_name().to_owned()),
        container: scene.container_name().map(str::to_owned),
        state: scene.state().map_or("not_asked", |state| state.as_str()).to_owned(),
        serves: scene.reach(),
        sections,
    })
}

/// Says that nobody knows the name, and which ones are like it.
async fn unknown(state: &WebState, asked: &Asked) -> Result<ApiError, ApiError> {
    let known = read::known_names(&state.master().db, COMPARED).await.map_err(ApiError::internal)?;
    let mut near = nearest(&asked.hostname, &known);
    if near.is_empty() {
        near = nearest(&asked.text, &known);
    }
    let name = repeated(&asked.text);
    let near: Vec<String> = near.iter().map(|name| format!("`{}`", repeated(name))).collect();
    let hint = match near.is_empty() {
        false => format!("the nearest known names are {}", near.join(", ")),
        true => "agents tell of containers that run and have labels of ours, and people make rules; `lightship routes` lists what \
                 these ask for, and `lightship agents` who tells"
            .to_owned(),
    };
    Ok(ApiError::Missing(format!("no container, no route and no rule is called `{name}`: {hint}")))
}
