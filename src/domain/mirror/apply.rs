//! Carries decisions out on a list of routes: the one meaning of the events of a routes stream.

use super::super::event::Event;
use super::super::route::{Route, RouteKey, RouteState};

/// Carries an event of a routes stream out on a list of routes; other events change nothing.
pub fn apply(routes: &mut Vec<Route>, event: &Event) {
    match event {
        Event::RouteClaimed { agent_id, container_id, container_name, service }
        | Event::RouteChanged { agent_id, container_id, container_name, service } => {
            let at = routes.iter().position(|route| route.spec.key == service.key);
            let state = at.map_or(RouteState::Active, |i| routes[i].state.clone());
            let route = Route {
                agent_id: agent_id.clone(),
                container_name: container_name.clone(),
                container_id: container_id.clone(),
                spec: service.clone(),
                state,
            };
            match at {
                Some(i) => routes[i] = route,
                None => routes.push(route),
            }
        }
        Event::RouteLost { route, due_at, .. } => with(routes, route, |found| {
            found.state = RouteState::PendingDeletion { due_at: *due_at, held: false };
        }),
        Event::RouteRestored { route, container_id, .. } => with(routes, route, |found| {
            found.state = RouteState::Active;
            found.container_id = container_id.clone();
        }),
        Event::RouteHeld { route, .. } => with(routes, route, |found| {
            if let RouteState::PendingDeletion { held, .. } = &mut found.state {
                *held = true;
            }
        }),
        Event::RouteReleased { route, .. } => routes.retain(|found| found.spec.key != *route),
        _ => {}
    }
}

fn with(routes: &mut [Route], key: &RouteKey, change: impl FnOnce(&mut Route)) {
    if let Some(found) = routes.iter_mut().find(|route| route.spec.key == *key) {
        change(found);
    }
}
