//! What the database holds of one agent's containers and routes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::own::Own;
use crate::actors::master::error::MasterError;
use crate::db;
use crate::db::agents::Standing;
use crate::db::containers::ContainerProblem;
use crate::domain::container::Container;
use crate::domain::event::{AgentStream, Event, RouteEvent, Stream};
use crate::domain::guard;
use crate::domain::id::ContainerId;
use crate::domain::limits::Limits;
use crate::domain::mirror::{TURNS_WINDOW, follow, turn};
use crate::domain::publish::PublicState;
use crate::domain::route::{Route, RouteKey};

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
    /// When routes were withdrawn lately without an explanation, for the removal guard.
    pub released: Vec<DateTime<Utc>>,
    /// When routes were lost or carried by another container lately: a restless one is not to fill the record.
    pub turns: BTreeMap<RouteKey, Vec<DateTime<Utc>>>,
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
        let conflicts = statuses.into_iter().filter(|row| row.state == PublicState::Conflict.as_str());
        let mut picture = Self {
            standing,
            version,
            routes,
            containers: containers.collect(),
            conflicts: conflicts.map(|row| (row.key, row.reason.unwrap_or_default())).collect(),
            limits: db::agents::find_limits(db, &own.agent).await?,
            released: Vec::new(),
            turns: BTreeMap::new(),
        };
        let now = own.env.now();
        for row in db::events::list_stream_since(db, &stream, now - TURNS_WINDOW).await? {
            if let Event::Route(event) = &row.event {
                picture.note(event, row.at);
            }
        }
        picture.forget_what_is_past(now);
        Ok(picture)
    }

    /// True if the record went on since this was read.
    pub fn is_overtaken(&self, own: &Own) -> bool {
        own.slot().is_none_or(|slot| {
            slot.has_more(AgentStream::Standing, self.standing.version)
                || slot.has_more(AgentStream::Routes, self.version)
        })
    }

    /// Follows decisions that were committed at `now`.
    pub fn follow(&mut self, events: &[RouteEvent], now: DateTime<Utc>) {
        for event in events {
            follow(&mut self.routes, event);
            self.note(event, now);
        }
        self.forget_what_is_past(now);
    }

    /// Notes when what is limited was last done.
    fn note(&mut self, event: &RouteEvent, at: DateTime<Utc>) {
        match event {
            RouteEvent::Released { why, .. } if why.is_unexplained() => self.released.push(at),
            event => {
                if let Some(route) = turn(event) {
                    self.turns.entry(route.clone()).or_default().push(at);
                }
            }
        }
    }

    fn forget_what_is_past(&mut self, now: DateTime<Utc>) {
        self.released.retain(|at| (now - *at).abs() <= guard::WINDOW);
        for times in self.turns.values_mut() {
            times.retain(|at| (now - *at).abs() < TURNS_WINDOW);
        }
        self.turns.retain(|_, times| !times.is_empty());
    }
}
