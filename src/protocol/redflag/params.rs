//! Commands in RedFlag's words.

use serde_json::{Value, json};

use crate::domain::command::CommandKind;
use crate::domain::update::RebootAsk;

/// What people on a host are told of its restart if nobody says anything else.
const REBOOT: &str = "Lightship restarts this host";

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
        CommandKind::Reboot(RebootAsk { delay_minutes, message }) => {
            let message = if message.is_empty() { REBOOT } else { message };
            json!({ "delay_minutes": delay_minutes, "message": message })
        }
        _ => json!({}),
    }
}
