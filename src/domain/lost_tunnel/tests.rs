//! Who is told to start a tunnel again, and how often.

use super::super::id::{CommandId, SecretId};
use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn assigned() -> TunnelId {
    TunnelId::new("t")
}

fn says(health: TunnelHealth, tunnel_id: Option<&str>) -> TunnelReport {
    TunnelReport {
        health,
        tunnel_id: tunnel_id.map(TunnelId::new),
        name: None,
        version: None,
        reason: None,
        ready_connections: None,
        connector_id: None,
        config_version: None,
        networks: None,
        observed_at: None,
    }
}

fn start() -> CommandKind {
    let (tunnel_id, secret_id) = (assigned(), SecretId::new("s"));
    CommandKind::StartTunnel { tunnel_id, tunnel_name: "edge".into(), secret_id }
}

/// A command that was queued and handed over at this time.
fn command(kind: CommandKind, status: CommandStatus, second: i64) -> Command {
    let is_delivered = status != CommandStatus::Queued;
    Command {
        id: CommandId::new(second.to_string()),
        kind,
        status,
        attempt: u32::from(is_delivered),
        queued_at: at(second),
        delivered_at: is_delivered.then(|| at(second)),
        lease_until: None,
        expires_at: at(second + 1_000_000),
        outcome: None,
    }
}

const HOUR: i64 = 3_600;

#[test]
fn only_a_host_that_runs_none_and_knows_of_none_is_told_to_start_it() {
    let done = [command(start(), CommandStatus::Succeeded, 0)];
    for (health, tunnel_id, expected) in [
        (TunnelHealth::Stopped, None, Next::Start),
        (TunnelHealth::Stopped, Some("another"), Next::Start),
        // Its agent was stopped; it starts it by itself.
        (TunnelHealth::Stopped, Some("t"), Next::Nothing),
        (TunnelHealth::Running, None, Next::Nothing),
        (TunnelHealth::Degraded, None, Next::Nothing),
        (TunnelHealth::Unknown, None, Next::Nothing),
        (TunnelHealth::Restarting, None, Next::Nothing),
        // It wants one and tries by itself.
        (TunnelHealth::Failed, None, Next::Nothing),
    ] {
        let said = says(health, tunnel_id);
        assert_eq!(
            next(&assigned(), &said, at(5), &done, at(9 * HOUR)),
            expected,
            "{health:?} {tunnel_id:?}"
        );
    }
}

#[test]
fn an_order_that_is_on_its_way_or_says_otherwise_is_respected() {
    let said = says(TunnelHealth::Stopped, None);
    let decide = |kind, status| next(&assigned(), &said, at(5), &[command(kind, status, 0)], at(9 * HOUR));
    for status in [CommandStatus::Queued, CommandStatus::Delivered, CommandStatus::Acknowledged] {
        assert_eq!(decide(start(), status), Next::Nothing, "{status:?}");
    }
    for status in [CommandStatus::Succeeded, CommandStatus::Failed, CommandStatus::Expired] {
        assert_eq!(decide(start(), status), Next::Start, "{status:?}");
        assert_eq!(decide(CommandKind::StopTunnel, status), Next::Nothing, "{status:?}");
    }
    assert_eq!(next(&assigned(), &said, at(5), &[], at(9)), Next::Start, "its history is gone");
}

#[test]
fn an_order_of_another_family_holds_nothing_up() {
    let said = says(TunnelHealth::Stopped, None);
    let mut commands = vec![command(start(), CommandStatus::Failed, 0)];
    for second in 1..40 {
        commands.insert(0, command(CommandKind::Unknown, CommandStatus::Queued, second));
    }
    assert_eq!(next(&assigned(), &said, at(5), &commands, at(50)), Next::Start);
}

#[test]
fn what_was_said_before_a_start_that_worked_says_nothing_about_it() {
    let said = says(TunnelHealth::Stopped, None);
    let decide = |status| next(&assigned(), &said, at(-5), &[command(start(), status, 0)], at(9 * HOUR));
    assert_eq!(decide(CommandStatus::Succeeded), Next::Nothing);
    assert_eq!(decide(CommandStatus::Failed), Next::Start);
}

#[test]
fn what_does_not_help_is_repeated_ever_more_slowly() {
    let said = says(TunnelHealth::Stopped, None);
    let mut commands: Vec<Command> = Vec::new();
    let mut second = 0;
    while second < 24 * HOUR {
        match next(&assigned(), &said, at(0), &commands, at(second)) {
            Next::Start => commands.insert(0, command(start(), CommandStatus::Failed, second)),
            Next::LookAgain(until) => second = (until - at(0)).num_seconds(),
            Next::Nothing => panic!("it is given up at {second}"),
        }
    }
    let first: Vec<i64> =
        commands.iter().rev().map(|one| (one.queued_at - at(0)).num_seconds()).take(5).collect();
    assert_eq!(first, [0, 10, 30, 70, 150]);
    assert!(commands.len() < 45, "{} commands in a day", commands.len());
}

#[test]
fn a_clock_that_went_back_holds_nothing_up() {
    let said = says(TunnelHealth::Stopped, None);
    let future = [command(start(), CommandStatus::Failed, 100 * HOUR)];
    assert_eq!(next(&assigned(), &said, at(0), &future, at(0)), Next::Start);
}
