//! Commands, and when their owner has to look at them again.

use super::Origin;
use crate::db::entities::command;
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::Event;

/// Applies an event about a command.
pub(super) fn apply(unit: &mut Unit, origin: Origin<'_>, event: &Event) {
    match event {
        Event::CommandQueued { .. } => queue(unit, origin, event),
        Event::CommandDelivered { command_id, .. }
        | Event::CommandAcknowledged { command_id, .. }
        | Event::CommandRequeued { command_id, .. }
        | Event::CommandPostponed { command_id, .. }
        | Event::CommandFinished { command_id, .. }
        | Event::CommandExpired { command_id, .. } => {
            unit.commands.change(&command_id.as_str().into(), |command| advance(command, origin, event));
        }
        _ => {}
    }
}

fn queue(unit: &mut Unit, origin: Origin<'_>, event: &Event) {
    let Event::CommandQueued { agent_id, command_id, command, expires_at } = event else {
        return;
    };
    unit.commands.put(command::Model {
        id: command_id.as_str().into(),
        agent_id: agent_id.as_str().into(),
        queued_seq: origin.seq,
        kind: to_json(command),
        status: "queued".into(),
        attempt: 0,
        queued_at: origin.at,
        delivered_at: None,
        lease_until: None,
        expires_at: micros(*expires_at),
        due_at: Some(micros(*expires_at)),
        outcome: None,
        ended_at: None,
    });
}

fn advance(command: &mut command::Model, origin: Origin<'_>, event: &Event) {
    match event {
        Event::CommandDelivered { attempt, lease_until, .. } => {
            command.status = "delivered".into();
            command.attempt = i32::try_from(*attempt).unwrap_or(i32::MAX);
            command.delivered_at = Some(origin.at);
            command.lease_until = Some(micros(*lease_until));
            command.due_at = command.lease_until;
        }
        Event::CommandAcknowledged { .. } => command.status = "acknowledged".into(),
        Event::CommandRequeued { .. } => {
            command.status = "queued".into();
            command.lease_until = None;
            command.due_at = Some(command.expires_at);
        }
        Event::CommandPostponed { expires_at, .. } => {
            command.expires_at = micros(*expires_at);
            // One that an agent has waits for the end of its lease, one that ended for nothing.
            if command.status == "queued" {
                command.due_at = Some(command.expires_at);
            }
        }
        Event::CommandFinished { outcome, .. } => {
            command.outcome = Some(to_json(outcome));
            end(command, if outcome.succeeded { "succeeded" } else { "failed" }, origin.at);
        }
        Event::CommandExpired { .. } => end(command, "expired", origin.at),
        _ => {}
    }
}

fn end(command: &mut command::Model, status: &str, at: i64) {
    command.status = status.into();
    command.lease_until = None;
    command.due_at = None;
    command.ended_at = Some(at);
}
