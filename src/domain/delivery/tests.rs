//! Tables, and the life of commands under random answers, crashes and clock jumps.

use proptest::prelude::*;

use super::super::command::RedFlagUpdate;
use super::super::id::{CommandId, SecretId, TunnelId, UpdateId};
use super::super::update::{Kind, RebootAsk};
use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn agent() -> AgentId {
    AgentId::new("a")
}

fn start() -> CommandKind {
    CommandKind::StartTunnel {
        tunnel_id: TunnelId::new("t"),
        tunnel_name: "edge".into(),
        secret_id: SecretId::new("s"),
    }
}

fn restart() -> CommandKind {
    CommandKind::RestartTunnel {
        tunnel_id: TunnelId::new("t"),
        tunnel_name: "edge".into(),
        secret_id: SecretId::new("s"),
    }
}

fn queued(id: &str, kind: CommandKind) -> Command {
    let expires_at = at(0) + lifetime(&kind);
    Command {
        id: CommandId::new(id),
        kind,
        status: CommandStatus::Queued,
        attempt: 0,
        queued_at: at(0),
        delivered_at: None,
        lease_until: None,
        expires_at,
        outcome: None,
    }
}

#[test]
fn an_order_of_an_unknown_family_is_kept_and_touches_no_other() {
    let stored = r#"{"action":"install_updates","plan":"8c1f"}"#;
    let unknown = queued("u", serde_json::from_str(stored).unwrap());
    assert_eq!(unknown.kind, CommandKind::Unknown);
    let open = [unknown.clone(), queued("t", start())];
    for dialect in [Dialect::V2, Dialect::Native] {
        assert!(!may_be_fetched(&unknown, dialect));
        let handed = hand_over(&agent(), &open, at(1), dialect, 10);
        assert_eq!(handed.iter().map(id_of).collect::<Vec<_>>(), ["t"]);
        assert!(decide_overdue(&agent(), &open, at(1), dialect).is_empty());
    }
    assert!(!is_busy(&open[..1], Family::Tunnel) && is_busy(&open, Family::Tunnel));
    // A tunnel takes the place of what is about tunnels; with its agent everything goes.
    let ends = |by| superseded(&agent(), &open, by).iter().map(id_of).collect::<Vec<_>>();
    assert_eq!(ends(Superseding::Tunnel), ["t"]);
    assert_eq!(ends(Superseding::Removal), ["u", "t"]);
    // and it ends by itself.
    let ended = decide_overdue(&agent(), &open[..1], unknown.expires_at, Dialect::Native);
    assert_eq!(ended.iter().map(id_of).collect::<Vec<_>>(), ["u"]);
}

fn id_of(event: &CommandEvent) -> String {
    serde_json::to_value(event).unwrap()["command_id"].as_str().unwrap().to_owned()
}

/// Has a command follow events as the store would.
fn follow(command: &mut Command, events: &[CommandEvent], now: DateTime<Utc>) {
    for event in events {
        match event {
            CommandEvent::Delivered { attempt, lease_until, .. } => {
                command.status = CommandStatus::Delivered;
                command.attempt = *attempt;
                command.delivered_at = Some(now);
                command.lease_until = Some(*lease_until);
            }
            CommandEvent::Renewed { lease_until, .. } => command.lease_until = Some(*lease_until),
            CommandEvent::Requeued { .. } => command.status = CommandStatus::Queued,
            CommandEvent::Expired { .. } => command.status = CommandStatus::Expired,
            CommandEvent::Postponed { expires_at, .. } => command.expires_at = *expires_at,
            other => panic!("{other:?}"),
        }
    }
}

fn poll(command: &mut Command, second: i64, dialect: Dialect) -> usize {
    let events = hand_over(&agent(), std::slice::from_ref(command), at(second), dialect, 10);
    follow(command, &events, at(second));
    events.len()
}

fn sweep(command: &mut Command, second: i64, dialect: Dialect) {
    let events = decide_overdue(&agent(), std::slice::from_ref(command), at(second), dialect);
    follow(command, &events, at(second));
}

/// Polls every 10 s for a day, sweeping before each; returns when the command was handed over.
fn deliveries(command: &mut Command, dialect: Dialect) -> Vec<i64> {
    let times = (0..86_400 * 8).step_by(10).filter(|second| {
        sweep(command, *second, dialect);
        poll(command, *second, dialect) > 0
    });
    times.collect()
}

#[test]
fn a_silent_dockflare_agent_gets_a_start_four_times_and_a_restart_once() {
    let mut command = queued("c", start());
    assert_eq!(deliveries(&mut command, Dialect::V2), [0, 90, 180, 270]);
    assert_eq!(command.status, CommandStatus::Expired);
    let mut command = queued("c", restart());
    assert_eq!(deliveries(&mut command, Dialect::V2), [0]);
    assert_eq!(command.status, CommandStatus::Expired);
}

#[test]
fn a_dockflare_agent_gets_a_stop_with_two_polls_in_a_row() {
    let mut command = queued("c", CommandKind::StopTunnel);
    assert_eq!(poll(&mut command, 0, Dialect::V2), 1);
    sweep(&mut command, 30, Dialect::V2);
    assert!(may_be_fetched(&command, Dialect::V2) && !may_be_fetched(&command, Dialect::Native));
    assert_eq!(poll(&mut command, 30, Dialect::V2), 1);
    assert!(!may_be_fetched(&command, Dialect::V2));
    sweep(&mut command, 30, Dialect::V2);
    assert_eq!(command.status, CommandStatus::Expired, "at once");

    let mut command = queued("c", CommandKind::StopTunnel);
    assert_eq!(poll(&mut command, 86_400, Dialect::V2), 1, "it waits for the first");
    sweep(&mut command, 86_489, Dialect::V2);
    assert_eq!(command.status, CommandStatus::Delivered);
    sweep(&mut command, 86_490, Dialect::V2);
    assert_eq!(command.status, CommandStatus::Expired, "the second does not come");
}

#[test]
fn a_scan_goes_to_a_redflag_agent_once_and_is_given_up_two_hours_later() {
    let scan = || queued("c", CommandKind::ScanUpdates);
    assert_eq!(deliveries(&mut scan(), Dialect::RedFlag), [0]);
    let mut command = scan();
    assert!(may_be_fetched(&command, Dialect::RedFlag) && !may_be_fetched(&command, Dialect::V2));
    assert_eq!(poll(&mut command, 300, Dialect::RedFlag), 1);
    assert_eq!(poll(&mut command, 600, Dialect::RedFlag), 0);
    sweep(&mut command, 300 + 7_199, Dialect::RedFlag);
    assert_eq!(command.status, CommandStatus::Delivered, "it may still say how it went");
    sweep(&mut command, 300 + 7_200, Dialect::RedFlag);
    assert_eq!(command.status, CommandStatus::Expired);
    // Nobody asked for an hour: nobody wants it any more.
    let mut command = scan();
    assert_eq!(poll(&mut command, 3_600, Dialect::RedFlag), 0);
    sweep(&mut command, 3_600, Dialect::RedFlag);
    assert_eq!(command.status, CommandStatus::Expired);
    // It has nothing to do with tunnels, and an agent of DockFlare's is not told.
    assert!(superseded(&agent(), &[scan()], Superseding::Tunnel).is_empty());
    assert_eq!(poll(&mut scan(), 0, Dialect::V2), 0);
    assert_eq!(poll(&mut queued("t", start()), 0, Dialect::RedFlag), 0, "nor is a RedFlag agent of tunnels");
}

#[test]
fn a_restart_of_a_host_goes_out_once_soon_and_not_while_it_installs() {
    let reboot = || CommandKind::Reboot(RebootAsk { delay_minutes: 1, message: String::new() });
    assert_eq!(deliveries(&mut queued("c", reboot()), Dialect::RedFlag), [0]);
    assert_eq!(poll(&mut queued("c", reboot()), 899, Dialect::RedFlag), 1);
    assert_eq!(poll(&mut queued("c", reboot()), 900, Dialect::RedFlag), 0, "it would surprise");

    let update =
        RedFlagUpdate { update_id: UpdateId::new("u"), package_type: Kind::Apt, package_name: "bash".into() };
    let install = CommandKind::ConfirmDependencies { update: update.clone(), dependencies: Vec::new() };
    let mut commands = [queued("i", install), queued("d", CommandKind::DryRunUpdate(update))];
    assert!(hindrance(&commands, &reboot()).is_some());
    assert!(hindrance(&commands, &CommandKind::ScanUpdates).is_none());
    commands[0].status = CommandStatus::Failed;
    assert!(hindrance(&commands, &reboot()).is_none(), "a dry run changes nothing");
}

#[test]
fn an_agent_of_ours_gets_again_what_it_did_not_acknowledge() {
    let mut command = queued("c", restart());
    assert_eq!(poll(&mut command, 0, Dialect::Native), 1);
    assert_eq!(poll(&mut command, 4, Dialect::Native), 0);
    assert_eq!(poll(&mut command, 5, Dialect::Native), 1);
    command.status = CommandStatus::Acknowledged;
    assert_eq!(poll(&mut command, 60, Dialect::Native), 0, "it works on it");
    assert_eq!(next_due(std::slice::from_ref(&command), Dialect::Native), Some(at(125)));
    sweep(&mut command, 125, Dialect::Native);
    assert_eq!((command.status, poll(&mut command, 125, Dialect::Native)), (CommandStatus::Queued, 1));
    assert_eq!(command.attempt, 3);
}

#[test]
fn an_agent_that_tells_how_far_it_is_keeps_its_command_beyond_its_time_and_loses_it_a_lease_after_its_last_word()
 {
    let mut command = queued("c", CommandKind::ScanUpdates);
    let tell = |command: &mut Command, second: i64| {
        let event = renew(&agent(), command, at(second));
        follow(command, event.as_slice(), at(second));
        event.is_some()
    };
    assert!(!tell(&mut command, 0), "nobody has it");
    poll(&mut command, 3_000, Dialect::Native);
    command.status = CommandStatus::Acknowledged;
    let told: Vec<i64> = (3_000..9_000).step_by(10).filter(|second| tell(&mut command, *second)).collect();
    assert_eq!(
        told,
        (3_300..9_000).step_by(300).collect::<Vec<_>>(),
        "a word in half a lease is written down"
    );
    sweep(&mut command, 9_299, Dialect::Native);
    assert_eq!(command.status, CommandStatus::Acknowledged, "an hour after it was to be over");
    sweep(&mut command, 9_300, Dialect::Native);
    assert_eq!(command.status, CommandStatus::Expired);

    let mut command = queued("c", restart());
    poll(&mut command, 0, Dialect::Native);
    command.status = CommandStatus::Acknowledged;
    assert!(!tell(&mut command, 119), "tunnels have no progress");
}

#[test]
fn what_is_too_old_is_given_up() {
    let mut command = queued("c", restart());
    assert_eq!(next_due(std::slice::from_ref(&command), Dialect::Native), Some(at(3_600)));
    sweep(&mut command, 3_599, Dialect::Native);
    assert_eq!(command.status, CommandStatus::Queued);
    assert_eq!(poll(&mut command, 3_600, Dialect::Native), 0);
    sweep(&mut command, 3_600, Dialect::Native);
    assert_eq!(command.status, CommandStatus::Expired);
}

#[test]
fn the_oldest_comes_first_and_never_more_than_asked_for() {
    let mut commands =
        vec![queued("b", start()), queued("a", restart()), queued("c", CommandKind::StopTunnel)];
    commands[1].queued_at = at(-1);
    let events = hand_over(&agent(), &commands, at(0), Dialect::V2, 2);
    let ids: Vec<_> = events
        .iter()
        .map(|event| match event {
            CommandEvent::Delivered { command_id, .. } => command_id.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn a_clock_that_went_back_does_not_hold_a_command_up() {
    let mut command = queued("c", start());
    poll(&mut command, 0, Dialect::Native);
    command.status = CommandStatus::Acknowledged;
    assert_eq!(poll(&mut command, -7_200, Dialect::Native), 1);
}

/// Lets the clock leap to `second`, with the command's times moved as the master does.
fn leap(command: &mut Command, second: i64, leap: TimeDelta) {
    let events = postpone(&agent(), std::slice::from_ref(command), leap, at(second));
    follow(command, &events, at(second));
}

#[test]
fn a_leap_takes_nothing_of_a_life_and_gives_no_second_one() {
    let day = 86_400;
    let mut command = queued("c", restart());
    leap(&mut command, 600 + day, TimeDelta::days(1));
    assert_eq!(command.expires_at, at(day + 3_600));
    leap(&mut command, 600 + day, TimeDelta::days(1));
    assert_eq!(command.expires_at, at(day + 4_200), "carried out twice: at most a life from now");
    leap(&mut command, 600, -TimeDelta::days(1));
    assert_eq!(command.expires_at, at(4_200), "back: at most a life from now");
    command.status = CommandStatus::Succeeded;
    assert_eq!(postpone(&agent(), &[command], TimeDelta::days(1), at(day)), []);
}

#[test]
fn only_an_effect_after_the_delivery_confirms() {
    let report = |health, name: Option<&str>| TunnelReport {
        health,
        tunnel_id: None,
        name: name.map(str::to_owned),
        version: None,
        reason: None,
        ready_connections: None,
        connector_id: None,
        config_version: None,
        networks: None,
        observed_at: None,
    };
    let mut command = queued("c", start());
    let running = report(TunnelHealth::Running, Some("edge"));
    let seen = |command: &Command, tunnel: &TunnelReport, second| {
        confirm(command, Evidence::Report { tunnel, received_at: at(second) }).is_some()
    };
    assert!(!seen(&command, &running, 1), "it was never handed over");
    poll(&mut command, 10, Dialect::V2);
    assert!(!seen(&command, &running, 9));
    assert!(seen(&command, &running, 11) && seen(&command, &report(TunnelHealth::Running, None), 11));
    assert!(!seen(&command, &report(TunnelHealth::Running, Some("old")), 11));
    assert!(!seen(&command, &report(TunnelHealth::Stopped, Some("edge")), 11));
    sweep(&mut command, 200, Dialect::V2);
    assert!(seen(&command, &running, 201), "a late effect counts, though it is queued again");

    let listed = |command: &Command, now: &[(&str, usize)]| {
        let connector = |(id, connections): &(&str, usize)| Connector {
            id: (*id).into(),
            connections: *connections,
            ..Connector::default()
        };
        let now: Vec<Connector> = now.iter().map(connector).collect();
        confirm(command, Evidence::Connectors { now: &now, at_enrolment: &["old".to_owned()] })
    };
    let connected = |command: &Command, now: &[(&str, usize)]| listed(command, now).is_some();
    assert!(listed(&command, &[("old", 1), ("new", 0)]).unwrap().message.contains("was not there before"));
    assert!(listed(&command, &[("old", 1)]).unwrap().message.contains("was there already"));
    assert!(!connected(&command, &[("old", 0)]) && !connected(&command, &[]));
    let mut again = queued("r", restart());
    poll(&mut again, 0, Dialect::V2);
    assert!(!connected(&again, &[("new", 1)]), "a new connector may stem from the start");

    let mut stop = queued("s", CommandKind::StopTunnel);
    poll(&mut stop, 0, Dialect::V2);
    assert!(seen(&stop, &report(TunnelHealth::Stopped, None), 1));
}

#[test]
fn a_redelivered_command_is_not_done_twice() {
    let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
    assert_eq!(react(None), Reaction::Run);
    assert_eq!(react(Some(&Known::Begun)), Reaction::Resume);
    assert_eq!(react(Some(&Known::Finished(outcome.clone()))), Reaction::AnswerAgain(outcome));
}

#[test]
fn an_equal_open_command_is_found() {
    let mut commands = [queued("c", start())];
    assert_eq!(open_like(&commands, &start()).map(|c| c.id.as_str()), Some("c"));
    assert!(open_like(&commands, &restart()).is_none());
    commands[0].status = CommandStatus::Succeeded;
    assert!(open_like(&commands, &start()).is_none());
}

proptest! {
    #[test]
    fn no_command_is_lost_and_no_restart_is_doubled(
        steps in proptest::collection::vec((-100_i64..400, 0_u8..5, -40_i64..40), 1..60),
        kind in proptest::sample::select(vec![start(), restart(), CommandKind::StopTunnel]),
        dialect in proptest::sample::select(vec![Dialect::V2, Dialect::Native]),
    ) {
        let mut command = queued("c", kind);
        let (mut second, mut latest, mut lived, mut handed_over) = (0, 0, 0, 0);
        for (forward, action, days) in steps {
            second += forward;
            lived += forward.max(0);
            match action {
                0 => handed_over += poll(&mut command, second, dialect),
                1 => sweep(&mut command, second, dialect),
                2 if command.status == CommandStatus::Delivered && dialect == Dialect::Native => {
                    command.status = CommandStatus::Acknowledged;
                }
                3 => {
                    second += days * 86_400;
                    leap(&mut command, second, TimeDelta::days(days));
                }
                _ => {}
            }
            latest = latest.max(second);
            if command.status == CommandStatus::Expired && dialect == Dialect::Native {
                prop_assert!(lived >= lifetime(&command.kind).as_secs() as i64, "after {lived} s");
            }
        }
        if dialect == Dialect::V2 {
            let most = if is_restart(&command) { 1 } else { 4 };
            prop_assert!(handed_over <= most, "{handed_over}");
        }
        // Whatever happened, it comes to an end: done by the agent, or given up after its time.
        let end = latest + 86_400 * 30;
        sweep(&mut command, end, dialect);
        prop_assert!(!command.status.is_open());
        prop_assert_eq!(poll(&mut command, end, dialect), 0);
    }
}

#[test]
fn a_host_may_be_about_to_start_anew_until_the_time_is_over_that_it_was_told() {
    let told = at(1_000);
    let restart = |status, delivered_at, outcome| {
        let ask = RebootAsk { delay_minutes: 30, message: String::new() };
        vec![Command { status, delivered_at, outcome, ..queued("r", CommandKind::Reboot(ask)) }]
    };
    let said = |succeeded: bool| Some(Outcome { succeeded, message: "x".into(), finished_at: None });
    let cancelled = Some(Outcome::cancelled_by("ann"));
    let over = Some(told + TimeDelta::minutes(35));
    for (commands, expected, why) in [
        (restart(CommandStatus::Succeeded, Some(told), said(true)), over, "it called `shutdown`"),
        (restart(CommandStatus::Delivered, Some(told), None), over, "it says nothing yet"),
        (restart(CommandStatus::Expired, Some(told), None), over, "it never said anything"),
        (restart(CommandStatus::Failed, Some(told), said(false)), None, "it could not"),
        (restart(CommandStatus::Failed, Some(told), cancelled.clone()), over, "taken back too late"),
        (restart(CommandStatus::Failed, None, cancelled), None, "taken back in time"),
        (restart(CommandStatus::Expired, None, None), None, "it never heard of it"),
        (Vec::new(), None, "nobody said anything"),
    ] {
        assert_eq!(restarts_until(&commands, told), expected, "{why}");
        assert_eq!(restarts_until(&commands, told + TimeDelta::minutes(35)), None, "{why}, and it is over");
    }
    let waits = restart(CommandStatus::Queued, None, None);
    assert_eq!(restarts_until(&waits, at(0)), waits.first().map(|command| command.expires_at));
}
