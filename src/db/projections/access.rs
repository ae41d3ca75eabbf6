//! What was decided about who may reach what is published.

use super::origin::Origin;
use super::removals;
use crate::db::entities::access_group;
use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::AccessEvent;
use crate::domain::removal::Withdrawn;

/// Names the group that an event is about.
pub(super) fn needs(needs: &mut Needs, event: &AccessEvent) {
    let id = match event {
        AccessEvent::GroupSet { group } => &group.id,
        AccessEvent::GroupRemoved { group_id } => group_id,
        // Service tokens are Cloudflare's: nothing is kept of them.
        AccessEvent::TokenCreated { .. }
        | AccessEvent::TokenRotated { .. }
        | AccessEvent::TokenRevoked { .. } => return,
    };
    needs.access_groups.insert(id.as_str().into());
}

/// Projects an event about a group.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &AccessEvent) {
    match event {
        AccessEvent::GroupSet { group } => {
            unit.access_groups.put(access_group::Model {
                id: group.id.as_str().into(),
                body: to_json(group),
                set_at: origin.at,
                set_by: origin.by.into(),
            });
            removals::forget(unit, Withdrawn::Group, group.id.as_str().into());
        }
        AccessEvent::GroupRemoved { group_id } => {
            unit.access_groups.delete(&group_id.as_str().into());
            removals::note(unit, origin, Withdrawn::Group, group_id.as_str().into());
        }
        AccessEvent::TokenCreated { .. }
        | AccessEvent::TokenRotated { .. }
        | AccessEvent::TokenRevoked { .. } => {}
    }
}
