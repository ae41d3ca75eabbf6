//! From the containers that run to the routes that are held: claims, changes, losses and returns.
//!
//! [`decide_routes`] compares what runs with what is held and says what was decided; it has no memory, so a
//! missed event heals with the next look, and asking twice decides nothing twice. Rules: a hostname belongs
//! to the agent that claimed it first; on one agent a route belongs to the container *name* that holds it, so
//! a container made anew keeps it; two new claims are settled by name.
//!
//! Clock jumps. `due_at` is wall time, so that it survives a restart. A clock that went back makes grace
//! periods that seem to end later than one period from now: these are shortened to one period
//! ([`RouteLost`](Event::RouteLost) again). A clock that leaps forward would end all of them at once: whoever
//! owns the timer notices the leap with [`LeapWatch`](super::leap::LeapWatch) and lets [`postpone`] move them by as much. A leap over
//! a restart cannot be noticed; then the removal guard is what is left.

mod apply;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::Event;
use super::id::{AgentId, ContainerId};
use super::labels::MAX_ROUTES;
use super::leap::{SMALL_STEP, after_leap};
use super::limits::{LimitedBy, Limits};
use super::route::{Route, RouteKey, RouteState, Service};

pub use super::leap::clock_leap;
pub use apply::apply;

/// Most routes that one agent holds, those of lost containers included: names that change with every report must not
/// pile up while their grace periods run.
pub const MAX_HELD: usize = 2 * MAX_ROUTES;

/// A container that runs, with what its labels ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The Engine's id.
    pub container_id: ContainerId,
    /// Its name.
    pub container_name: String,
    /// What it asks for; empty if it is not enabled.
    pub services: Vec<Service>,
}

/// Everything [`decide_routes`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Mirrored<'a> {
    /// Whose containers these are.
    pub agent_id: &'a AgentId,
    /// True once a person enrolled the agent; before that nothing is decided at all.
    pub enrolled: bool,
    /// All its containers that run, by the last listing that succeeded and the events since.
    pub running: &'a [Running],
    /// All routes it holds.
    pub routes: &'a [Route],
    /// Hostnames that other agents hold.
    pub others: &'a BTreeMap<String, AgentId>,
    /// Hostnames that the agent may claim. What it holds already stays until its container goes.
    pub limits: &'a Limits,
    /// Master time.
    pub now: DateTime<Utc>,
    /// How long a lost route stays.
    pub grace: TimeDelta,
}

/// Why a container does not get a route that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConflictReason {
    /// Another agent was first.
    #[error(
        "`{hostname}` belongs to agent `{by}`, which claimed it first; remove it there, or choose another name"
    )]
    HeldByAgent {
        /// The name.
        hostname: String,
        /// Who holds it.
        by: AgentId,
    },
    /// Another container of the same agent has it.
    #[error(
        "container `{by}` on the same host publishes this route already; give one of them another hostname or path"
    )]
    HeldByContainer {
        /// Which container.
        by: String,
    },
    /// It holds as many as it may.
    #[error(
        "this agent holds {MAX_HELD} routes, those of lost containers included, and one agent may hold no more; it gets \
         this one when some of them are withdrawn"
    )]
    TooMany,
    /// The agent or its key is limited to other names.
    #[error("{by} may only publish names like {}; change its patterns, or the label", .patterns.join(", "))]
    NotAllowed {
        /// Whose patterns forbid it.
        by: LimitedBy,
        /// The patterns.
        patterns: Vec<String>,
    },
}

/// A route that is asked for and not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The container that asks.
    pub container_id: ContainerId,
    /// Its name.
    pub container_name: String,
    /// What it asks for.
    pub wanted: Service,
    /// Why it does not get it.
    pub reason: ConflictReason,
}

/// What [`decide_routes`] decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// Events for the agent's stream of routes, in order.
    pub events: Vec<Event>,
    /// What is shown beside it.
    pub conflicts: Vec<Conflict>,
}

/// Decides what becomes of an agent's routes. Events applied, the next call decides nothing.
pub fn decide_routes(seen: &Mirrored<'_>) -> Decided {
    let mut decided = Decided::default();
    if !seen.enrolled {
        return decided;
    }
    let held: BTreeMap<&RouteKey, &Route> = seen.routes.iter().map(|r| (&r.spec.key, r)).collect();
    let wanted = candidates(seen.running);
    let mut room = MAX_HELD.saturating_sub(held.len());
    for (key, candidates) in &wanted {
        let holder = match held.get(key) {
            Some(route) => {
                let holder = pick_holder(route, candidates);
                keep(seen, route, holder, &mut decided.events);
                holder
            }
            None => match refuse(seen, key).or((room == 0).then_some(ConflictReason::TooMany)) {
                Some(reason) => {
                    decided.conflicts.extend(candidates.iter().map(|c| c.conflict(reason.clone())));
                    continue;
                }
                None => {
                    room -= 1;
                    decided.events.push(candidates[0].claimed(seen.agent_id));
                    candidates[0]
                }
            },
        };
        let by = holder.running.container_name.clone();
        let losers = candidates.iter().filter(|c| !std::ptr::eq(c.running, holder.running));
        decided
            .conflicts
            .extend(losers.map(|c| c.conflict(ConflictReason::HeldByContainer { by: by.clone() })));
    }
    for route in seen.routes.iter().filter(|route| !wanted.contains_key(&route.spec.key)) {
        decided.events.extend(lose(seen, route));
    }
    decided
}

/// A container together with one service that it asks for.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    running: &'a Running,
    service: &'a Service,
}

impl Candidate<'_> {
    fn conflict(&self, reason: ConflictReason) -> Conflict {
        Conflict {
            container_id: self.running.container_id.clone(),
            container_name: self.running.container_name.clone(),
            wanted: self.service.clone(),
            reason,
        }
    }

    fn claimed(&self, agent_id: &AgentId) -> Event {
        Event::RouteClaimed {
            agent_id: agent_id.clone(),
            container_id: self.running.container_id.clone(),
            container_name: self.running.container_name.clone(),
            service: self.service.clone(),
        }
    }

    fn carries(&self, route: &Route) -> bool {
        route.container_id == self.running.container_id
            && route.container_name == self.running.container_name
            && route.spec == *self.service
    }
}

/// Lists for each key the containers that ask for it, by name; of one container the first service counts.
fn candidates(running: &[Running]) -> BTreeMap<&RouteKey, Vec<Candidate<'_>>> {
    let mut sorted: Vec<&Running> = running.iter().collect();
    sorted.sort_by(|a, b| (&a.container_name, &a.container_id).cmp(&(&b.container_name, &b.container_id)));
    let mut wanted: BTreeMap<&RouteKey, Vec<Candidate<'_>>> = BTreeMap::new();
    for running in sorted {
        let mut seen = BTreeSet::new();
        for service in running.services.iter().filter(|service| seen.insert(&service.key)) {
            wanted.entry(&service.key).or_default().push(Candidate { running, service });
        }
    }
    wanted
}

/// The one that holds it keeps it: by id, else by name (made anew), else the first by name.
fn pick_holder<'a>(route: &Route, candidates: &[Candidate<'a>]) -> Candidate<'a> {
    let same_id = candidates.iter().find(|c| c.running.container_id == route.container_id);
    let same_name = || candidates.iter().find(|c| c.running.container_name == route.container_name);
    *same_id.or_else(same_name).unwrap_or(&candidates[0])
}

fn keep(seen: &Mirrored<'_>, route: &Route, holder: Candidate<'_>, events: &mut Vec<Event>) {
    if route.state != RouteState::Active {
        events.push(Event::RouteRestored {
            agent_id: seen.agent_id.clone(),
            route: route.spec.key.clone(),
            container_id: holder.running.container_id.clone(),
        });
        let only_id = Route { container_id: holder.running.container_id.clone(), ..route.clone() };
        if holder.carries(&only_id) {
            return;
        }
    }
    if !holder.carries(route) {
        events.push(Event::RouteChanged {
            agent_id: seen.agent_id.clone(),
            container_id: holder.running.container_id.clone(),
            container_name: holder.running.container_name.clone(),
            service: holder.service.clone(),
        });
    }
}

fn refuse(seen: &Mirrored<'_>, key: &RouteKey) -> Option<ConflictReason> {
    if let Some(by) = seen.others.get(&key.hostname) {
        return Some(ConflictReason::HeldByAgent { hostname: key.hostname.clone(), by: by.clone() });
    }
    let (by, patterns) = seen.limits.forbid(&key.hostname)?;
    Some(ConflictReason::NotAllowed { by, patterns: patterns.to_vec() })
}

fn lose(seen: &Mirrored<'_>, route: &Route) -> Option<Event> {
    let latest = seen.now + seen.grace;
    let is_lost = match route.state {
        RouteState::Active => true,
        // A grace period that seems to end later than a whole one from now: the clock went back.
        RouteState::PendingDeletion { due_at, held } => !held && due_at > latest + SMALL_STEP,
    };
    is_lost.then(|| Event::RouteLost {
        agent_id: seen.agent_id.clone(),
        route: route.spec.key.clone(),
        due_at: latest,
    })
}

/// Moves all running grace periods by a leap of the clock, so that each lasts as long as it should.
pub fn postpone(
    agent_id: &AgentId,
    routes: &[Route],
    leap: TimeDelta,
    now: DateTime<Utc>,
    grace: Duration,
) -> Vec<Event> {
    let pending = routes.iter().filter_map(|route| match route.state {
        RouteState::PendingDeletion { due_at, held: false } => Some((route, due_at)),
        _ => None,
    });
    let moved = pending.map(|(route, due_at)| (route, due_at, after_leap(due_at, leap, now, grace)));
    moved
        .filter(|(_, before, after)| before != after)
        .map(|(route, _, due_at)| Event::RouteLost {
            agent_id: agent_id.clone(),
            route: route.spec.key.clone(),
            due_at,
        })
        .collect()
}
