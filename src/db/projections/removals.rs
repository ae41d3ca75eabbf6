//! What was withdrawn for good. Written without a look at what is there: the newest word holds.

use super::origin::Origin;
use crate::db::entities::removal;
use crate::db::unit::Unit;
use crate::domain::removal::Withdrawn;

/// It was withdrawn.
pub(super) fn note(unit: &mut Unit, origin: Origin<'_>, kind: Withdrawn, id: String) {
    unit.removals.put(removal::Model {
        kind: kind.as_str().into(),
        id,
        removed_at: origin.at,
        removed_by: origin.by.into(),
    });
}

/// A person made it again.
pub(super) fn forget(unit: &mut Unit, kind: Withdrawn, id: String) {
    unit.removals.delete(&(kind.as_str().into(), id));
}
