//! Puts rows about what people are told among the rows in memory.

use super::batch::RowChange;
use super::entities::{notice, notification_condition, notification_place};
use super::notifications::{PLACE, TargetStateRow, message_model, state_model};
use super::times::micros;
use super::unit::Unit;
use super::words::to_json;
use crate::domain::id::TargetId;

/// Puts a change among the rows in memory. What is for a target is left out if a person removed that meanwhile: nobody
/// would take the row away again.
pub(super) fn apply(unit: &mut Unit, change: &RowChange) {
    let has = |unit: &Unit, id: &TargetId| unit.targets.get(&id.as_str().into()).is_some();
    match change {
        RowChange::PutNotificationPlace { seq } => {
            let seq = i64::try_from(*seq).unwrap_or(i64::MAX);
            unit.notification_place.put(notification_place::Model { id: PLACE, seq });
        }
        RowChange::PutCondition(known) => unit.conditions.put(notification_condition::Model {
            topic: known.topic.as_str().into(),
            subject: known.subject.clone(),
            name: known.name.clone(),
            since: micros(known.since),
        }),
        RowChange::DeleteCondition { topic, subject } => {
            unit.conditions.delete(&(topic.as_str().into(), subject.clone()));
        }
        RowChange::StopTelling => {
            unit.notification_place.delete(&PLACE);
            for row in unit.conditions.all(|_| true) {
                unit.conditions.delete(&(row.topic, row.subject));
            }
        }
        RowChange::PutNotice { target_id, notice } if has(unit, target_id) => {
            unit.notices.put(notice::Model {
                target_id: target_id.as_str().into(),
                topic: notice.topic.as_str().into(),
                subject: notice.subject.clone(),
                body: to_json(notice),
            });
        }
        RowChange::DeleteNotice { target_id, topic, subject } => {
            let key = (target_id.as_str().to_owned(), topic.as_str().to_owned(), subject.clone());
            unit.notices.delete(&key);
        }
        RowChange::PutMessage(row) if has(unit, &row.target_id) => unit.messages.put(message_model(row)),
        RowChange::DeleteMessage { id } => unit.messages.delete(id),
        RowChange::PutTargetState(row) if has(unit, &row.target_id) => {
            let mut model = state_model(row);
            let before = unit.target_states.get(&model.target_id);
            model.left_out = before.map_or(0, |before| before.left_out);
            unit.target_states.put(model);
        }
        RowChange::SetLeftOut { target_id, left_out } if has(unit, target_id) => {
            let id = target_id.as_str().to_owned();
            let before = unit.target_states.get(&id).cloned();
            let mut model = before.unwrap_or_else(|| state_model(&TargetStateRow::new(target_id.clone())));
            model.left_out = i32::try_from(*left_out).unwrap_or(i32::MAX);
            unit.target_states.put(model);
        }
        RowChange::RetryTarget { target_id } => {
            unit.target_states.change(&target_id.as_str().into(), |row| row.next_try_at = None);
        }
        RowChange::ForgetTarget { target_id } => forget(unit, target_id.as_str()),
        _ => {}
    }
}

fn forget(unit: &mut Unit, target_id: &str) {
    for row in unit.notices.all(|row| row.target_id == target_id) {
        unit.notices.delete(&(row.target_id, row.topic, row.subject));
    }
    for row in unit.messages.all(|row| row.target_id == target_id) {
        unit.messages.delete(&row.id);
    }
    unit.target_states.delete(&target_id.into());
}
