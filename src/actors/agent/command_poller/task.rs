//! What the poller hands to whoever carries it out, and how it hears back.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use crate::domain::command::Outcome;
use crate::domain::id::{CommandId, TunnelId};
use crate::domain::order::SignedOrder;
use crate::domain::update::{PlanAsk, RunId};
use crate::protocol::command::{AgentCommand, TunnelOrder};

/// What is to be done with the tunnel.
#[derive(Debug, Clone)]
pub enum TunnelWork {
    /// Run this tunnel; parts that are absent stay as they are, and one that runs already is left alone.
    Start(TunnelOrder),
    /// Replace the connector in any case.
    Restart {
        /// Which tunnel.
        tunnel_id: TunnelId,
        /// Its name.
        tunnel_name: String,
        /// What opens it.
        token: SecretString,
    },
    /// Stop and remove the connector and forget its token.
    Stop,
}

/// A command for whoever runs the tunnel. Carrying out the same one twice must do no harm.
pub struct TunnelTask {
    /// Which command it is.
    pub id: CommandId,
    /// What to do.
    pub work: TunnelWork,
    /// Takes how it ended. Dropped unused, as a restart does, it makes the poller hand the task over again.
    pub reply: TaskReply,
}

/// Hands a task over; gives it back if it cannot be taken now.
pub type SendTask = Arc<dyn Fn(TunnelTask) -> Result<(), Box<TunnelTask>> + Send + Sync>;

/// What is to be worked out or changed on the host.
#[derive(Debug, Clone)]
pub enum HostWork {
    /// Work out what would be changed, and tell it.
    Plan(PlanAsk),
    /// Carry out what the master signed.
    CarryOut(Box<SignedOrder>),
    /// Have a run stop at its next safe point.
    Cancel {
        /// Which run.
        run: RunId,
        /// Who wants it.
        by: String,
    },
}

/// A command for whoever changes the host. Carrying out the same one twice must do no harm.
#[derive(Debug)]
pub struct HostTask {
    /// Which command it is.
    pub id: CommandId,
    /// What to do.
    pub work: HostWork,
    /// How far the master's clock is ahead of this host's, if it is known.
    pub ahead: Option<TimeDelta>,
    /// When the command expired, by this host's clock; none if it did not. What was begun before is gone on with.
    pub expired: Option<DateTime<Utc>>,
    /// Takes how it ended. Dropped unused, as a restart does, it makes the poller hand the task over again.
    pub reply: TaskReply,
}

/// Hands a task for the host over; gives it back if it cannot be taken now.
pub type SendHostTask = Arc<dyn Fn(HostTask) -> Result<(), Box<HostTask>> + Send + Sync>;

/// Takes the outcome of one task, once.
pub struct TaskReply(Option<Box<dyn FnOnce(Option<Outcome>) + Send>>);

impl TaskReply {
    /// Calls `tell` with the outcome, or with nothing if none was ever given.
    pub fn new(tell: impl FnOnce(Option<Outcome>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells how the task ended.
    pub fn send(mut self, outcome: Outcome) {
        if let Some(tell) = self.0.take() {
            tell(Some(outcome));
        }
    }

    /// Nothing is told: the task was never taken.
    pub(super) fn cancel(mut self) {
        self.0 = None;
    }
}

impl Drop for TaskReply {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(None);
        }
    }
}

impl std::fmt::Debug for TaskReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TaskReply")
    }
}

impl std::fmt::Debug for TunnelTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelTask").field("id", &self.id).field("work", &self.work).finish_non_exhaustive()
    }
}

/// What has to happen for a command.
pub(super) enum Action {
    Tunnel(TunnelWork),
    PutIngress(serde_json::Value),
    ConnectorLog,
    Scan,
    Host(HostWork),
    /// It cannot be carried out; the words go into its result.
    Refuse(String),
}

impl Action {
    pub(super) fn of(command: &AgentCommand) -> Self {
        match command {
            AgentCommand::StartTunnel(order) => Self::Tunnel(TunnelWork::Start(order.clone())),
            AgentCommand::RestartTunnel(order) => match order.clone() {
                TunnelOrder {
                    tunnel_id: Some(tunnel_id),
                    tunnel_name: Some(tunnel_name),
                    token: Some(token),
                } => Self::Tunnel(TunnelWork::Restart { tunnel_id, tunnel_name, token }),
                _ => Self::Refuse(
                    "restart_tunnel needs tunnel_id, tunnel_name and tunnel_token; one is missing".into(),
                ),
            },
            AgentCommand::StopTunnel => Self::Tunnel(TunnelWork::Stop),
            AgentCommand::ConnectorLog => Self::ConnectorLog,
            AgentCommand::ScanUpdates => Self::Scan,
            AgentCommand::PlanUpdates(ask) => Self::Host(HostWork::Plan(ask.clone())),
            AgentCommand::CarryOut(order) => Self::Host(HostWork::CarryOut(Box::new(order.clone()))),
            AgentCommand::CancelRun { run, by } => {
                Self::Host(HostWork::Cancel { run: run.clone(), by: by.clone() })
            }
            AgentCommand::UpdateTunnelConfig { rules } => match super::ingress::ingress(rules) {
                Some(list) => Self::PutIngress(list),
                None => Self::Refuse("update_tunnel_config needs an object in `rules`".into()),
            },
            AgentCommand::Unsupported { action } => {
                Self::Refuse(format!("unsupported: this agent does not know the action `{action}`"))
            }
        }
    }
}
