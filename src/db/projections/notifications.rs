//! What was decided about where people are told what happened.

use super::origin::Origin;
use crate::db::entities::notification_target;
use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::NotifyEvent;

/// Names the target that an event is about.
pub(super) fn needs(needs: &mut Needs, event: &NotifyEvent) {
    let id = match event {
        NotifyEvent::TargetSet { target } => &target.id,
        NotifyEvent::TargetRemoved { target_id } => target_id,
    };
    needs.targets.insert(id.as_str().into());
}

/// Projects an event about a target.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &NotifyEvent) {
    match event {
        NotifyEvent::TargetSet { target } => {
            let id = target.id.as_str().to_owned();
            let made_at = unit.targets.get(&id).map_or(origin.at, |before| before.made_at);
            unit.targets.put(notification_target::Model {
                id,
                body: to_json(target),
                made_at,
                set_at: origin.at,
                set_by: origin.by.into(),
            });
        }
        NotifyEvent::TargetRemoved { target_id } => unit.targets.delete(&target_id.as_str().into()),
    }
}
