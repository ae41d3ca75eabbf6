//! Commands as they are made: what an agent is to do, queued with the decision that it comes from.

use std::time::Duration;

use chrono::TimeDelta;

use super::env::Env;
use super::error::MasterError;
use crate::db;
use crate::domain::command::{Command, CommandKind, CommandStatus};
use crate::domain::delivery::{self, Superseding, lifetime};
use crate::domain::event::CommandEvent;
use crate::domain::id::{AgentId, CommandId};

/// Makes a command that waits for its agent, at most `limit` or as long as one of its kind does.
pub fn new_command(env: &Env, kind: CommandKind, limit: Option<Duration>) -> Command {
    let queued_at = env.now();
    let expiry = limit.unwrap_or_else(|| lifetime(&kind));
    Command {
        id: CommandId::new(env.chance.sorted_uuid(&env.clock).to_string()),
        kind,
        status: CommandStatus::Queued,
        attempt: 0,
        queued_at,
        delivered_at: None,
        lease_until: None,
        expires_at: queued_at + TimeDelta::from_std(expiry).unwrap_or(TimeDelta::MAX),
        outcome: None,
    }
}

/// The event that queues a command.
pub fn queued(agent: &AgentId, command: &Command) -> CommandEvent {
    CommandEvent::Queued {
        agent_id: agent.clone(),
        command_id: command.id.clone(),
        command: command.kind.clone(),
        expires_at: command.expires_at,
    }
}

/// Ends what is pointless by a decision about the agent.
pub async fn superseded(
    env: &Env,
    agent: &AgentId,
    by: Superseding,
) -> Result<Vec<CommandEvent>, MasterError> {
    let open = db::commands::list_open_commands(&env.db, agent).await?;
    Ok(delivery::superseded(agent, &open, by))
}
