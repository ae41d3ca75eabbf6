//! What a decision makes of a route: the one meaning of the events of a routes stream, for what is kept in memory and
//! for the tables.

use super::super::event::RouteEvent;
use super::super::route::{Route, RouteKey, RouteState};

/// Returns the route that an event counts against, if a restless one is not to fill the record with such events.
pub fn turn(event: &RouteEvent) -> Option<&RouteKey> {
    match event {
        RouteEvent::Lost { route, .. } => Some(route),
        RouteEvent::Changed { service, .. } => Some(&service.key),
        _ => None,
    }
}

/// Returns what an event leaves of the route it is about. One that is not there stays away, unless it is claimed.
pub fn after(route: Option<Route>, event: &RouteEvent) -> Option<Route> {
    match event {
        RouteEvent::Claimed { agent_id, container_id, container_name, service } => Some(Route {
            agent_id: agent_id.clone(),
            container_name: container_name.clone(),
            container_id: container_id.clone(),
            spec: service.clone(),
            state: RouteState::Active,
        }),
        // A container that runs asks for it: it is not lost any more.
        RouteEvent::Changed { container_id, container_name, service, .. } => route.map(|route| Route {
            container_name: container_name.clone(),
            container_id: container_id.clone(),
            spec: service.clone(),
            state: RouteState::Active,
            ..route
        }),
        RouteEvent::Lost { due_at, explained, .. } => route.map(|route| Route {
            state: RouteState::PendingDeletion { due_at: *due_at, held: false, explained: *explained },
            ..route
        }),
        RouteEvent::Restored { container_id, .. } => route.map(|route| Route {
            container_id: container_id.clone(),
            state: RouteState::Active,
            ..route
        }),
        RouteEvent::Held { .. } => route.map(|mut route| {
            if let RouteState::PendingDeletion { held, .. } = &mut route.state {
                *held = true;
            }
            route
        }),
        RouteEvent::Released { .. } => None,
    }
}

/// Has a list of routes follow an event of its stream.
pub fn follow(routes: &mut Vec<Route>, event: &RouteEvent) {
    let key = event.route();
    let at = routes.iter().position(|route| route.spec.key == *key);
    let before = at.map(|at| routes[at].clone());
    match (at, after(before, event)) {
        (Some(at), Some(route)) => routes[at] = route,
        (Some(at), None) => drop(routes.remove(at)),
        (None, Some(route)) => routes.push(route),
        (None, None) => {}
    }
}
