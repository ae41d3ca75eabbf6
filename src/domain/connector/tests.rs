use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn says(health: TunnelHealth, ready_connections: Option<u32>) -> TunnelReport {
    TunnelReport {
        health,
        tunnel_id: Some(TunnelId::new("t")),
        name: None,
        version: None,
        reason: None,
        ready_connections,
        connector_id: None,
        config_version: None,
        networks: None,
        observed_at: None,
    }
}

fn heard(report: &TunnelReport) -> Option<Said<'_>> {
    Some(Said { report, is_heard: true, asks_connector: true })
}

fn list(connections: &[usize], seconds: i64) -> Listed {
    let connectors = connections.iter().enumerate().map(|(number, connections)| Connector {
        id: format!("c{number}"),
        config_version: Some(1),
        connections: *connections,
        ..Connector::default()
    });
    Listed { connectors: connectors.collect(), at: at(seconds) }
}

#[test]
fn what_is_looked_at_follows_from_the_word_of_the_agent() {
    use TunnelHealth::{Degraded, Failed, Restarting, Running, Stopped, Unknown};
    // `t` the tunnel, `c` connectors, `l` a loss, `n` names
    for (health, connections, by_ours, by_dockflare) in [
        (Running, Some(4), "n", "n"),
        (Running, None, "n", "c"),
        (Unknown, None, "c", "c"),
        (Degraded, Some(0), "t", "t"),
        (Restarting, None, "t", "t"),
        (Failed, None, "t", "t"),
        (Stopped, None, "l", "tl"),
    ] {
        for (asks_connector, expected) in [(true, by_ours), (false, by_dockflare)] {
            let next = FollowUp::of(&says(health, connections), asks_connector);
            let all = [('t', next.tunnel), ('c', next.connectors), ('l', next.loss), ('n', next.names)];
            let found: String = all.iter().filter(|(_, is_so)| *is_so).map(|(letter, _)| *letter).collect();
            assert_eq!(found, expected, "{health:?}, {connections:?}, asks: {asks_connector}");
        }
    }
}

#[test]
fn a_tunnel_serves_by_the_word_of_its_agent_else_by_cloudflares_list() {
    use Reach::{No, Unknown, Yes};
    use TunnelHealth::{Degraded, Failed, Restarting, Running, Stopped};
    let tunnel = TunnelId::new("t");
    let unreadable = TunnelHealth::Unknown;
    let (connected, left) = (list(&[0, 1], -60), list(&[0], -60));
    let old = list(&[4], -901);
    for (name, health, connections, dockflare, is_heard, listed, expected, part) in [
        ("ready", Running, Some(4), false, true, None, Yes, None),
        ("ready, by an agent that asks and does not count", Running, None, false, true, None, Yes, None),
        (
            "no connection",
            Degraded,
            Some(0),
            false,
            true,
            Some(&connected),
            No,
            Some("no connection to the edge"),
        ),
        ("a token that is not valid", Restarting, None, false, true, None, No, Some("again and again")),
        ("made, and not started", Failed, None, false, true, None, No, Some("does not run")),
        ("stopped", Stopped, None, false, true, Some(&connected), No, Some("is stopped")),
        (
            "a container that runs, and nobody asked",
            Running,
            None,
            true,
            true,
            None,
            Unknown,
            Some("could not be checked"),
        ),
        ("a container that runs, connected", Running, None, true, true, Some(&connected), Yes, None),
        (
            "a container that runs, not connected",
            Running,
            None,
            true,
            true,
            Some(&left),
            No,
            Some("no connector"),
        ),
        (
            "a container that runs, an old list",
            Running,
            None,
            true,
            true,
            Some(&old),
            Unknown,
            Some("is old"),
        ),
        ("it cannot be read", unreadable, None, false, true, None, Unknown, Some("could not be checked")),
        ("it cannot be read, connected", unreadable, None, false, true, Some(&connected), Yes, None),
        ("its agent went", Running, Some(4), false, false, None, Unknown, Some("is not heard")),
        ("its agent went, connected", Degraded, Some(0), false, false, Some(&connected), Yes, None),
    ] {
        let report = says(health, connections);
        let said = Some(Said { report: &report, is_heard, asks_connector: !dockflare });
        let found =
            Sight { tunnel: &tunnel, name: Some("edge"), said, listed, written: None }.reachability(at(0));
        assert_eq!(found.reach, expected, "{name}: {found:?}");
        match part {
            None => assert_eq!(found.reason, None, "{name}"),
            Some(part) => assert!(found.reason.as_deref().unwrap().contains(part), "{name}: {found:?}"),
        }
    }
}

#[test]
fn without_any_word_nothing_is_called_fine() {
    let tunnel = TunnelId::new("t");
    let found = Sight { tunnel: &tunnel, name: Some("edge"), said: None, listed: None, written: None }
        .reachability(at(0));
    assert_eq!(found.reach, Reach::Unknown);
    assert!(found.reason.unwrap().contains("has not said"));
}

#[test]
fn a_word_about_another_tunnel_says_nothing_of_this_one() {
    let (tunnel, by_id) = (TunnelId::new("new"), says(TunnelHealth::Running, Some(4)));
    let by_name = TunnelReport { tunnel_id: None, name: Some("old".into()), ..by_id.clone() };
    for report in [by_id, by_name] {
        let found =
            Sight { tunnel: &tunnel, name: Some("edge"), said: heard(&report), listed: None, written: None }
                .reachability(at(0));
        assert_eq!(found.reach, Reach::Unknown);
        assert!(found.reason.unwrap().contains("about another tunnel"));
    }
}

#[test]
fn the_reason_of_the_agent_is_part_of_the_reason() {
    let (tunnel, mut report) = (TunnelId::new("t"), says(TunnelHealth::Restarting, None));
    report.reason = Some("Provided Tunnel token is not valid.".into());
    let found =
        Sight { tunnel: &tunnel, name: Some("edge"), said: heard(&report), listed: None, written: None }
            .reachability(at(0));
    assert_eq!(
        found.reason.as_deref(),
        Some("its connector ends again and again: Provided Tunnel token is not valid.")
    );
}

#[test]
fn a_connector_with_an_older_configuration_is_told_of_after_a_minute() {
    let tunnel = TunnelId::new("t");
    for (name, own, listed, since, expected) in [
        ("it has it", Some(2), None, -600, Reach::Yes),
        ("it has a newer one", Some(3), None, -600, Reach::Yes),
        ("it may take it yet", Some(1), None, -59, Reach::Yes),
        ("it never took it", Some(1), None, -60, Reach::Outdated),
        ("it never had any", Some(-1), None, -60, Reach::Outdated),
        ("its agent cannot say, and Cloudflare was not asked", None, None, -600, Reach::Yes),
        ("its agent cannot say, and Cloudflare can", None, Some(list(&[1], -30)), -600, Reach::Outdated),
        ("Cloudflare was asked before it was written", None, Some(list(&[1], -30)), -20, Reach::Yes),
    ] {
        let mut report = says(TunnelHealth::Running, Some(4));
        report.config_version = own;
        let sight = Sight {
            tunnel: &tunnel,
            name: Some("edge"),
            said: heard(&report),
            listed: listed.as_ref(),
            written: Some((2, at(since))),
        };
        let found = sight.reachability(at(0));
        assert_eq!(found.reach, expected, "{name}");
        let words = found.reason.is_none_or(|reason| {
            reason == format!("the connector has version {} of 2 of the configuration", own.unwrap_or(1))
        });
        assert!(words, "{name}");
    }
}

#[test]
fn cloudflare_is_asked_only_for_what_an_agent_cannot_say() {
    let tunnel = TunnelId::new("t");
    for (name, health, version, asks_connector, expected) in [
        ("it says all", TunnelHealth::Running, Some(2), true, false),
        ("not the version", TunnelHealth::Running, None, true, true),
        ("only that it runs", TunnelHealth::Running, None, false, true),
        ("nothing", TunnelHealth::Unknown, None, true, true),
        ("that it does not serve", TunnelHealth::Degraded, None, true, false),
    ] {
        let mut report = says(health, None);
        report.config_version = version;
        let said = Some(Said { report: &report, is_heard: true, asks_connector });
        let sight = Sight { tunnel: &tunnel, name: Some("edge"), said, listed: None, written: None };
        assert_eq!(sight.needs_a_list(), expected, "{name}");
    }
}

#[test]
fn a_connector_that_stays_behind_has_its_configuration_written_once_more_and_never_again() {
    let lag = Lag { has: 1, wants: 2, since: at(0) };
    for (seconds, was_written_again, expected) in [
        (0, false, Remedy::LookAgain(at(60))),
        (59, true, Remedy::LookAgain(at(60))),
        (60, false, Remedy::LookAgain(at(180))),
        (180, false, Remedy::WriteAgain),
        (86_400, false, Remedy::WriteAgain),
        (60, true, Remedy::Nothing),
        (86_400, true, Remedy::Nothing),
    ] {
        assert_eq!(lag.remedy(was_written_again, at(seconds)), expected, "{seconds} {was_written_again}");
    }
}
