//! Commands on the wire, in the spellings of both dialects.
//!
//! `start_tunnel` carries its token in `token`, `restart_tunnel` in `tunnel_token`: a DockFlare agent reads
//! exactly those two, so both are kept. Reading accepts either name for either action.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::domain::command::CommandKind;
use crate::domain::id::TunnelId;
use crate::domain::order::SignedOrder;
use crate::domain::update::{PlanAsk, RunId};

/// Longest token, tunnel id or name that is taken from the wire.
const TEXT_LIMIT: usize = 4096;

/// What an agent is asked to do.
#[derive(Debug, Clone)]
pub enum AgentCommand {
    /// Run this tunnel; what is absent stays as it is.
    StartTunnel(TunnelOrder),
    /// Replace the connector in any case; all three parts are needed.
    RestartTunnel(TunnelOrder),
    /// Stop and remove the connector and forget its token.
    StopTunnel,
    /// Tell the last lines that the connector wrote, in the result.
    ConnectorLog,
    /// Look at the host for pending updates now.
    ScanUpdates,
    /// Work out what would be changed, and tell it.
    PlanUpdates(PlanAsk),
    /// Change the host, as the order says that the master signed.
    CarryOut(SignedOrder),
    /// Stop a run at its next safe point.
    CancelRun {
        /// Which run.
        run: RunId,
        /// Who wants it.
        by: String,
    },
    /// Push these rules through the master's Cloudflare routes; only old masters would ask.
    UpdateTunnelConfig {
        /// `rules` as it came: an object of rules by key.
        rules: Value,
    },
    /// An action this agent does not know; it answers so.
    Unsupported {
        /// The word that was sent, cut to 64 characters.
        action: String,
    },
}

/// Which tunnel to run. A DockFlare Master may leave parts out.
#[derive(Debug, Clone, Default)]
pub struct TunnelOrder {
    /// Which tunnel.
    pub tunnel_id: Option<TunnelId>,
    /// Its name.
    pub tunnel_name: Option<String>,
    /// What opens it.
    pub token: Option<SecretString>,
}

impl AgentCommand {
    /// Reads the parts of `command` that say what to do. Blank texts count as absent.
    pub fn read(command: &Map<String, Value>) -> Self {
        match command.get("action").and_then(Value::as_str) {
            Some("start_tunnel") => Self::StartTunnel(TunnelOrder::read(command)),
            Some("restart_tunnel") => Self::RestartTunnel(TunnelOrder::read(command)),
            Some("stop_tunnel") => Self::StopTunnel,
            Some("connector_log") => Self::ConnectorLog,
            Some("scan_updates") => Self::ScanUpdates,
            Some("plan_updates") => {
                part(command, "ask").map_or_else(|| Self::unread("plan_updates"), Self::PlanUpdates)
            }
            Some("carry_out_plan") => {
                part(command, "order").map_or_else(|| Self::unread("carry_out_plan"), Self::CarryOut)
            }
            Some("cancel_run") => match (part(command, "run"), part(command, "by")) {
                (Some(run), Some(by)) => Self::CancelRun { run, by },
                _ => Self::unread("cancel_run"),
            },
            Some("update_tunnel_config") => {
                Self::UpdateTunnelConfig { rules: command.get("rules").cloned().unwrap_or_default() }
            }
            other => Self::Unsupported { action: other.unwrap_or("(none)").chars().take(64).collect() },
        }
    }

    /// A part of it is not what this agent can read: a newer master's, or damaged.
    fn unread(action: &str) -> Self {
        Self::Unsupported { action: format!("{action} (it cannot be read)") }
    }

    /// Writes the command as [`AgentCommand::read`] reads it, token included: for files that only we read.
    pub fn form(&self) -> Map<String, Value> {
        let mut form = Map::new();
        form.insert("action".into(), json!(self.action()));
        match self {
            Self::StartTunnel(order) | Self::RestartTunnel(order) => order.write(&mut form),
            Self::UpdateTunnelConfig { rules } => {
                form.insert("rules".into(), rules.clone());
            }
            Self::PlanUpdates(ask) => drop(form.insert("ask".into(), json!(ask))),
            Self::CarryOut(order) => drop(form.insert("order".into(), json!(order))),
            Self::CancelRun { run, by } => {
                form.insert("run".into(), json!(run));
                form.insert("by".into(), json!(by));
            }
            Self::StopTunnel | Self::ConnectorLog | Self::ScanUpdates | Self::Unsupported { .. } => {}
        }
        form
    }

    /// The word on the wire.
    pub fn action(&self) -> &str {
        match self {
            Self::StartTunnel(_) => "start_tunnel",
            Self::RestartTunnel(_) => "restart_tunnel",
            Self::StopTunnel => "stop_tunnel",
            Self::ConnectorLog => "connector_log",
            Self::ScanUpdates => "scan_updates",
            Self::PlanUpdates(_) => "plan_updates",
            Self::CarryOut(_) => "carry_out_plan",
            Self::CancelRun { .. } => "cancel_run",
            Self::UpdateTunnelConfig { .. } => "update_tunnel_config",
            Self::Unsupported { action } => action,
        }
    }
}

/// Reads a part of a command that has a form of its own.
fn part<T: DeserializeOwned>(command: &Map<String, Value>, field: &str) -> Option<T> {
    serde_json::from_value(command.get(field)?.clone()).ok()
}

impl TunnelOrder {
    fn read(command: &Map<String, Value>) -> Self {
        let text = |field: &str| {
            let text = command.get(field)?.as_str()?.trim();
            (!text.is_empty() && text.len() <= TEXT_LIMIT).then(|| text.to_owned())
        };
        Self {
            tunnel_id: text("tunnel_id").map(TunnelId::new),
            tunnel_name: text("tunnel_name"),
            token: text("token").or_else(|| text("tunnel_token")).map(SecretString::from),
        }
    }

    fn write(&self, form: &mut Map<String, Value>) {
        let token = self.token.as_ref().map(|t| json!(t.expose_secret()));
        let fields = [
            ("tunnel_id", self.tunnel_id.as_ref().map(|id| json!(id))),
            ("tunnel_name", self.tunnel_name.as_ref().map(|name| json!(name))),
            ("token", token),
        ];
        form.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
}

/// Writes a command as a DockFlare agent reads it. Without `token` the field is absent, as on admin pages.
pub fn wire_form(kind: &CommandKind, token: Option<&SecretString>) -> Map<String, Value> {
    let mut form = Map::new();
    form.insert("action".into(), json!(kind.action()));
    let token_field = match kind {
        CommandKind::StartTunnel { tunnel_id, tunnel_name, .. } => {
            insert_tunnel(&mut form, tunnel_id, tunnel_name);
            "token"
        }
        CommandKind::RestartTunnel { tunnel_id, tunnel_name, .. } => {
            insert_tunnel(&mut form, tunnel_id, tunnel_name);
            "tunnel_token"
        }
        // Nothing of another family is handed over.
        CommandKind::StopTunnel
        | CommandKind::ConnectorLog
        | CommandKind::ScanUpdates
        | CommandKind::PlanUpdates { .. }
        | CommandKind::CarryOutPlan { .. }
        | CommandKind::CancelRun { .. }
        | CommandKind::DryRunUpdate(_)
        | CommandKind::ConfirmDependencies { .. }
        | CommandKind::EnableHeartbeat { .. }
        | CommandKind::DisableHeartbeat
        | CommandKind::Reboot(_)
        | CommandKind::Unknown => return form,
    };
    if let Some(token) = token {
        form.insert(token_field.into(), json!(token.expose_secret()));
    }
    form
}

fn insert_tunnel(form: &mut Map<String, Value>, id: &TunnelId, name: &str) {
    form.insert("tunnel_id".into(), json!(id));
    form.insert("tunnel_name".into(), json!(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::domain::id::SecretId;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn order(command: &AgentCommand) -> &TunnelOrder {
        match command {
            AgentCommand::StartTunnel(order) | AgentCommand::RestartTunnel(order) => order,
            other => panic!("no tunnel order: {other:?}"),
        }
    }

    #[test]
    fn each_action_carries_its_token_under_the_name_agents_read() {
        let token = SecretString::from("t0");
        let start = CommandKind::StartTunnel {
            tunnel_id: TunnelId::new("u1"),
            tunnel_name: "edge".into(),
            secret_id: SecretId::new("s1"),
        };
        let restart = CommandKind::RestartTunnel {
            tunnel_id: TunnelId::new("u1"),
            tunnel_name: "edge".into(),
            secret_id: SecretId::new("s1"),
        };

        let golden = [
            (
                wire_form(&start, Some(&token)),
                json!({"action":"start_tunnel","tunnel_id":"u1","tunnel_name":"edge","token":"t0"}),
            ),
            (
                wire_form(&restart, Some(&token)),
                json!({"action":"restart_tunnel","tunnel_id":"u1","tunnel_name":"edge","tunnel_token":"t0"}),
            ),
            (wire_form(&start, None), json!({"action":"start_tunnel","tunnel_id":"u1","tunnel_name":"edge"})),
            (wire_form(&CommandKind::StopTunnel, Some(&token)), json!({"action":"stop_tunnel"})),
        ];
        for (form, wanted) in golden {
            assert_eq!(Value::Object(form), wanted);
        }
    }

    #[test]
    fn both_token_spellings_are_read_for_both_actions() {
        for action in ["start_tunnel", "restart_tunnel"] {
            for field in ["token", "tunnel_token"] {
                let command = AgentCommand::read(&object(json!({"action": action, field: " t0 "})));
                assert_eq!(command.action(), action);
                assert_eq!(order(&command).token.as_ref().unwrap().expose_secret(), "t0");
                assert!(order(&command).tunnel_id.is_none());
            }
        }
    }

    #[test]
    fn unknown_and_missing_actions_are_named() {
        for (command, action) in
            [(json!({"action": "reboot"}), "reboot"), (json!({}), "(none)"), (json!({"action": 5}), "(none)")]
        {
            let command = AgentCommand::read(&object(command));
            assert!(
                matches!(&command, AgentCommand::Unsupported { action: a } if a == action),
                "{command:?}"
            );
        }
    }

    #[test]
    fn a_command_comes_back_from_its_own_form() {
        for form in [
            json!({"action": "start_tunnel", "token": "t0"}),
            json!({"action": "restart_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t0"}),
            json!({"action": "stop_tunnel"}),
            json!({"action": "update_tunnel_config", "rules": {"a": {"status": "active"}}}),
            json!({"action": "reboot"}),
            json!({"action": "plan_updates", "ask": {"install": {"named": ["apt:bash"]}}}),
            json!({"action": "plan_updates", "ask": {"undo": {"run": "20260131-120000-x7k2"}}}),
            json!({"action": "cancel_run", "run": "20260131-120000-x7k2", "by": "ann"}),
            json!({"action": "carry_out_plan", "order": {"content": "{}", "signature": "00", "key": "ab-cd"}}),
        ] {
            assert_eq!(Value::Object(AgentCommand::read(&object(form.clone())).form()), form);
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let command = AgentCommand::read(&object(json!({"action": "start_tunnel", "token": "hidden-token"})));
        assert!(!format!("{command:?}").contains("hidden-token"));
    }
}
