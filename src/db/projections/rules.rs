//! Rules that people make. A hostname belongs to an agent, or to the rules of one tunnel.

use super::origin::Origin;
use super::removals;
use crate::db::batch::CommitError;
use crate::db::entities::manual_rule;
use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::RuleEvent;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::manual_rule::{ManualRule, key_text};
use crate::domain::removal::Withdrawn;

/// Names the hostname that an event is about: its claim, its routes and its rules.
pub(super) fn needs(needs: &mut Needs, event: &RuleEvent) {
    needs.hostnames.insert(event.route().hostname.clone());
}

/// Projects an event about a rule. One about a rule that is in another tunnel meanwhile changes nothing.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &RuleEvent) -> Result<(), CommitError> {
    match event {
        RuleEvent::Set { rule } => set(unit, origin, rule),
        RuleEvent::Removed { tunnel_id, route } => {
            let id = (route.hostname.clone(), route.path.clone());
            if unit.manual_rules.get(&id).is_some_and(|row| row.tunnel_id == tunnel_id.as_str()) {
                unit.manual_rules.delete(&id);
                removals::note(unit, origin, Withdrawn::Rule, key_text(route));
            }
            Ok(())
        }
    }
}

fn set(unit: &mut Unit, origin: Origin<'_>, rule: &ManualRule) -> Result<(), CommitError> {
    let hostname = rule.spec.key.hostname.clone();
    if let Some(held) = unit.claims.get(&hostname) {
        return Err(CommitError::Claimed { hostname, by: AgentId::new(held.agent_id.clone()) });
    }
    let elsewhere = tunnel_of(unit, &hostname).filter(|tunnel| *tunnel != rule.tunnel_id);
    if let Some(tunnel_id) = elsewhere {
        return Err(CommitError::ClaimedByRule { hostname, tunnel_id });
    }
    unit.manual_rules.put(manual_rule::Model {
        hostname,
        path: rule.spec.key.path.clone(),
        tunnel_id: rule.tunnel_id.as_str().into(),
        service: to_json(&rule.spec),
        set_at: origin.at,
        set_by: origin.by.into(),
    });
    removals::forget(unit, Withdrawn::Rule, key_text(&rule.spec.key));
    Ok(())
}

/// The tunnel that the rules of a hostname are in, if there are any.
pub(super) fn tunnel_of(unit: &Unit, hostname: &str) -> Option<TunnelId> {
    let first = unit.manual_rules.from(&(hostname.to_owned(), String::new())).next();
    let row = first.filter(|row| row.hostname == hostname)?;
    Some(TunnelId::new(row.tunnel_id.clone()))
}
