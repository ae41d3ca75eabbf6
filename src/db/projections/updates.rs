//! What people decided about updates; what scans find is kept beside it.

use super::origin::Origin;
use crate::db::entities::update_decision;
use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::UpdateEvent;

type Key = (String, String, String);

fn key(event: &UpdateEvent) -> Key {
    let (UpdateEvent::Decided { agent_id, kind, name, .. }
    | UpdateEvent::Reconsidered { agent_id, kind, name }) = event;
    (agent_id.as_str().into(), kind.as_str().into(), name.clone())
}

/// Names the decision that an event is about.
pub(super) fn needs(needs: &mut Needs, event: &UpdateEvent) {
    needs.update_decisions.insert(key(event));
}

/// Projects a decision about an update.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &UpdateEvent) {
    match event {
        UpdateEvent::Decided { decision, .. } => {
            let (agent_id, package_type, package_name) = key(event);
            unit.update_decisions.put(update_decision::Model {
                agent_id,
                package_type,
                package_name,
                decision: to_json(decision),
                decided_by: origin.by.to_owned(),
                decided_at: origin.at,
            });
        }
        UpdateEvent::Reconsidered { .. } => unit.update_decisions.delete(&key(event)),
    }
}
