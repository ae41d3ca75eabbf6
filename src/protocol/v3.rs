//! The native dialect on `/api/v3/agents/...`: numbered batches up, leased commands down.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::{self, BodyError};
use super::command::{AgentCommand, wire_form};
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::CommandId;
use crate::domain::order::SignedOrder;

mod changes;
mod images;
mod reports;

pub use changes::{LOG_LIMIT, PlanTold, RunTold};
pub use images::{ASKS_LIMIT, ImagesRequest, ImagesResponse, decode_asks};
pub use reports::{decode_reports, decode_result};

/// The version of the native protocol this program speaks.
pub const PROTOCOL: u32 = 3;
/// Header that carries the session on every native call.
pub const SESSION_HEADER: &str = "Lightship-Session";
/// Code of the 409 that sends an agent back to registration.
pub const SESSION_UNKNOWN: &str = "session_unknown";
/// Longest time a poll for commands may wait, in seconds.
pub const WAIT_LIMIT_SECS: u64 = 50;
/// Most commands in one answer.
pub const COMMANDS_LIMIT: usize = 100;
/// Most items in one batch.
pub const ITEMS_LIMIT: usize = 1000;
/// Longest message of a command's result, in characters.
pub const MESSAGE_LIMIT: usize = 2000;

/// Answer to a batch of reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsResponse {
    /// Number the next batch starts with.
    pub next_seq: u64,
    /// Scanners whose findings the master does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
}

/// Body of every refusal on native routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// What is wrong, for a person.
    pub error: String,
    /// What is wrong, for a program.
    pub code: String,
}

/// A command as it arrives at the agent.
#[derive(Debug, Clone)]
pub struct DeliveredCommand {
    /// Its id.
    pub id: CommandId,
    /// How often it was handed over, from 1.
    pub attempt: u32,
    /// How long the master waits before it hands it over again.
    pub lease_secs: u64,
    /// When it was handed over, master time.
    pub issued_at: DateTime<Utc>,
    /// After this it must not be carried out any more, master time.
    pub expires_at: DateTime<Utc>,
    /// What to do.
    pub command: AgentCommand,
}

/// Checks the id of a command that an agent names.
pub fn command_id(field: &'static str, id: &str) -> Result<CommandId, BodyError> {
    CommandId::parse(id).map_err(|error| BodyError::Value { field, reason: error.reason })
}

/// Writes a command for delivery. `lease_secs` is how long its receiver is left alone.
pub fn command_form(
    command: &Command,
    token: Option<&SecretString>,
    order: Option<&SignedOrder>,
    issued_at: DateTime<Utc>,
    lease_secs: u64,
) -> Map<String, Value> {
    let mut form = wire_form(&command.kind, token);
    // Native agents read one name for the token, whatever the action.
    if let Some(token) = form.remove("tunnel_token") {
        form.insert("token".into(), token);
    }
    match &command.kind {
        CommandKind::PlanUpdates { ask, .. } => drop(form.insert("ask".into(), json!(ask))),
        CommandKind::CarryOutPlan { .. } => drop(form.insert("order".into(), json!(order))),
        CommandKind::CancelRun { run, by } => {
            form.insert("run".into(), json!(run));
            form.insert("by".into(), json!(by));
        }
        _ => {}
    }
    form.insert("id".into(), json!(command.id));
    form.insert("attempt".into(), json!(command.attempt));
    form.insert("lease_seconds".into(), json!(lease_secs));
    form.insert("issued_at".into(), json!(issued_at));
    form.insert("expires_at".into(), json!(command.expires_at));
    form
}

/// The answer to a poll, oldest command first.
pub fn commands(commands: Vec<Map<String, Value>>) -> Value {
    json!({ "commands": commands })
}

/// Reads the answer to a poll. A command without id or times cannot be acknowledged, so it is an error.
pub fn decode_commands(body: &[u8]) -> Result<Vec<DeliveredCommand>, BodyError> {
    let answer = body::parse_object(body)?;
    let Some(Value::Array(list)) = answer.get("commands") else {
        return Err(field("commands", answer.get("commands"), "a list"));
    };
    list.iter().map(delivered).collect()
}

fn delivered(entry: &Value) -> Result<DeliveredCommand, BodyError> {
    let Value::Object(map) = entry else { return Err(field("commands[]", Some(entry), "an object")) };
    let number = |name: &'static str| {
        map.get(name).and_then(Value::as_u64).ok_or_else(|| field(name, map.get(name), "a whole number"))
    };
    let time = |name: &'static str| {
        let time = map.get(name).and_then(Value::as_str).and_then(|t| t.parse().ok());
        time.ok_or_else(|| field(name, map.get(name), "a time such as `2026-01-31T12:00:00Z`"))
    };
    let id = map.get("id").and_then(Value::as_str).and_then(|id| CommandId::parse(id).ok());
    Ok(DeliveredCommand {
        id: id.ok_or_else(|| field("id", map.get("id"), "1 to 64 of `A-Za-z0-9._-`"))?,
        attempt: u32::try_from(number("attempt")?).unwrap_or(u32::MAX),
        lease_secs: number("lease_seconds")?,
        issued_at: time("issued_at")?,
        expires_at: time("expires_at")?,
        command: AgentCommand::read(map),
    })
}

fn field(field: &'static str, found: Option<&Value>, expected: &'static str) -> BodyError {
    BodyError::Field { field, found: found.map_or("missing", body::type_name), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::domain::command::CommandStatus;
    use crate::domain::id::{SecretId, TunnelId};
    use secrecy::ExposeSecret;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn restart() -> Command {
        Command {
            id: CommandId::new("c-1"),
            kind: CommandKind::RestartTunnel {
                tunnel_id: TunnelId::new("u1"),
                tunnel_name: "edge".into(),
                secret_id: SecretId::new("s1"),
            },
            status: CommandStatus::Queued,
            attempt: 2,
            queued_at: at("2026-01-31T11:59:00Z"),
            delivered_at: None,
            lease_until: None,
            expires_at: at("2026-01-31T12:59:00Z"),
            outcome: None,
        }
    }

    #[test]
    fn a_command_has_its_fixed_shape_and_comes_back() {
        let form = command_form(&restart(), Some(&"t0".into()), None, at("2026-01-31T12:00:00Z"), 30);
        let answer = commands(vec![form]);
        assert_eq!(
            answer,
            json!({"commands": [{
                "id": "c-1", "attempt": 2, "lease_seconds": 30, "issued_at": "2026-01-31T12:00:00Z",
                "expires_at": "2026-01-31T12:59:00Z", "action": "restart_tunnel", "tunnel_id": "u1",
                "tunnel_name": "edge", "token": "t0"}]})
        );

        let read = decode_commands(answer.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!((read.id.as_str(), read.attempt, read.lease_secs), ("c-1", 2, 30));
        let AgentCommand::RestartTunnel(order) = read.command else { panic!("{:?}", read.command) };
        assert_eq!(order.token.unwrap().expose_secret(), "t0");
    }

    #[test]
    fn a_command_that_could_not_be_acknowledged_is_an_error() {
        let good = Value::Object(command_form(&restart(), None, None, at("2026-01-31T12:00:00Z"), 30));
        for (name, value) in [
            ("id", json!(null)),
            ("id", json!("../x")),
            ("id", json!("..")),
            ("attempt", json!("1")),
            ("expires_at", json!("soon")),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            let error = decode_commands(json!({ "commands": [bad] }).to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
