//! From the containers that run to the routes that are held: claims, changes, losses and returns.
//!
//! [`decide_routes`] compares what runs with what is held and says what was decided; it has no memory, so a
//! missed event heals with the next look, and asking twice decides nothing twice. Rules: a hostname belongs
//! to the agent that claimed it first; on one agent a route belongs to the container *name* that holds it, so
//! a container made anew keeps it; two new claims are settled by name, and copies of one service share a route.
//!
//! A name that a person made a rule for is no agent's until that rule goes.
//!
//! First come protects a name for as long as somebody there asks for it. Once nobody does, another agent that asks gets
//! it after [`MOVES_AFTER`], so that a container which is only started anew does not lose its name to a spare one.
//!
//! A route whose container goes and comes all night is *restless*: after [`MOST_TURNS`] turns within [`TURNS_WINDOW`]
//! it counts as lost only once the container stayed away for [`AWAY`]. Events are kept for good.
//!
//! Clock jumps. `due_at` is wall time, so that it survives a restart. A clock that went back makes grace
//! periods that seem to end later than one period from now: these are shortened to one period
//! ([`RouteLost`](RouteEvent::Lost) again). A clock that leaps forward would end all of them at once: whoever
//! owns the timer notices the leap with [`LeapWatch`](super::leap::LeapWatch) and lets [`postpone`] move them by as much. A leap over
//! a restart cannot be noticed; then the removal guard is what is left.

mod follow;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::RouteEvent;
use super::id::{AgentId, ContainerId};
use super::labels::MAX_ROUTES;
use super::leap::{SMALL_STEP, after_leap};
use super::limits::{LimitedBy, Limits};
use super::route::{Route, RouteKey, RouteState, Service};

pub use follow::{after, follow, turn};

/// Most routes that one agent holds, those of lost containers included: names that change with every report must not
/// pile up while their grace periods run.
pub const MAX_HELD: usize = 2 * MAX_ROUTES;

/// A name is given up once nobody has asked for it for so long: more than a container takes to start anew.
pub const MOVES_AFTER: TimeDelta = TimeDelta::seconds(5);
/// So many losses, or changes of the container that carries it, of one route are written down within
/// [`TURNS_WINDOW`].
pub const MOST_TURNS: usize = 10;
/// See [`MOST_TURNS`].
pub const TURNS_WINDOW: TimeDelta = TimeDelta::hours(1);
/// A restless route is lost once its container stayed away for so long: longer than the Engine waits between two
/// tries to start it.
pub const AWAY: TimeDelta = TimeDelta::seconds(120);

/// Whose a hostname is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who claimed it.
    pub agent: AgentId,
    /// Since when nobody there asks for it; `None` while somebody does.
    pub given_up_at: Option<DateTime<Utc>>,
}

/// A restless route whose container is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// Since when.
    pub since: DateTime<Utc>,
    /// True if the Engine said itself that the container ended.
    pub explained: bool,
}

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
    /// Containers that the Engine said have ended, with the names they had.
    pub ended: &'a BTreeMap<ContainerId, String>,
    /// Hostnames that other agents hold.
    pub others: &'a BTreeMap<String, Holder>,
    /// Hostnames that rules of people have.
    pub ruled: &'a BTreeSet<String>,
    /// When routes were lost or carried by another container, within [`TURNS_WINDOW`].
    pub turns: &'a BTreeMap<RouteKey, Vec<DateTime<Utc>>>,
    /// Restless routes whose container is away.
    pub away: &'a BTreeMap<RouteKey, Away>,
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
    /// A person made a rule for it.
    #[error(
        "`{hostname}` has a rule that a person made; remove that (`lightship rules`), or choose another name"
    )]
    HeldByRule {
        /// The name.
        hostname: String,
    },
    /// Another agent had it and does not ask for it any more.
    #[error(
        "`{hostname}` moves here in a moment: nobody asks for it any more on agent `{by}`, which has it still"
    )]
    Moving {
        /// The name.
        hostname: String,
        /// Who has it still.
        by: AgentId,
        /// When it moves.
        at: DateTime<Utc>,
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
    pub events: Vec<RouteEvent>,
    /// What is shown beside it.
    pub conflicts: Vec<Conflict>,
    /// Names that other agents gave up and that are claimed with these events: all that those hold of them is to be
    /// released before.
    pub taken: BTreeMap<String, AgentId>,
    /// Restless routes whose container is away.
    pub away: BTreeMap<RouteKey, Away>,
    /// When to look again although nothing was heard.
    pub look_again: Option<DateTime<Utc>>,
}

impl Decided {
    fn look_at(&mut self, at: DateTime<Utc>) {
        self.look_again = Some(self.look_again.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Decides what becomes of an agent's routes. Once its events are followed, the next call decides nothing.
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
                    if let ConflictReason::Moving { at, .. } = reason {
                        decided.look_at(at);
                    }
                    decided.conflicts.extend(candidates.iter().map(|c| c.conflict(reason.clone())));
                    continue;
                }
                None => {
                    room -= 1;
                    if let Some(holder) = seen.others.get(&key.hostname) {
                        decided.taken.insert(key.hostname.clone(), holder.agent.clone());
                    }
                    decided.events.push(candidates[0].claimed(seen.agent_id));
                    candidates[0]
                }
            },
        };
        let by = holder.running.container_name.clone();
        // A copy that asks for the very same is served by the same route.
        let losers = candidates
            .iter()
            .filter(|c| !std::ptr::eq(c.running, holder.running) && c.service != holder.service);
        decided
            .conflicts
            .extend(losers.map(|c| c.conflict(ConflictReason::HeldByContainer { by: by.clone() })));
    }
    for route in seen.routes.iter().filter(|route| !wanted.contains_key(&route.spec.key)) {
        lose(seen, route, &mut decided);
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

    fn claimed(&self, agent_id: &AgentId) -> RouteEvent {
        RouteEvent::Claimed {
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

/// The one that holds it keeps it: by id, else by name (made anew), else a copy that asks for the same, else the first
/// by name.
fn pick_holder<'a>(route: &Route, candidates: &[Candidate<'a>]) -> Candidate<'a> {
    let same_id = candidates.iter().find(|c| c.running.container_id == route.container_id);
    let same_name = || candidates.iter().find(|c| c.running.container_name == route.container_name);
    let same_service = || candidates.iter().find(|c| *c.service == route.spec);
    *same_id.or_else(same_name).or_else(same_service).unwrap_or(&candidates[0])
}

fn keep(seen: &Mirrored<'_>, route: &Route, holder: Candidate<'_>, events: &mut Vec<RouteEvent>) {
    if route.state != RouteState::Active {
        events.push(RouteEvent::Restored {
            agent_id: seen.agent_id.clone(),
            route: route.spec.key.clone(),
            container_id: holder.running.container_id.clone(),
        });
        let only_id = Route { container_id: holder.running.container_id.clone(), ..route.clone() };
        if holder.carries(&only_id) {
            return;
        }
    }
    // Who of several copies carries it, and under which id, is not worth an event each time.
    let is_only_a_turn = *holder.service == route.spec && is_restless(seen, route);
    if !holder.carries(route) && !is_only_a_turn {
        events.push(RouteEvent::Changed {
            agent_id: seen.agent_id.clone(),
            container_id: holder.running.container_id.clone(),
            container_name: holder.running.container_name.clone(),
            service: holder.service.clone(),
        });
    }
}

fn refuse(seen: &Mirrored<'_>, key: &RouteKey) -> Option<ConflictReason> {
    if seen.ruled.contains(&key.hostname) {
        return Some(ConflictReason::HeldByRule { hostname: key.hostname.clone() });
    }
    let forbidden = seen.limits.forbid(&key.hostname);
    if let Some(holder) = seen.others.get(&key.hostname) {
        let (hostname, by) = (key.hostname.clone(), holder.agent.clone());
        match moves_at(holder) {
            None => return Some(ConflictReason::HeldByAgent { hostname, by }),
            Some(at) if seen.now < at && forbidden.is_none() => {
                return Some(ConflictReason::Moving { hostname, by, at });
            }
            Some(_) => {}
        }
    }
    let (by, patterns) = forbidden?;
    Some(ConflictReason::NotAllowed { by, patterns: patterns.to_vec() })
}

/// Returns from when on a name may be taken over.
fn moves_at(holder: &Holder) -> Option<DateTime<Utc>> {
    holder.given_up_at.map(|since| since + MOVES_AFTER)
}

fn is_restless(seen: &Mirrored<'_>, route: &Route) -> bool {
    seen.turns.get(&route.spec.key).is_some_and(|turns| turns.len() >= MOST_TURNS)
}

fn lose(seen: &Mirrored<'_>, route: &Route, decided: &mut Decided) {
    let key = &route.spec.key;
    let latest = seen.now + seen.grace;
    let has_ended = seen.ended.contains_key(&route.container_id)
        || seen.ended.values().any(|name| *name == route.container_name);
    let (due_at, explained) = match route.state {
        RouteState::Active if is_restless(seen, route) => {
            let before = seen.away.get(key).filter(|away| away.since <= seen.now);
            let since = before.map_or(seen.now, |away| away.since);
            let explained = has_ended || before.is_some_and(|away| away.explained);
            if seen.now < since + AWAY {
                decided.away.insert(key.clone(), Away { since, explained });
                decided.look_at(since + AWAY);
                return;
            }
            (latest, explained)
        }
        RouteState::Active => (latest, has_ended),
        RouteState::PendingDeletion { held: true, .. } => return,
        // A grace period that seems to end later than a whole one from now: the clock went back.
        RouteState::PendingDeletion { due_at, explained, .. } if due_at > latest + SMALL_STEP => {
            (latest, explained || has_ended)
        }
        // The list came before the Engine's word.
        RouteState::PendingDeletion { due_at, explained: false, .. } if has_ended => (due_at, true),
        RouteState::PendingDeletion { .. } => return,
    };
    decided.events.push(RouteEvent::Lost {
        agent_id: seen.agent_id.clone(),
        route: key.clone(),
        due_at,
        explained,
    });
}

/// Moves all running grace periods by a leap of the clock, so that each lasts as long as it should.
pub fn postpone(
    agent_id: &AgentId,
    routes: &[Route],
    leap: TimeDelta,
    now: DateTime<Utc>,
    grace: Duration,
) -> Vec<RouteEvent> {
    let pending = routes.iter().filter_map(|route| match route.state {
        RouteState::PendingDeletion { due_at, held: false, explained } => Some((route, due_at, explained)),
        _ => None,
    });
    let moved = pending.filter_map(|(route, before, explained)| {
        let due_at = after_leap(before, leap, now, grace);
        (due_at != before).then(|| RouteEvent::Lost {
            agent_id: agent_id.clone(),
            route: route.spec.key.clone(),
            due_at,
            explained,
        })
    });
    moved.collect()
}
