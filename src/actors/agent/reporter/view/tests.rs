//! What is said, and in which order.

use super::*;

use crate::domain::tunnel::TunnelHealth;

fn container(id: &str) -> Container {
    Container {
        id: ContainerId::new(id),
        name: format!("name-{id}"),
        labels: BTreeMap::new(),
        image: None,
        status: None,
        networks: None,
    }
}

fn tunnel(health: TunnelHealth, at: &str) -> TunnelReport {
    TunnelReport {
        health,
        tunnel_id: None,
        name: None,
        version: None,
        reason: None,
        ready_connections: None,
        connector_id: None,
        config_version: None,
        networks: None,
        observed_at: Some(at.parse().unwrap()),
    }
}

fn listed(ids: &[&str]) -> View {
    let mut view = View::default();
    view.listed(ids.iter().map(|id| container(id)).collect());
    view.take_all();
    view
}

fn snapshot(ids: &[&str]) -> Report {
    Report::Snapshot { containers: ids.iter().map(|id| container(id)).collect() }
}

#[test]
fn nothing_is_said_before_a_listing_succeeded() {
    let mut view = View::default();
    view.started(container("a"));
    view.stopped(&ContainerId::new("a"));
    view.say_all_again();
    assert_eq!(view.take_all(), [Report::Heartbeat]);

    view.listed(vec![]);
    assert_eq!(view.take_all(), [snapshot(&[])], "an empty listing that succeeded is said");
}

#[test]
fn a_container_that_came_and_went_in_between_is_said_once() {
    let mut view = listed(&["a"]);
    view.started(container("b"));
    view.stopped(&ContainerId::new("b"));
    view.started(container("b"));
    assert_eq!(view.take_all(), [Report::ContainerSeen { container: container("b") }]);
}

#[test]
fn changes_are_said_in_the_order_they_happened() {
    let mut view = listed(&["b"]);
    view.stopped(&ContainerId::new("b"));
    view.started(container("a"));
    let ids: Vec<_> = std::iter::from_fn(|| view.take_next()).map(|said| said.container.is_some()).collect();
    assert_eq!(ids, [true, false], "the end of `b`, then the start of `a`");
}

#[test]
fn what_is_known_already_is_not_said_again() {
    let mut view = listed(&["a"]);
    view.started(container("a"));
    view.stopped(&ContainerId::new("unknown"));
    view.listed(vec![container("a")]);
    assert!(!view.is_due());
}

#[test]
fn an_end_carries_the_container_it_is_about() {
    let mut view = listed(&["a"]);
    view.stopped(&ContainerId::new("a"));
    let said = view.take_next().unwrap();
    assert_eq!(said.report, Report::ContainerGone { id: ContainerId::new("a"), cause: GoneCause::Stopped });
    assert_eq!(said.container, Some(container("a")));
}

#[test]
fn after_an_outage_one_snapshot_replaces_all_changes() {
    let mut view = listed(&["a", "b"]);
    view.started(container("c"));
    view.say_all_again();
    view.stopped(&ContainerId::new("a"));
    assert_eq!(view.take_all(), [snapshot(&["b", "c"])]);
}

#[test]
fn too_many_changes_become_a_snapshot() {
    let mut view = listed(&[]);
    for n in 0..=CHANGES_LIMIT {
        view.started(container(&format!("{n:04}")));
    }
    let reports = view.take_all();
    assert!(
        matches!(&reports[..], [Report::Snapshot { containers }] if containers.len() == CHANGES_LIMIT + 1)
    );
}

#[test]
fn a_lost_listing_is_not_an_empty_one() {
    let mut view = listed(&["a"]);
    view.started(container("b"));
    view.listing_lost();
    view.say_all_again();
    assert_eq!(view.take_all(), [Report::Heartbeat]);
    assert_eq!(view.count_containers(), None);
}

#[test]
fn the_time_of_looking_at_the_tunnel_is_no_news() {
    let mut view = View::default();
    view.tunnel(tunnel(TunnelHealth::Running, "2026-01-31T12:00:00Z"));
    assert_eq!(view.take_all().len(), 1);
    view.tunnel(tunnel(TunnelHealth::Running, "2026-01-31T12:00:30Z"));
    assert!(!view.is_due());
    view.tunnel(tunnel(TunnelHealth::Degraded, "2026-01-31T12:01:00Z"));
    assert_eq!(view.take_all().len(), 1);
}
