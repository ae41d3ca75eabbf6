//! Answers of the master, in the words DockFlare agents and scripts know.

use serde_json::{Map, Value, json};

use crate::protocol::body::{self, BodyError};
use crate::protocol::command::AgentCommand;

/// 401, whatever is wrong with the key.
pub const UNAUTHENTICATED: &str = "Missing or invalid Authorization header.";
/// 403, for an agent that belongs to another key.
pub const KEY_MISMATCH: &str = "API key mismatch for agent.";
/// 404, for an id that nobody registered.
pub const AGENT_NOT_FOUND: &str = "Agent not found.";
/// 202, for any event that could be read.
pub const EVENT_ACCEPTED: &str = "Event received and processed.";
/// 415, for a body that is not declared as JSON.
pub const NOT_JSON_TYPE: &str = "Send the body as JSON, with the header `Content-Type: application/json`.";

/// `{"status":"error","message":...}`.
pub fn error(message: &str) -> Value {
    json!({ "status": "error", "message": message })
}

/// `{"status":"success","message":...}`.
pub fn success(message: &str) -> Value {
    json!({ "status": "success", "message": message })
}

/// `{"status":"success", ...fields}`.
pub fn success_with(mut fields: Map<String, Value>) -> Value {
    fields.insert("status".into(), json!("success"));
    Value::Object(fields)
}

/// The answer to a poll; `commands` are wire forms, oldest first.
pub fn commands(commands: Vec<Map<String, Value>>) -> Value {
    json!({ "status": "success", "commands": commands })
}

/// Reads the answer to a poll, on the agent. Entries that are no objects are dropped.
pub fn decode_commands(body: &[u8]) -> Result<Vec<AgentCommand>, BodyError> {
    let answer = body::parse_object(body)?;
    match answer.get("commands") {
        Some(Value::Array(list)) => {
            Ok(list.iter().filter_map(Value::as_object).map(AgentCommand::read).collect())
        }
        other => Err(BodyError::Field {
            field: "commands",
            found: other.map_or("missing", body::type_name),
            expected: "a list",
        }),
    }
}

/// Cloudflare's envelope around a result, for the two routes that stand in for its API.
pub fn cloudflare_success(result: Value) -> Value {
    json!({ "success": true, "errors": [], "messages": [], "result": result })
}

/// Cloudflare's envelope around a refusal. Its code is the HTTP status: Cloudflare's own ones say what Cloudflare
/// refused.
pub fn cloudflare_error(status: u16, message: &str) -> Value {
    let errors = json!([{ "code": status, "message": message }]);
    json!({ "success": false, "errors": errors, "messages": [], "result": null })
}

/// Says if a `Content-Type` declares JSON (`application/json`, `application/*+json`, any parameters).
pub fn is_json_type(content_type: &str) -> bool {
    // Every heartbeat is asked this, and nearly all say just that.
    if content_type == "application/json" {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_with_parameters() {
        for (header, wanted) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json_type(header), wanted, "{header:?}");
        }
    }

    #[test]
    fn an_answer_without_a_command_list_is_an_error() {
        for body in [r#"{"status":"success"}"#, r#"{"commands":null}"#, "[]", "<html>"] {
            assert!(decode_commands(body.as_bytes()).is_err(), "{body}");
        }
    }
}
