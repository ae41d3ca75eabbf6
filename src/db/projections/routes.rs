//! Routes and the claims on their hostnames. What an event makes of a route is the domain's to say.
//!
//! A claim is there while its agent holds at least one route of the hostname.

use super::origin::Origin;
use super::rules::tunnel_of;
use crate::db::batch::CommitError;
use crate::db::entities::{claim, route};
use crate::db::needs::Needs;
use crate::db::routes::{ACTIVE, PENDING_DELETION, RouteRow};
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::RouteEvent;
use crate::domain::id::AgentId;
use crate::domain::mirror::after;
use crate::domain::route::{Route, RouteState};

/// Names the hostname that an event is about: its claim and its routes.
pub(super) fn needs(needs: &mut Needs, event: &RouteEvent) {
    needs.hostnames.insert(event.route().hostname.clone());
}

/// Projects an event about a route. One about a route that another agent holds changes nothing.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &RouteEvent) -> Result<(), CommitError> {
    let (agent, key) = (event.agent(), event.route());
    let is_claim = matches!(event, RouteEvent::Claimed { .. });
    if is_claim {
        claim(unit, origin, agent, &key.hostname)?;
    }
    let id = (key.hostname.clone(), key.path.clone());
    let stored = unit.routes.get(&id).filter(|row| row.agent_id == agent.as_str()).cloned();
    // A new claim begins anew, whatever was there.
    let claimed_at = stored.as_ref().filter(|_| !is_claim).map_or(origin.at, |row| row.claimed_at);
    let had_one = stored.is_some();
    let before = stored.map(RouteRow::of).transpose()?.map(|row| row.route);
    match after(before, event) {
        Some(route) => unit.routes.put(model(&route, claimed_at, origin.at)),
        None if had_one => release(unit, &id),
        None => {}
    }
    Ok(())
}

fn model(route: &Route, claimed_at: i64, changed_at: i64) -> route::Model {
    let (state, due_at, held, explained) = match route.state {
        RouteState::Active => (ACTIVE, None, false, false),
        RouteState::PendingDeletion { due_at, held, explained } => {
            (PENDING_DELETION, Some(micros(due_at)), held, explained)
        }
    };
    route::Model {
        hostname: route.spec.key.hostname.clone(),
        path: route.spec.key.path.clone(),
        agent_id: route.agent_id.as_str().into(),
        container_name: route.container_name.clone(),
        container_id: route.container_id.as_str().into(),
        service: to_json(&route.spec),
        state: state.into(),
        due_at,
        held,
        explained,
        claimed_at,
        changed_at,
    }
}

fn claim(unit: &mut Unit, origin: Origin<'_>, agent: &AgentId, hostname: &str) -> Result<(), CommitError> {
    if let Some(tunnel_id) = tunnel_of(unit, hostname) {
        return Err(CommitError::ClaimedByRule { hostname: hostname.into(), tunnel_id });
    }
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

fn release(unit: &mut Unit, id: &(String, String)) {
    unit.routes.delete(id);
    let hostname = &id.0;
    let first = (hostname.clone(), String::new());
    if unit.routes.from(&first).next().is_none_or(|route| route.hostname != *hostname) {
        unit.claims.delete(hostname);
    }
}
