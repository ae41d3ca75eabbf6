//! Targets of notifications with how they are, read for one answer or one page. What opens a target is never read here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::ApiError;
use super::state::WebState;
use crate::actors::master::MasterError;
use crate::db::read::{
    MessageRow, TargetRow, TargetStateRow, count_waiting, list_target_states, list_targets,
};
use crate::domain::id::TargetId;

/// A target with all that is told of it.
pub struct TargetView {
    /// The target.
    pub row: TargetRow,
    /// How it is; none if nothing was sent to it yet.
    pub state: Option<TargetStateRow>,
    /// Things and messages that wait to be sent to it.
    pub waiting: u64,
}

impl TargetView {
    /// Returns it as the API tells it: what a target is, as it is handed in but for what opens it, and beside that what
    /// is known of it.
    pub fn record(&self) -> Value {
        let mut record = json!(self.row.target);
        record["place"] = json!(self.row.target.channel.place());
        record["made_at"] = json!(self.row.made_at);
        record["set_at"] = json!(self.row.set_at);
        record["set_by"] = json!(self.row.set_by);
        let state = self.state.as_ref();
        record["state"] = json!({
            "is_failing": state.is_some_and(|state| state.failing_since.is_some()),
            "last_sent_at": state.and_then(|state| state.last_sent_at),
            "failing_since": state.and_then(|state| state.failing_since),
            "failures": state.map_or(0, |state| state.failures),
            "error": state.and_then(|state| state.error.clone()),
            "next_try_at": state.and_then(|state| state.next_try_at),
            "waiting": self.waiting,
        });
        record
    }
}

/// Reads every target, by id.
pub async fn read_targets(state: &WebState) -> Result<Vec<TargetView>, ApiError> {
    let db = &state.master().db;
    let rows = list_targets(db).await.map_err(ApiError::internal)?;
    let states = list_target_states(db).await.map_err(ApiError::internal)?;
    let mut states: BTreeMap<TargetId, TargetStateRow> =
        states.into_iter().map(|row| (row.target_id.clone(), row)).collect();
    let waiting = count_waiting(db).await.map_err(ApiError::internal)?;
    let view = |row: TargetRow| TargetView {
        state: states.remove(&row.target.id),
        waiting: waiting.get(&row.target.id).copied().unwrap_or(0),
        row,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// Reads one target; fails with 404 if there is none.
pub async fn read_target_view(state: &WebState, id: &str) -> Result<TargetView, ApiError> {
    let targets = read_targets(state).await?;
    let found = targets.into_iter().find(|view| view.row.target.id.as_str() == id);
    found.ok_or_else(|| MasterError::TargetNotFound.into())
}

/// Returns a message as the API tells it.
pub fn message_record(row: &MessageRow) -> Value {
    let message = &row.message;
    json!({
        "id": message.id, "target": row.target_id, "state": row.state.as_str(), "attempts": row.attempts,
        "topic": message.topic.map_or("test", |topic| topic.as_str()), "turn": message.turn,
        "title": message.title, "text": message.text, "total": message.total, "error": row.error,
        "created_at": row.created_at, "settled_at": row.settled_at,
    })
}
