//! What the database holds of one agent's open commands.

use chrono::{DateTime, Utc};

use super::own::Own;
use crate::actors::master::error::MasterError;
use crate::db;
use crate::db::agents::Standing;
use crate::domain::command::{Command, CommandStatus};
use crate::domain::delivery;
use crate::domain::event::{AgentStream, CommandEvent, Stream};
use crate::domain::id::CommandId;

/// A cache: read again whenever it may be wrong.
pub struct OpenCommands {
    /// Where the agent stands.
    pub standing: Standing,
    /// Version of the agent's stream of commands.
    pub version: u64,
    /// Commands that are not at their end, in the order they were queued.
    pub open: Vec<Command>,
}

impl OpenCommands {
    /// Reads it.
    pub async fn read(own: &Own) -> Result<Self, MasterError> {
        let standing = db::agents::find_standing(&own.env.db, &own.agent).await?;
        // The version first: what is written after it shows as a conflict.
        let version = db::events::stream_version(&own.env.db, &Stream::commands(&own.agent)).await?;
        let open = db::commands::list_open_commands(&own.env.db, &own.agent).await?;
        Ok(Self { standing, version, open })
    }

    /// Returns the open commands as they are to be judged at `now`: a leap of the clock that is still on its way to
    /// them has moved them already.
    pub fn as_of(&self, own: &Own, now: DateTime<Utc>) -> Vec<Command> {
        let mut open = self.open.clone();
        let missed = own.env.leaps.missed_by(&own.agent);
        if !missed.is_zero() {
            let moved = delivery::postpone(&own.agent, &open, missed, now);
            moved.iter().for_each(|event| apply(&mut open, event, now));
        }
        open
    }
}

impl Own {
    /// True if the record went on since this was read.
    pub fn has_news(&self, known: &OpenCommands) -> bool {
        self.slot().is_none_or(|slot| {
            slot.has_more(AgentStream::Standing, known.standing.version)
                || slot.has_more(AgentStream::Commands, known.version)
        })
    }

    /// Tells the slot how many commands may be fetched.
    pub fn count(&self, open: &[Command]) {
        if let Some(slot) = self.slot() {
            let dialect = slot.dialect();
            slot.set_queued(open.iter().filter(|open| delivery::may_be_fetched(open, dialect)).count());
        }
    }
}

/// Carries an event of a commands stream out on the open commands.
pub fn apply(open: &mut Vec<Command>, event: &CommandEvent, now: DateTime<Utc>) {
    match event {
        CommandEvent::Queued { command_id, command, expires_at, .. } => open.push(Command {
            id: command_id.clone(),
            kind: command.clone(),
            status: CommandStatus::Queued,
            attempt: 0,
            queued_at: now,
            delivered_at: None,
            lease_until: None,
            expires_at: *expires_at,
            outcome: None,
        }),
        CommandEvent::Delivered { command_id, attempt, lease_until, .. } => {
            change(open, command_id, |command| {
                command.status = CommandStatus::Delivered;
                command.attempt = *attempt;
                command.delivered_at = Some(now);
                command.lease_until = Some(*lease_until);
            })
        }
        CommandEvent::Acknowledged { command_id, .. } => {
            change(open, command_id, |command| command.status = CommandStatus::Acknowledged);
        }
        CommandEvent::Requeued { command_id, .. } => change(open, command_id, |command| {
            command.status = CommandStatus::Queued;
            command.lease_until = None;
        }),
        CommandEvent::Postponed { command_id, expires_at, .. } => {
            change(open, command_id, |command| command.expires_at = *expires_at);
        }
        CommandEvent::Finished { command_id, .. } | CommandEvent::Expired { command_id, .. } => {
            open.retain(|command| command.id != *command_id);
        }
    }
}

fn change(open: &mut [Command], id: &CommandId, change: impl FnOnce(&mut Command)) {
    if let Some(command) = open.iter_mut().find(|command| command.id == *id) {
        change(command);
    }
}
