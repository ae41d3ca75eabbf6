//! Families of commands. One knows nothing of another: what is open in one neither holds up nor ends what is asked for in
//! another.

use std::time::Duration;

use super::dialect::Dialect;
use crate::domain::command::{Command, CommandKind};
use crate::domain::event::CommandEvent;
use crate::domain::id::AgentId;

/// Commands about one matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The agent's tunnel and its connector.
    Tunnel,
    /// What a person wants to see of the host now.
    Sight,
    /// What is pending on the agent's host.
    Updates,
    /// Made by a newer release, and kept for it: this one hands none over and ends none but with its agent.
    Unknown,
}

/// How the commands of a family are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long one may wait for its agent, unless its kind says less.
    pub lifetime: Duration,
    /// How long an agent of ours that has acknowledged one is left alone.
    pub lease: Duration,
    /// Within this time an agent of ours acknowledges one, else the answer did not reach it.
    pub acknowledge_within: Duration,
    /// Who can be told, by what they speak.
    pub dialects: &'static [Dialect],
    /// True if an agent that tells how far it is with one is left alone for another lease, also after the time until which
    /// it might wait.
    pub renewed_by_progress: bool,
    /// True if another tunnel ends those that are open: it takes the place of what they are about.
    pub ends_with_tunnel: bool,
}

impl Family {
    /// Returns its rules: one row a family.
    pub const fn rules(self) -> Rules {
        match self {
            Self::Tunnel => Rules {
                lifetime: Duration::from_secs(7 * 86_400),
                // Pulling an image takes its time.
                lease: Duration::from_secs(120),
                acknowledge_within: Duration::from_secs(5),
                dialects: &[Dialect::V2, Dialect::Native],
                renewed_by_progress: false,
                ends_with_tunnel: true,
            },
            Self::Sight => Rules {
                // Whoever asked has gone by then.
                lifetime: Duration::from_secs(600),
                lease: Duration::from_secs(30),
                acknowledge_within: Duration::from_secs(5),
                dialects: &[Dialect::Native],
                renewed_by_progress: false,
                ends_with_tunnel: false,
            },
            Self::Updates => Rules {
                // A look that was asked for an hour ago is no answer to anybody.
                lifetime: Duration::from_secs(3_600),
                // Package managers take their time, and registries theirs.
                lease: Duration::from_secs(600),
                acknowledge_within: Duration::from_secs(5),
                dialects: &[Dialect::Native, Dialect::RedFlag],
                renewed_by_progress: true,
                ends_with_tunnel: false,
            },
            Self::Unknown => Rules { dialects: &[], ends_with_tunnel: false, ..Self::Tunnel.rules() },
        }
    }
}

impl CommandKind {
    /// Returns the family it belongs to.
    pub fn family(&self) -> Family {
        match self {
            Self::StartTunnel { .. } | Self::RestartTunnel { .. } | Self::StopTunnel => Family::Tunnel,
            Self::ConnectorLog => Family::Sight,
            Self::ScanUpdates
            | Self::PlanUpdates { .. }
            | Self::CarryOutPlan { .. }
            | Self::CancelRun { .. }
            | Self::DryRunUpdate(_)
            | Self::ConfirmDependencies { .. }
            | Self::EnableHeartbeat { .. }
            | Self::DisableHeartbeat
            | Self::Reboot(_) => Family::Updates,
            Self::Unknown => Family::Unknown,
        }
    }
}

/// Says whether a command of a family is on its way.
pub fn is_busy<'a>(commands: impl IntoIterator<Item = &'a Command>, family: Family) -> bool {
    commands.into_iter().any(|command| command.status.is_open() && command.kind.family() == family)
}

/// What makes commands pointless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Superseding {
    /// The agent gets another tunnel, or another token for it.
    Tunnel,
    /// The agent is removed.
    Removal,
}

/// Ends the open commands that are pointless by it.
pub fn superseded(agent_id: &AgentId, commands: &[Command], by: Superseding) -> Vec<CommandEvent> {
    let is_over = |command: &&Command| match by {
        Superseding::Tunnel => command.kind.family().rules().ends_with_tunnel,
        Superseding::Removal => true,
    };
    let over = commands.iter().filter(|command| command.status.is_open()).filter(is_over);
    let expired = |command: &Command| CommandEvent::Expired {
        agent_id: agent_id.clone(),
        command_id: command.id.clone(),
    };
    over.map(expired).collect()
}
