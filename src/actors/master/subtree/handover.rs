//! What goes along when commands are handed to their agent.

use secrecy::SecretString;

use super::open_commands::{OpenCommands, apply};
use super::own::Own;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{DeliveredCommand, Dialect};
use crate::db;
use crate::domain::command::Command;
use crate::domain::delivery;
use crate::domain::event::CommandEvent;
use crate::domain::id::CommandId;

/// Prepares a delivery: what is overdue goes back to the queue first, then the oldest are taken.
pub async fn hand_over(
    own: &Own,
    known: &OpenCommands,
    max: usize,
    dialect: Dialect,
) -> Result<(Vec<CommandEvent>, Vec<DeliveredCommand>), MasterError> {
    let now = own.env.now();
    let mut open = known.as_of(own, now);
    let mut events = delivery::decide_overdue(&own.agent, &open, now, dialect);
    events.iter().for_each(|event| apply(&mut open, event, now));
    let mut delivered = Vec::new();
    for event in delivery::hand_over(&own.agent, &open, now, dialect, max) {
        apply(&mut open, &event, now);
        let Some(command) = open.iter().find(|open| is_about(&event, &open.id)).cloned() else {
            continue;
        };
        match token_of(own, &command).await? {
            Ok(token) => {
                events.push(event);
                delivered.push(DeliveredCommand { command, token });
            }
            Err(SecretGone) => {
                tracing::error!(agent = %own.agent, command = %command.id, "the token of a command is gone");
                events.push(CommandEvent::Expired { agent_id: own.agent.clone(), command_id: command.id });
            }
        }
    }
    // What is not waited for after its delivery is decided about with it.
    events.extend(delivery::decide_overdue(&own.agent, &open, now, dialect));
    Ok((events, delivered))
}

fn is_about(event: &CommandEvent, id: &CommandId) -> bool {
    matches!(event, CommandEvent::Delivered { command_id, .. } if command_id == id)
}

/// The secret that a command needs is not there any more.
struct SecretGone;

/// Returns the token that goes along: none if the command needs none.
async fn token_of(
    own: &Own,
    command: &Command,
) -> Result<Result<Option<SecretString>, SecretGone>, MasterError> {
    let Some(id) = command.kind.secret_id() else {
        return Ok(Ok(None));
    };
    let token = db::secrets::find_secret(&own.env.db, id).await?;
    Ok(token.map(Some).ok_or(SecretGone))
}
