//! Agents, their keys and who has which tunnel.

use super::origin::Origin;
use super::removals;
use crate::db::batch::CommitError;
use crate::db::entities::{agent, agent_key, tunnel};
use crate::db::needs::Needs;
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::event::{AgentEvent, KeyEvent};
use crate::domain::id::{AgentId, KeyId, TunnelId};
use crate::domain::removal::Withdrawn;

/// A list of hostname patterns that permits any name.
const ANY_NAME: &str = "[]";

/// Names the key that an event is about.
pub(super) fn needs_of_key(needs: &mut Needs, event: &KeyEvent) {
    needs.keys.insert(event.key().as_str().into());
}

/// Names the agent that an event is about, and what else it touches.
pub(super) fn needs(needs: &mut Needs, event: &AgentEvent) {
    let id = || event.agent().as_str().to_owned();
    needs.agents.insert(id());
    match event {
        AgentEvent::Registered { key_id, .. }
        | AgentEvent::KeyRolled { key_id, .. }
        | AgentEvent::LeftKey { key_id, .. } => {
            needs.agent_keys.insert(key_id.as_str().into());
            needs.keys.insert(key_id.as_str().into());
        }
        AgentEvent::Enrolled { tunnel_id, .. } => {
            needs.tunnels.insert(tunnel_id.as_str().into());
            needs.tunnels_of_agents.insert(id());
        }
        AgentEvent::Moving { from, to, .. } | AgentEvent::Moved { from, to, .. } => {
            needs.tunnels.extend([from.as_str().into(), to.as_str().into()]);
        }
        AgentEvent::Removed { .. } => {
            needs.leaving_agents.insert(id());
            needs.tunnels_of_agents.insert(id());
        }
        _ => {}
    }
}

/// Projects an event about a key.
pub(super) fn project_key(unit: &mut Unit, origin: Origin<'_>, event: &KeyEvent) {
    match event {
        KeyEvent::Generated { key_id, owner, sha256, rolled_from } => unit.keys.put(agent_key::Model {
            id: key_id.as_str().into(),
            owner: owner.clone(),
            sha256: sha256.clone(),
            status: KeyStatus::Active.as_str().into(),
            agent_id: None,
            rolled_from: rolled_from.as_ref().map(|id| id.as_str().into()),
            created_at: origin.at,
            revoked_at: None,
            hostname_patterns: ANY_NAME.into(),
            seats: 1,
        }),
        KeyEvent::Limited { key_id, hostname_patterns } => unit
            .keys
            .change(&key_id.as_str().into(), |key| key.hostname_patterns = to_json(hostname_patterns)),
        KeyEvent::Seated { key_id, seats } => unit
            .keys
            .change(&key_id.as_str().into(), |key| key.seats = i32::try_from(*seats).unwrap_or(i32::MAX)),
        KeyEvent::Revoked { key_id } => unit.keys.change(&key_id.as_str().into(), |key| {
            key.status = KeyStatus::Revoked.as_str().into();
            key.revoked_at.get_or_insert(origin.at);
        }),
        KeyEvent::Deleted { key_id } => {
            let id = key_id.as_str().to_owned();
            if let Some(sha256) = unit.keys.get(&id).map(|key| key.sha256.clone()) {
                removals::note(unit, origin, Withdrawn::Key, sha256);
            }
            unit.keys.delete(&id);
        }
    }
}

/// Projects an event about an agent.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &AgentEvent) -> Result<(), CommitError> {
    match event {
        AgentEvent::Registered { agent_id, key_id, shares_key, .. } => {
            if !shares_key {
                bind_key(unit, agent_id, key_id)?;
            }
            register(unit, origin, event);
        }
        AgentEvent::KeyRolled { agent_id, key_id } => {
            bind_key(unit, agent_id, key_id)?;
            unit.agents.change(&agent_id.as_str().into(), |agent| {
                agent.key_id = Some(key_id.as_str().into());
                if agent.status == AgentStatus::Revoked.as_str() {
                    let status =
                        if agent.tunnel_id.is_some() { AgentStatus::Enrolled } else { AgentStatus::Pending };
                    agent.status = status.as_str().into();
                    agent.revoked_at = None;
                    agent.other_machine = None;
                }
            });
        }
        AgentEvent::LeftKey { agent_id, key_id } => leave_key(unit, agent_id, key_id),
        AgentEvent::Enrolled { .. } => enroll(unit, origin, event)?,
        AgentEvent::Moving { agent_id, from, to } => wait_to_move(unit, agent_id, from, to),
        AgentEvent::Moved { agent_id, from, to } => finish_move(unit, agent_id, from, to),
        AgentEvent::Removed { agent_id } => remove(unit, origin, agent_id),
        AgentEvent::Updated { agent_id, .. }
        | AgentEvent::Renamed { agent_id, .. }
        | AgentEvent::Limited { agent_id, .. }
        | AgentEvent::Approved { agent_id }
        | AgentEvent::Revoked { agent_id, .. }
        | AgentEvent::CredentialReused { agent_id }
        | AgentEvent::MachineChanged { agent_id, .. }
        | AgentEvent::Offline { agent_id, .. }
        | AgentEvent::Back { agent_id } => {
            unit.agents.change(&agent_id.as_str().into(), |agent| touch_up(agent, origin, event));
        }
    }
    Ok(())
}

/// Changes that concern nothing but the agent's own row.
fn touch_up(agent: &mut agent::Model, origin: Origin<'_>, event: &AgentEvent) {
    match event {
        AgentEvent::Updated { display_name, version, .. } => {
            agent.version.clone_from(version);
            if !agent.custom_name {
                agent.display_name.clone_from(display_name);
            }
        }
        AgentEvent::Renamed { display_name, .. } => {
            agent.display_name.clone_from(display_name);
            agent.custom_name = true;
        }
        AgentEvent::Limited { hostname_patterns, .. } => agent.hostname_patterns = to_json(hostname_patterns),
        AgentEvent::Approved { .. } => {
            agent.status = AgentStatus::Enrolled.as_str().into();
            agent.enrolled_at = Some(origin.at);
            agent.other_machine = None;
        }
        AgentEvent::MachineChanged { seen, .. } if agent.status == AgentStatus::Enrolled.as_str() => {
            agent.status = AgentStatus::Pending.as_str().into();
            agent.other_machine = Some(to_json(seen));
        }
        AgentEvent::Revoked { .. } => {
            agent.status = AgentStatus::Revoked.as_str().into();
            agent.revoked_at = Some(origin.at);
        }
        AgentEvent::CredentialReused { .. } => agent.credential_reused_at = Some(origin.at),
        AgentEvent::Offline { last_seen, .. } => agent.offline_since = Some(micros(*last_seen)),
        AgentEvent::Back { .. } => agent.offline_since = None,
        _ => {}
    }
}

fn register(unit: &mut Unit, origin: Origin<'_>, event: &AgentEvent) {
    let AgentEvent::Registered { agent_id, key_id, display_name, version, key_owner, shares_key } = event
    else {
        return;
    };
    // Revoked, and back with another key: what it published stays as it is until a person looks again.
    let before = unit.agents.get(&agent_id.as_str().into()).cloned();
    let before = before.filter(|agent| agent.status != AgentStatus::Removed.as_str());
    let before = before.as_ref();
    unit.agents.put(agent::Model {
        id: agent_id.as_str().into(),
        display_name: display_name.clone(),
        custom_name: before.is_some_and(|agent| agent.custom_name),
        version: version.clone(),
        status: AgentStatus::Pending.as_str().into(),
        key_id: Some(key_id.as_str().into()),
        key_owner: key_owner.clone(),
        account_id: before.and_then(|agent| agent.account_id.clone()),
        tunnel_id: before.and_then(|agent| agent.tunnel_id.clone()),
        tunnel_name: before.and_then(|agent| agent.tunnel_name.clone()),
        secret_id: before.and_then(|agent| agent.secret_id.clone()),
        registered_at: before.map_or(origin.at, |agent| agent.registered_at),
        enrolled_at: before.and_then(|agent| agent.enrolled_at),
        revoked_at: None,
        removed_at: None,
        offline_since: None,
        hostname_patterns: before.map_or(ANY_NAME.into(), |agent| agent.hostname_patterns.clone()),
        moving_from: before.and_then(|agent| agent.moving_from.clone()),
        shared_key_id: shares_key.then(|| key_id.as_str().into()),
        credential_reused_at: None,
        other_machine: None,
    });
}

/// A key that others use goes on with them: the first of them has it now, if it was this agent's.
fn leave_key(unit: &mut Unit, agent_id: &AgentId, key_id: &KeyId) {
    unit.agents.change(&agent_id.as_str().into(), |agent| agent.shared_key_id = None);
    let key = key_id.as_str().to_owned();
    if unit.keys.get(&key).is_none_or(|row| row.agent_id.as_deref() != Some(agent_id.as_str())) {
        return;
    }
    let guests = unit.agents.all(|agent| agent.shared_key_id.as_ref() == Some(&key));
    let heir = guests.into_iter().map(|agent| agent.id).min();
    if let Some(heir) = &heir {
        unit.agents.change(heir, |agent| agent.shared_key_id = None);
    }
    unit.keys.change(&key, |row| row.agent_id = heir.clone());
}

/// A key belongs to one agent: a second one has to say that it shares it.
fn bind_key(unit: &mut Unit, agent_id: &AgentId, key_id: &KeyId) -> Result<(), CommitError> {
    let other = unit
        .agents
        .all(|agent| agent.key_id.as_deref() == Some(key_id.as_str()) && agent.id != agent_id.as_str())
        .into_iter()
        .next();
    if let Some(other) = other {
        return Err(CommitError::KeyTaken { key_id: key_id.clone(), by: AgentId::new(other.id) });
    }
    unit.keys.change(&key_id.as_str().into(), |key| key.agent_id = Some(agent_id.as_str().into()));
    Ok(())
}

fn enroll(unit: &mut Unit, origin: Origin<'_>, event: &AgentEvent) -> Result<(), CommitError> {
    let AgentEvent::Enrolled { agent_id, account_id, tunnel_id, tunnel_name, secret_id, .. } = event else {
        return Ok(());
    };
    let stored = unit.tunnels.get(&tunnel_id.as_str().into()).cloned();
    let holder = stored.as_ref().and_then(|tunnel| tunnel.agent_id.clone().or(tunnel.joining.clone()));
    if let Some(by) = holder.filter(|holder| holder != agent_id.as_str()) {
        return Err(CommitError::TunnelTaken { tunnel_id: tunnel_id.clone(), by: AgentId::new(by) });
    }
    leave_tunnels(unit, agent_id, false);
    unit.tunnels.put(tunnel::Model {
        id: tunnel_id.as_str().into(),
        account_id: account_id.as_str().into(),
        name: tunnel_name.clone(),
        agent_id: Some(agent_id.as_str().into()),
        secret_id: secret_id.as_str().into(),
        enrolled_at: origin.at,
        confirmed_at: stored.as_ref().and_then(|tunnel| tunnel.confirmed_at),
        made: stored.as_ref().is_some_and(|tunnel| tunnel.made),
        confirmed_by: stored.and_then(|tunnel| tunnel.confirmed_by),
        joining: None,
        left_by: None,
        removed: false,
    });
    unit.agents.change(&agent_id.as_str().into(), |agent| {
        agent.status = AgentStatus::Enrolled.as_str().into();
        agent.account_id = Some(account_id.as_str().into());
        agent.tunnel_id = Some(tunnel_id.as_str().into());
        agent.tunnel_name = Some(tunnel_name.clone());
        agent.secret_id = Some(secret_id.as_str().into());
        agent.enrolled_at = Some(origin.at);
        agent.moving_from = None;
        agent.other_machine = None;
    });
    Ok(())
}

/// What the enrolment just before did is put off: the names stay where they were.
fn wait_to_move(unit: &mut Unit, agent_id: &AgentId, from: &TunnelId, to: &TunnelId) {
    let agent = agent_id.as_str().to_owned();
    unit.tunnels.change(&from.as_str().into(), |tunnel| {
        tunnel.agent_id = Some(agent.clone());
        tunnel.left_by = None;
    });
    unit.tunnels.change(&to.as_str().into(), |tunnel| {
        tunnel.agent_id = None;
        tunnel.joining = Some(agent.clone());
    });
    unit.agents.change(&agent, |row| row.moving_from = Some(from.as_str().into()));
}

fn finish_move(unit: &mut Unit, agent_id: &AgentId, from: &TunnelId, to: &TunnelId) {
    let agent = agent_id.as_str().to_owned();
    unit.tunnels.change(&from.as_str().into(), |tunnel| {
        tunnel.agent_id = None;
        tunnel.left_by = Some(agent.clone());
    });
    unit.tunnels.change(&to.as_str().into(), |tunnel| {
        tunnel.agent_id = Some(agent.clone());
        tunnel.joining = None;
    });
    unit.agents.change(&agent, |row| row.moving_from = None);
}

/// Takes an agent out of its tunnel, and out of the one that it was to join.
fn leave_tunnels(unit: &mut Unit, agent_id: &AgentId, is_removed: bool) {
    let own = Some(agent_id.as_str());
    for mut tunnel in
        unit.tunnels.all(|tunnel| tunnel.agent_id.as_deref() == own || tunnel.joining.as_deref() == own)
    {
        let had_names = tunnel.agent_id.take().is_some();
        tunnel.joining = None;
        tunnel.left_by = (had_names && !is_removed).then(|| agent_id.as_str().into());
        tunnel.removed = is_removed;
        unit.tunnels.put(tunnel);
    }
}

fn remove(unit: &mut Unit, origin: Origin<'_>, agent_id: &AgentId) {
    leave_tunnels(unit, agent_id, true);
    for route in unit.routes.all(|route| route.agent_id == agent_id.as_str()) {
        unit.routes.delete(&(route.hostname, route.path));
    }
    for claim in unit.claims.all(|claim| claim.agent_id == agent_id.as_str()) {
        unit.claims.delete(&claim.hostname);
    }
    for row in unit.update_decisions.all(|row| row.agent_id == agent_id.as_str()) {
        unit.update_decisions.delete(&(row.agent_id, row.package_type, row.package_name));
    }
    unit.agents.change(&agent_id.as_str().into(), |agent| {
        agent.status = AgentStatus::Removed.as_str().into();
        agent.key_id = None;
        agent.moving_from = None;
        agent.removed_at = Some(origin.at);
        agent.offline_since = None;
        agent.other_machine = None;
    });
}
