//! Commands, and when their owner has to look at them again.

use super::origin::Origin;
use crate::db::entities::command;
use crate::db::needs::Needs;
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::CommandEvent;

/// Names the command that an event is about.
pub(super) fn needs(needs: &mut Needs, event: &CommandEvent) {
    needs.commands.insert(event.command().as_str().into());
}

/// Projects an event about a command.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &CommandEvent) {
    match event {
        CommandEvent::Queued { .. } => queue(unit, origin, event),
        _ => {
            unit.commands.change(&event.command().as_str().into(), |command| advance(command, origin, event))
        }
    }
}

fn queue(unit: &mut Unit, origin: Origin<'_>, event: &CommandEvent) {
    let CommandEvent::Queued { agent_id, command_id, command, expires_at } = event else {
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

fn advance(command: &mut command::Model, origin: Origin<'_>, event: &CommandEvent) {
    match event {
        CommandEvent::Delivered { attempt, lease_until, .. } => {
            command.status = "delivered".into();
            command.attempt = i32::try_from(*attempt).unwrap_or(i32::MAX);
            command.delivered_at = Some(origin.at);
            command.lease_until = Some(micros(*lease_until));
            command.due_at = command.lease_until;
        }
        CommandEvent::Acknowledged { .. } => command.status = "acknowledged".into(),
        CommandEvent::Renewed { lease_until, .. } => {
            command.lease_until = Some(micros(*lease_until));
            command.due_at = command.lease_until;
        }
        CommandEvent::Requeued { .. } => {
            command.status = "queued".into();
            command.lease_until = None;
            command.due_at = Some(command.expires_at);
        }
        CommandEvent::Postponed { expires_at, .. } => {
            command.expires_at = micros(*expires_at);
            // One that an agent has waits for the end of its lease, one that ended for nothing.
            if command.status == "queued" {
                command.due_at = Some(command.expires_at);
            }
        }
        CommandEvent::Finished { outcome, .. } => {
            command.outcome = Some(to_json(outcome));
            end(command, if outcome.succeeded { "succeeded" } else { "failed" }, origin.at);
        }
        CommandEvent::Expired { .. } => end(command, "expired", origin.at),
        CommandEvent::Queued { .. } => {}
    }
}

fn end(command: &mut command::Model, status: &str, at: i64) {
    command.status = status.into();
    command.lease_until = None;
    command.due_at = None;
    command.ended_at = Some(at);
}
