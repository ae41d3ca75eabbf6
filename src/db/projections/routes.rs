//! Routes and the claims on their hostnames.
//!
//! A claim is there while its agent holds at least one route of the hostname.

use super::Origin;
use crate::db::batch::CommitError;
use crate::db::entities::{claim, route};
use crate::db::routes::{ACTIVE, PENDING_DELETION};
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::Event;
use crate::domain::id::AgentId;
use crate::domain::route::RouteKey;

/// Applies an event about a route.
pub(super) fn apply(unit: &mut Unit, origin: Origin<'_>, event: &Event) -> Result<(), CommitError> {
    match event {
        Event::RouteClaimed { agent_id, service, .. } => {
            claim(unit, origin, agent_id, &service.key.hostname)?;
            hold(unit, origin, event);
        }
        Event::RouteChanged { agent_id, container_id, container_name, service } => {
            change(unit, origin, agent_id, &service.key, |route| {
                route.container_id = container_id.as_str().into();
                route.container_name.clone_from(container_name);
                route.service = to_json(service);
                revive(route);
            });
        }
        Event::RouteLost { agent_id, route, due_at } => change(unit, origin, agent_id, route, |route| {
            route.state = PENDING_DELETION.into();
            route.due_at = Some(micros(*due_at));
            route.held = false;
        }),
        Event::RouteRestored { agent_id, route, container_id } => {
            change(unit, origin, agent_id, route, |route| {
                route.container_id = container_id.as_str().into();
                revive(route);
            });
        }
        Event::RouteHeld { agent_id, route } => {
            change(unit, origin, agent_id, route, |route| route.held = route.due_at.is_some());
        }
        Event::RouteReleased { agent_id, route } => release(unit, agent_id, route),
        _ => {}
    }
    Ok(())
}

fn revive(route: &mut route::Model) {
    route.state = ACTIVE.into();
    route.due_at = None;
    route.held = false;
}

fn claim(unit: &mut Unit, origin: Origin<'_>, agent: &AgentId, hostname: &str) -> Result<(), CommitError> {
    match unit.claims.get(&hostname.to_owned()) {
        Some(held) if held.agent_id == agent.as_str() => Ok(()),
        Some(held) => {
            Err(CommitError::Claimed { hostname: hostname.into(), by: AgentId::new(held.agent_id.clone()) })
        }
        None => {
            let agent_id = agent.as_str().into();
            unit.claims.put(claim::Model { hostname: hostname.into(), agent_id, claimed_at: origin.at });
            Ok(())
        }
    }
}

fn hold(unit: &mut Unit, origin: Origin<'_>, event: &Event) {
    let Event::RouteClaimed { agent_id, container_id, container_name, service } = event else {
        return;
    };
    unit.routes.put(route::Model {
        hostname: service.key.hostname.clone(),
        path: service.key.path.clone(),
        agent_id: agent_id.as_str().into(),
        container_name: container_name.clone(),
        container_id: container_id.as_str().into(),
        service: to_json(service),
        state: ACTIVE.into(),
        due_at: None,
        held: false,
        claimed_at: origin.at,
        changed_at: origin.at,
    });
}

/// Changes a route if it is this agent's.
fn change(
    unit: &mut Unit,
    origin: Origin<'_>,
    agent: &AgentId,
    key: &RouteKey,
    change: impl FnOnce(&mut route::Model),
) {
    unit.routes.change(&(key.hostname.clone(), key.path.clone()), |route| {
        if route.agent_id == agent.as_str() {
            change(route);
            route.changed_at = origin.at;
        }
    });
}

fn release(unit: &mut Unit, agent: &AgentId, key: &RouteKey) {
    let id = (key.hostname.clone(), key.path.clone());
    if unit.routes.get(&id).is_none_or(|route| route.agent_id != agent.as_str()) {
        return;
    }
    unit.routes.delete(&id);
    let first = (key.hostname.clone(), String::new());
    if unit.routes.from(&first).next().is_none_or(|route| route.hostname != key.hostname) {
        unit.claims.delete(&key.hostname);
    }
}
