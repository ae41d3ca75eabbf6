//! From what is seen to what is said.

use std::collections::BTreeMap;

use super::*;
use crate::docker::{ConnectorStatus, ContainerDetails};
use crate::domain::id::ContainerId;

fn seen(state: RunState, is_ready: Option<bool>, last_words: Option<&str>) -> SeenContainer {
    let details = ContainerDetails {
        id: ContainerId::new("c"),
        name: "dockflare-agent-tunnel".into(),
        image: String::new(),
        command: Vec::new(),
        token: None,
        metrics: None,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        network: String::new(),
        restart_policy: String::new(),
        addresses: BTreeMap::new(),
        networks: BTreeMap::new(),
        state,
        exit_code: Some(1),
        error: None,
        restarts: 0,
    };
    let status = ConnectorStatus { is_ready, ..ConnectorStatus::default() };
    SeenContainer { details, status, last_words: last_words.map(str::to_owned) }
}

fn said(
    desired_state: DesiredState,
    main: Option<SeenContainer>,
    next: Option<SeenContainer>,
) -> (TunnelHealth, Option<String>) {
    let state = TunnelState { desired_state, ..TunnelState::default() };
    let report = report(&state, &SeenContainers { main, next }, None, DateTime::UNIX_EPOCH);
    (report.health, report.reason)
}

#[test]
fn every_state_of_the_container_has_its_word_and_its_reason() {
    use RunState::{Created, Dead, Exited, Paused, Restarting, Running};
    use TunnelHealth as Health;
    let cases = [
        (Running, Some(true), None, Health::Running, None),
        (Running, Some(false), None, Health::Degraded, Some("no connection to the edge")),
        (Running, Some(false), Some("dial tcp: refused"), Health::Degraded, Some("dial tcp: refused")),
        (Running, None, None, Health::Unknown, Some("readiness cannot be read")),
        (Restarting, None, Some("token is not valid"), Health::Restarting, Some("token is not valid")),
        (Exited, None, None, Health::Failed, Some("ended with code 1")),
        (Paused, None, None, Health::Failed, Some("paused")),
        (Created, None, None, Health::Failed, Some("not started")),
        (Dead, None, None, Health::Failed, Some("could not be removed")),
    ];
    for (state, is_ready, words, health, part) in cases {
        let (found, reason) = said(DesiredState::Running, Some(seen(state, is_ready, words)), None);
        assert_eq!(found, health, "{state:?} {is_ready:?}");
        let fits = part.is_none_or(|part| reason.as_ref().is_some_and(|reason| reason.contains(part)));
        assert!(fits && part.is_some() == reason.is_some(), "{state:?} {is_ready:?}: {reason:?}");
    }
}

#[test]
fn during_a_replacement_the_one_that_serves_counts() {
    let (ended, runs) = (|| seen(RunState::Exited, None, None), || seen(RunState::Running, Some(true), None));
    assert_eq!(said(DesiredState::Running, Some(ended()), Some(runs())).0, TunnelHealth::Running);
    assert_eq!(said(DesiredState::Running, Some(runs()), Some(ended())).0, TunnelHealth::Running);
    assert_eq!(said(DesiredState::Running, None, None).0, TunnelHealth::Failed);
    assert_eq!(said(DesiredState::Stopped, Some(runs()), None).0, TunnelHealth::Stopped);
}

#[test]
fn the_networks_of_the_container_that_is_shown_are_told() {
    let on = |network: &str| {
        let mut one = seen(RunState::Running, Some(true), None);
        one.details.networks.insert(network.into(), Default::default());
        Some(one)
    };
    let told = |main, next| {
        let state = TunnelState { desired_state: DesiredState::Running, ..TunnelState::default() };
        report(&state, &SeenContainers { main, next }, None, DateTime::UNIX_EPOCH).networks
    };
    assert_eq!(told(on("edge"), on("host")), Some(["edge".to_owned()].into()));
    assert_eq!(told(None, on("host")), Some(["host".to_owned()].into()));
    assert_eq!(told(None, None), None, "there is no container");
}
