//! When a command that was handed over goes back to the queue, and when it is given up. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::actors::master::requests::Dialect;
use crate::domain::command::{Command, CommandKind, CommandStatus};

/// How long a DockFlare agent has to show that it did what it was told: it pulls an image at most.
pub const LEGACY_LEASE: TimeDelta = TimeDelta::seconds(90);
/// How often a DockFlare agent is told again.
pub const LEGACY_REPEATS: u32 = 3;

/// What is to be done about a command whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It waits, or is being carried out.
    Nothing,
    /// It is handed over again.
    Requeue,
    /// It is given up: too old, or never confirmed.
    Expire,
}

/// Says what is due about an open command.
///
/// Our agents know a command by its id, so it may be handed over again until it expires. DockFlare agents do not:
/// starting and stopping change nothing a second time and are repeated, a restart would cut the door again.
pub fn due(command: &Command, dialect: Dialect, now: DateTime<Utc>) -> Due {
    let is_over = command.expires_at <= now;
    match command.status {
        CommandStatus::Queued if is_over => Due::Expire,
        CommandStatus::Delivered | CommandStatus::Acknowledged
            if command.lease_until.is_none_or(|at| at <= now) =>
        {
            if is_over || !may_repeat(command, dialect) {
                Due::Expire
            } else {
                Due::Requeue
            }
        }
        _ => Due::Nothing,
    }
}

fn may_repeat(command: &Command, dialect: Dialect) -> bool {
    match (dialect, &command.kind) {
        (Dialect::Native, _) => true,
        (Dialect::V2, CommandKind::RestartTunnel { .. }) => false,
        (Dialect::V2, CommandKind::StartTunnel { .. } | CommandKind::StopTunnel) => {
            command.attempt <= LEGACY_REPEATS
        }
    }
}

/// True if a running tunnel of this name shows that a DockFlare agent carried the command out.
pub fn is_confirmed_by(command: &Command, tunnel_name: Option<&str>) -> bool {
    let handed_over = matches!(command.status, CommandStatus::Delivered | CommandStatus::Acknowledged);
    match &command.kind {
        CommandKind::StartTunnel { tunnel_name: wanted, .. } => {
            handed_over && tunnel_name.is_none_or(|name| name == wanted)
        }
        CommandKind::RestartTunnel { .. } | CommandKind::StopTunnel => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{CommandId, SecretId, TunnelId};

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn command(kind: &str, status: CommandStatus, attempt: u32) -> Command {
        let (tunnel_id, tunnel_name) = (TunnelId::new("t"), "edge".to_owned());
        let secret_id = SecretId::new("s");
        let kind = match kind {
            "start" => CommandKind::StartTunnel { tunnel_id, tunnel_name, secret_id },
            "restart" => CommandKind::RestartTunnel { tunnel_id, tunnel_name, secret_id },
            _ => CommandKind::StopTunnel,
        };
        Command {
            id: CommandId::new("c"),
            kind,
            status,
            attempt,
            queued_at: at(0),
            delivered_at: Some(at(0)),
            lease_until: (status != CommandStatus::Queued).then(|| at(90)),
            expires_at: at(3600),
            outcome: None,
        }
    }

    #[test]
    fn what_is_handed_over_comes_back_until_it_is_given_up() {
        use CommandStatus::{Acknowledged, Delivered, Queued, Succeeded};
        use Dialect::{Native, V2};
        let cases = [
            ("start", Queued, 0, V2, 100, Due::Nothing),
            ("start", Queued, 0, V2, 3600, Due::Expire),
            ("start", Delivered, 1, V2, 89, Due::Nothing),
            ("start", Delivered, 1, V2, 90, Due::Requeue),
            ("start", Delivered, 3, V2, 90, Due::Requeue),
            ("start", Delivered, 4, V2, 90, Due::Expire),
            ("start", Delivered, 9, Native, 90, Due::Requeue),
            ("start", Acknowledged, 1, Native, 90, Due::Requeue),
            ("start", Acknowledged, 1, Native, 3600, Due::Expire),
            ("restart", Delivered, 1, V2, 90, Due::Expire),
            ("restart", Delivered, 1, Native, 90, Due::Requeue),
            ("stop", Delivered, 1, V2, 90, Due::Requeue),
            ("stop", Succeeded, 1, V2, 9999, Due::Nothing),
        ];
        for (kind, status, attempt, dialect, secs, expected) in cases {
            let found = due(&command(kind, status, attempt), dialect, at(secs));
            assert_eq!(found, expected, "{kind} {status:?} attempt {attempt} {dialect:?} after {secs} s");
        }
    }

    #[test]
    fn a_running_tunnel_confirms_the_start_that_was_handed_over() {
        let start = command("start", CommandStatus::Delivered, 1);
        assert!(is_confirmed_by(&start, Some("edge")) && is_confirmed_by(&start, None));
        assert!(!is_confirmed_by(&start, Some("other")));
        assert!(!is_confirmed_by(&command("start", CommandStatus::Queued, 0), Some("edge")));
        assert!(!is_confirmed_by(&command("restart", CommandStatus::Delivered, 1), Some("edge")));
    }
}
