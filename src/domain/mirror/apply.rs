//! What a decision makes of a route: the one meaning of the events of a routes stream, for what is kept in memory and
//! for the tables.

use super::super::event::Event;
use super::super::id::AgentId;
use super::super::route::{Route, RouteKey, RouteState};

/// Returns the agent and the route that an event of a routes stream is about.
pub fn subject(event: &Event) -> Option<(&AgentId, &RouteKey)> {
    match event {
        Event::RouteClaimed { agent_id, service, .. } | Event::RouteChanged { agent_id, service, .. } => {
            Some((agent_id, &service.key))
        }
        Event::RouteLost { agent_id, route, .. }
        | Event::RouteRestored { agent_id, route, .. }
        | Event::RouteHeld { agent_id, route }
        | Event::RouteReleased { agent_id, route, .. } => Some((agent_id, route)),
        _ => None,
    }
}

/// Returns the route that an event counts against, if a restless one is not to fill the record with such events.
pub fn turn(event: &Event) -> Option<&RouteKey> {
    match event {
        Event::RouteLost { route, .. } => Some(route),
        Event::RouteChanged { service, .. } => Some(&service.key),
        _ => None,
    }
}

/// Returns what an event leaves of the route it is about. One that is not there stays away, unless it is claimed.
pub fn after(route: Option<Route>, event: &Event) -> Option<Route> {
    match event {
        Event::RouteClaimed { agent_id, container_id, container_name, service } => Some(Route {
            agent_id: agent_id.clone(),
            container_name: container_name.clone(),
            container_id: container_id.clone(),
            spec: service.clone(),
            state: RouteState::Active,
        }),
        // A container that runs asks for it: it is not lost any more.
        Event::RouteChanged { container_id, container_name, service, .. } => route.map(|route| Route {
            container_name: container_name.clone(),
            container_id: container_id.clone(),
            spec: service.clone(),
            state: RouteState::Active,
            ..route
        }),
        Event::RouteLost { due_at, explained, .. } => route.map(|route| Route {
            state: RouteState::PendingDeletion { due_at: *due_at, held: false, explained: *explained },
            ..route
        }),
        Event::RouteRestored { container_id, .. } => route.map(|route| Route {
            container_id: container_id.clone(),
            state: RouteState::Active,
            ..route
        }),
        Event::RouteHeld { .. } => route.map(|mut route| {
            if let RouteState::PendingDeletion { held, .. } = &mut route.state {
                *held = true;
            }
            route
        }),
        Event::RouteReleased { .. } => None,
        _ => route,
    }
}

/// Carries an event of a routes stream out on a list of routes; other events change nothing.
pub fn apply(routes: &mut Vec<Route>, event: &Event) {
    let Some((_, key)) = subject(event) else { return };
    let at = routes.iter().position(|route| route.spec.key == *key);
    let before = at.map(|at| routes[at].clone());
    match (at, after(before, event)) {
        (Some(at), Some(route)) => routes[at] = route,
        (Some(at), None) => drop(routes.remove(at)),
        (None, Some(route)) => routes.push(route),
        (None, None) => {}
    }
}
