//! What the database holds of one agent's containers and routes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Own;
use crate::actors::master::error::MasterError;
use crate::db;
use crate::db::agents::Standing;
use crate::db::containers::ContainerProblem;
use crate::domain::container::Container;
use crate::domain::event::{Event, Stream};
use crate::domain::guard;
use crate::domain::id::ContainerId;
use crate::domain::limits::Limits;
use crate::domain::mirror::apply;
use crate::domain::publish::PublicState;
use crate::domain::route::{Route, RouteKey};

/// Word of a route that is asked for and not given; its row is ours, not the publisher's.
pub const CONFLICT: &str = PublicState::Conflict.as_str();

/// A cache: read again whenever it may be wrong.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Where the agent stands.
    pub standing: Standing,
    /// Version of the agent's stream of routes.
    pub version: u64,
    /// Routes that it holds.
    pub routes: Vec<Route>,
    /// Containers that run.
    pub containers: BTreeMap<ContainerId, Seen>,
    /// Routes that it asks for and does not get, with the reason.
    pub conflicts: BTreeMap<RouteKey, String>,
    /// Hostnames that it may claim.
    pub limits: Limits,
    /// When routes were withdrawn lately, for the removal guard.
    pub released: Vec<DateTime<Utc>>,
}

/// A container with what is shown of its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The container.
    pub container: Container,
    /// What is wrong with its labels.
    pub problems: Vec<ContainerProblem>,
}

impl Picture {
    /// Reads it.
    pub async fn read(own: &Own) -> Result<Self, MasterError> {
        let db = &own.env.db;
        let standing = db::agents::find_standing(db, &own.agent).await?;
        let stream = Stream::routes(&own.agent);
        // The version first: what is written after it shows as a conflict.
        let version = db::events::stream_version(db, &stream).await?;
        let routes = db::routes::list_agent_routes(db, &own.agent).await?;
        let mut problems: BTreeMap<ContainerId, Vec<ContainerProblem>> = BTreeMap::new();
        for row in db::containers::list_container_problems(db, Some(&own.agent), db::ALL).await? {
            problems.entry(row.container_id).or_default().push(row.problem);
        }
        let containers = db::containers::list_containers(db, &own.agent).await?;
        let containers = containers.into_iter().map(|row| {
            let problems = problems.remove(&row.container.id).unwrap_or_default();
            (row.container.id.clone(), Seen { container: row.container, problems })
        });
        let statuses = db::cloudflare::list_route_status(db, Some(&own.agent), db::ALL).await?;
        let conflicts = statuses.into_iter().filter(|row| row.state == CONFLICT);
        let recent = db::events::list_stream_since(db, &stream, own.env.now() - guard::WINDOW).await?;
        let released = recent.into_iter().filter(|row| is_release(&row.event)).map(|row| row.at);
        Ok(Self {
            standing,
            version,
            routes,
            containers: containers.collect(),
            conflicts: conflicts.map(|row| (row.key, row.reason.unwrap_or_default())).collect(),
            limits: db::agents::find_limits(db, &own.agent).await?,
            released: released.collect(),
        })
    }

    /// Carries decisions out that were committed at `now`; returns the hostnames that are free by them.
    pub fn apply(&mut self, events: &[Event], now: DateTime<Utc>) -> Vec<String> {
        let mut freed = Vec::new();
        for event in events {
            apply(&mut self.routes, event);
            if let Event::RouteReleased { route, .. } = event {
                self.released.push(now);
                freed.push(route.hostname.clone());
            }
        }
        self.released.retain(|at| (now - *at).abs() <= guard::WINDOW);
        freed
    }
}

fn is_release(event: &Event) -> bool {
    matches!(event, Event::RouteReleased { .. })
}
