//! The networks of containers and of the connector, as the master hears of them.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep};

use super::*;
use crate::domain::networks::Networks;

fn networks(of: &[(&str, &[&str])]) -> Networks {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    of.iter().map(|&(network, list)| (network.to_owned(), names(list))).collect()
}

/// The networks of the first container of each snapshot that was sent.
fn of_first(heard: &Heard) -> Option<Networks> {
    let (_, items) = batches(heard)?;
    items.into_iter().find_map(|item| match item {
        Report::Snapshot { containers } => containers.into_iter().next()?.networks,
        _ => None,
    })
}

#[test]
fn what_a_container_is_connected_to_is_told_within_one_listing_and_asked_for_once() {
    paused(async {
        // given
        let (engine, master) = (FakeEngine::default(), FakeMaster::native());
        engine.run(Container { networks: Some(networks(&[("bridge", &[])])), ..container("a") });
        let dir = tempfile::tempdir().unwrap();
        let _host = host_with(engine.clone(), &master, &dir).await;
        assert_eq!(master.until(1, of_first).await, [networks(&[("bridge", &[])])]);
        // when
        let before = Instant::now();
        engine.connect("a", "edge", Some(&["web"]));
        // then
        let on_both = networks(&[("bridge", &[]), ("edge", &["web"])]);
        assert_eq!(master.until(2, of_first).await[1], on_both);
        assert!(before.elapsed() < secs(3), "{:?}", before.elapsed());
        // and when: nothing happens for many listings
        sleep(secs(600)).await;
        assert_eq!(engine.questions(), 2);
        // and when
        engine.connect("a", "edge", None);
        // then
        let is_apart = |heard: &Heard| of_first(heard).filter(|found| *found == networks(&[("bridge", &[])]));
        master.until(2, is_apart).await;
    });
}

#[test]
fn a_container_that_starts_is_told_at_once_and_its_networks_soon_after() {
    paused(async {
        let (engine, master) = (FakeEngine::default(), FakeMaster::native());
        let dir = tempfile::tempdir().unwrap();
        let _host = host_with(engine.clone(), &master, &dir).await;
        sleep(secs(5)).await;
        let before = Instant::now();

        engine.run(Container { networks: Some(networks(&[("edge", &["web"])])), ..container("a") });

        let seen = |heard: &Heard| {
            let (_, items) = batches(heard)?;
            items.into_iter().find_map(|item| match item {
                Report::ContainerSeen { container } => Some(container.networks),
                _ => None,
            })
        };
        assert_eq!(master.until(1, seen).await, [None], "an event does not tell them");
        assert!(before.elapsed() < secs(1), "{:?}", before.elapsed());
        assert_eq!(master.until(1, of_first).await, [networks(&[("edge", &["web"])])]);
        assert!(before.elapsed() < secs(3), "{:?}", before.elapsed());
    });
}

#[test]
fn what_a_container_goes_by_is_asked_again_after_events_were_missed() {
    paused(async {
        // given
        let (engine, master) = (FakeEngine::default(), FakeMaster::native());
        engine.run(Container { networks: Some(networks(&[("edge", &["web"])])), ..container("a") });
        let dir = tempfile::tempdir().unwrap();
        let _host = host_with(engine.clone(), &master, &dir).await;
        assert_eq!(master.until(1, of_first).await, [networks(&[("edge", &["web"])])]);
        sleep(secs(10)).await;
        // when: it gets another name on the same network while nobody listens
        engine.hang_up();
        engine.connect("a", "edge", Some(&["shop"]));
        // then
        assert_eq!(master.until(2, of_first).await[1], networks(&[("edge", &["shop"])]));
    });
}

#[test]
fn what_the_connector_is_connected_to_is_told_at_once() {
    paused(async {
        // given: a connector that has run for a while
        let (engine, master) = (FakeEngine::default(), FakeMaster::native());
        let dir = tempfile::tempdir().unwrap();
        let _host = host_with(engine.clone(), &master, &dir).await;
        let form = json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t0"});
        master.queue(delivered("c1", form));
        let on = |count: usize| {
            move |heard: &Heard| {
                let (_, items) = batches(heard)?;
                items.into_iter().find_map(|item| match item {
                    Report::Tunnel { tunnel } => tunnel.networks.filter(|networks| networks.len() == count),
                    _ => None,
                })
            }
        };
        master.until(1, on(1)).await;
        sleep(secs(300)).await;
        // when
        let before = Instant::now();
        engine.connect("connector-1", "edge", Some(&[]));
        // then
        let told = master.until(1, on(2)).await.remove(0);
        assert_eq!(told, BTreeSet::from(["cloudflare-net".to_owned(), "edge".to_owned()]));
        assert!(before.elapsed() < secs(1), "{:?}", before.elapsed());
    });
}
