//! Commands: what the master asks of an agent, and what becomes of them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::{ApprovalId, CommandId, RequestId, SecretId, TunnelId, UpdateId};
use super::update::{Kind, PlanAsk, PlanId, RebootAsk, RunId, Then};

/// What is to be done. Secrets are named, never held; the token is filled in at delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum CommandKind {
    /// Run this tunnel; changes nothing if it runs already.
    StartTunnel {
        /// Which tunnel.
        tunnel_id: TunnelId,
        /// Its name.
        tunnel_name: String,
        /// Where its token is kept.
        secret_id: SecretId,
    },
    /// Replace the connector in any case.
    RestartTunnel {
        /// Which tunnel.
        tunnel_id: TunnelId,
        /// Its name.
        tunnel_name: String,
        /// Where its token is kept.
        secret_id: SecretId,
    },
    /// Stop and remove the connector and forget its token.
    StopTunnel,
    /// Tell the last lines that the connector wrote.
    ConnectorLog,
    /// Look for pending updates now.
    ScanUpdates,
    /// Work out what would be changed, and tell it. Changes nothing.
    PlanUpdates {
        /// What was asked for, maybe of many hosts at once.
        request: RequestId,
        /// What to work out.
        ask: PlanAsk,
        /// What becomes of the answer.
        #[serde(default, skip_serializing_if = "Then::is_show")]
        then: Then,
    },
    /// Stop a run at its next safe point; what is done stays done.
    CancelRun {
        /// Which run of the host.
        run: RunId,
        /// Who wants it.
        by: String,
    },
    /// RedFlag's agents only: say what installing this brings along.
    DryRunUpdate(RedFlagUpdate),
    /// RedFlag's agents only: install this, with what comes along.
    ConfirmDependencies {
        /// What.
        #[serde(flatten)]
        update: RedFlagUpdate,
        /// What comes along.
        dependencies: Vec<String>,
    },
    /// RedFlag's agents only: check in every few seconds for a while.
    EnableHeartbeat {
        /// How long.
        duration_minutes: u32,
    },
    /// RedFlag's agents only: check in as often as before.
    DisableHeartbeat,
    /// RedFlag's agents only: start the host anew. Ours get a plan of it.
    Reboot(RebootAsk),
    /// Change the host as it was approved; the signed order is made at delivery.
    CarryOutPlan {
        /// Whose yes it is.
        approval: ApprovalId,
        /// The plan that was approved.
        plan: PlanId,
        /// Its place among the orders for this agent.
        number: u64,
    },
    /// Something that a newer release asked for. It is kept, so that going back a release stops no other command.
    #[serde(other)]
    Unknown,
}

impl CommandKind {
    /// The word on the wire.
    pub fn action(&self) -> &'static str {
        match self {
            Self::StartTunnel { .. } => "start_tunnel",
            Self::RestartTunnel { .. } => "restart_tunnel",
            Self::StopTunnel => "stop_tunnel",
            Self::ConnectorLog => "connector_log",
            Self::ScanUpdates => "scan_updates",
            Self::PlanUpdates { .. } => "plan_updates",
            Self::CancelRun { .. } => "cancel_run",
            Self::DryRunUpdate(_) => "dry_run_update",
            Self::ConfirmDependencies { .. } => "confirm_dependencies",
            Self::CarryOutPlan { .. } => "carry_out_plan",
            Self::EnableHeartbeat { .. } => "enable_heartbeat",
            Self::DisableHeartbeat => "disable_heartbeat",
            Self::Reboot(_) => "reboot",
            Self::Unknown => "unknown",
        }
    }

    /// The tunnel it concerns, if it concerns a certain one.
    pub fn tunnel_id(&self) -> Option<&TunnelId> {
        match self {
            Self::StartTunnel { tunnel_id, .. } | Self::RestartTunnel { tunnel_id, .. } => Some(tunnel_id),
            _ => None,
        }
    }

    /// The secret it needs at delivery.
    pub fn secret_id(&self) -> Option<&SecretId> {
        match self {
            Self::StartTunnel { secret_id, .. } | Self::RestartTunnel { secret_id, .. } => Some(secret_id),
            _ => None,
        }
    }
}

/// An update in the words of RedFlag's agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedFlagUpdate {
    /// Its id.
    pub update_id: UpdateId,
    /// Its kind.
    pub package_type: Kind,
    /// Its name.
    pub package_name: String,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// Waits for the agent to ask.
    Queued,
    /// Handed over (committed before the answer was sent).
    Delivered,
    /// The agent said that it has it.
    Acknowledged,
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Too old to be carried out, or nobody confirmed it; shown as unconfirmed.
    Expired,
}

impl CommandStatus {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Acknowledged => "acknowledged",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Says whether anything may still become of the command.
    pub fn is_open(self) -> bool {
        match self {
            Self::Queued | Self::Delivered | Self::Acknowledged => true,
            Self::Succeeded | Self::Failed | Self::Expired => false,
        }
    }
}

/// What a command that a person took back says of its end.
const CANCELLED: &str = "cancelled by ";

/// How a command ended, as the agent says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// True if it was carried out.
    pub succeeded: bool,
    /// What happened, in words; at most 2,000 characters, no secrets.
    pub message: String,
    /// When, by the agent's clock.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
}

impl Outcome {
    /// A person took it back; an agent that has it may do it all the same.
    pub fn cancelled_by(by: &str) -> Self {
        Self { succeeded: false, message: format!("{CANCELLED}{by}"), finished_at: None }
    }

    /// True if a person took it back.
    pub fn is_cancelled(&self) -> bool {
        !self.succeeded && self.message.starts_with(CANCELLED)
    }
}

/// A command with all that is recorded of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// What is to be done.
    pub kind: CommandKind,
    /// Where it stands.
    pub status: CommandStatus,
    /// How often it was handed over.
    pub attempt: u32,
    /// When it was queued, master time.
    pub queued_at: DateTime<Utc>,
    /// When it was last handed over.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Until when the agent that has it is left alone.
    pub lease_until: Option<DateTime<Utc>>,
    /// After this it is not handed over any more, master time.
    pub expires_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}
