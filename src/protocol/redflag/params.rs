//! Commands in RedFlag's words.

use serde_json::{Value, json};

use crate::domain::command::CommandKind;

/// What a command of ours says in RedFlag's words; its agents read texts, and lists of them.
pub fn params(kind: &CommandKind) -> Value {
    match kind {
        CommandKind::DryRunUpdate(update) => json!(update),
        CommandKind::ConfirmDependencies { update, dependencies } => {
            let mut params = json!(update);
            params["dependencies"] = json!(dependencies);
            params
        }
        CommandKind::EnableHeartbeat { duration_minutes } => json!({ "duration_minutes": duration_minutes }),
        _ => json!({}),
    }
}
