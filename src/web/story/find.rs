//! Which routes and containers a name means.

use std::collections::BTreeSet;

use crate::db::read::{
    self, ContainerRow, containers_called, routes_of_container, routes_of_hostname, rules_of_names,
    statuses_of_hostname,
};
use crate::domain::hostname::is_wildcard;
use crate::domain::id::AgentId;
use crate::domain::labels::{MAX_PROBLEMS, read_labels};
use crate::domain::path::path_that_takes;
use crate::domain::route::RouteKey;
use crate::domain::story::Asked;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most stories of one name.
const MOST: usize = 40;

/// Whose a route is, or who wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A person made a rule.
    Person,
    /// A container of this agent asks for it.
    Agent(AgentId),
}

/// What one story is about.
pub(super) struct Subject {
    pub owner: Owner,
    pub key: Option<RouteKey>,
    pub container: Option<ContainerRow>,
}

/// Finds what a name means: the container of this name or id, else the hostname, else a wildcard that covers it.
pub(super) async fn of_name(state: &WebState, asked: &Asked) -> Result<Vec<Subject>, ApiError> {
    let mut found = of_container(state, &asked.text).await?;
    if found.is_empty() && asked.is_hostname() {
        found = of_hostname(state, &asked.hostname, asked.path.as_deref()).await?;
        let mut parent = asked.hostname.as_str();
        while found.is_empty()
            && !is_wildcard(&asked.hostname)
            && let Some((_, rest)) = parent.split_once('.')
        {
            found = of_hostname(state, &format!("*.{rest}"), asked.path.as_deref()).await?;
            parent = rest;
        }
    }
    found.truncate(MOST);
    Ok(found)
}

/// Finds who has or wants exactly this route.
pub(super) async fn of_route(state: &WebState, key: &RouteKey) -> Result<Vec<Subject>, ApiError> {
    let mut found = all_of_hostname(state, &key.hostname).await?;
    found.retain(|subject| subject.key.as_ref() == Some(key));
    Ok(found)
}

/// A path that nobody has is served by the route that takes it.
async fn of_hostname(state: &WebState, hostname: &str, path: Option<&str>) -> Result<Vec<Subject>, ApiError> {
    let mut found = all_of_hostname(state, hostname).await?;
    let Some(path) = path else { return Ok(found) };
    let kept = found.iter().filter_map(|subject| subject.key.as_ref()).map(|key| key.path.as_str());
    let taken = path_that_takes(kept, path).map(str::to_owned);
    found.retain(|subject| subject.key.as_ref().map(|key| &key.path) == taken.as_ref());
    Ok(found)
}

/// Rules of people, claimed routes, then what was refused; each one's route once.
async fn all_of_hostname(state: &WebState, hostname: &str) -> Result<Vec<Subject>, ApiError> {
    let db = &state.master().db;
    let name = [hostname.to_owned()];
    let rules = rules_of_names(db, &name).await.map_err(ApiError::internal)?;
    let claimed = routes_of_hostname(db, hostname).await.map_err(ApiError::internal)?;
    let said = statuses_of_hostname(db, hostname).await.map_err(ApiError::internal)?;
    let rules = rules.into_iter().map(|row| (Owner::Person, row.rule.spec.key));
    let claimed = claimed.into_iter().map(|row| (Owner::Agent(row.route.agent_id), row.route.spec.key));
    let said = said.into_iter().filter_map(|row| Some((Owner::Agent(row.agent_id?), row.key)));
    let mut seen = BTreeSet::new();
    let fresh = rules.chain(claimed).chain(said).filter(|one| seen.insert(one.clone()));
    Ok(fresh.map(|(owner, key)| Subject { owner, key: Some(key), container: None }).collect())
}

/// What the containers of this name ask for, and what those asked for that are gone.
async fn of_container(state: &WebState, name: &str) -> Result<Vec<Subject>, ApiError> {
    let db = &state.master().db;
    let containers = containers_called(db, name, MOST as u64).await.map_err(ApiError::internal)?;
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for row in containers {
        let prefix = state.settings().label_prefix.as_deref();
        let read = read_labels(&row.container.labels, prefix, MAX_PROBLEMS);
        let owner = Owner::Agent(row.agent_id.clone());
        if read.services.is_empty() {
            found.push(Subject { owner, key: None, container: Some(row) });
            continue;
        }
        for service in read.services {
            seen.insert((owner.clone(), service.key.clone()));
            found.push(Subject {
                owner: owner.clone(),
                key: Some(service.key),
                container: Some(row.clone()),
            });
        }
    }
    let held = routes_of_container(db, name, MOST as u64).await.map_err(ApiError::internal)?;
    for row in held {
        let (owner, key) = (Owner::Agent(row.route.agent_id), row.route.spec.key);
        if !seen.contains(&(owner.clone(), key.clone())) {
            found.push(Subject { owner, key: Some(key), container: None });
        }
    }
    Ok(found)
}

/// Finds the container behind a route that is not held: the one whose labels ask for it.
pub(super) async fn asker(
    state: &WebState,
    agent: &AgentId,
    key: &RouteKey,
) -> Result<Option<ContainerRow>, ApiError> {
    let db = &state.master().db;
    let asks = read::askers_of(db, agent, key).await.map_err(ApiError::internal)?;
    match asks.first() {
        Some(id) => read::get_container(db, agent, id).await.map_err(ApiError::internal),
        None => Ok(None),
    }
}
