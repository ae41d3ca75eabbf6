//! A host whose connector somebody else runs.

use super::failures::start_tunnel;
use super::*;
use crate::docker::RunState;
use crate::domain::agent_tunnel::CONTAINER_NAME;
use crate::domain::tunnel::{ELSEWHERE, TunnelHealth};

fn external() -> Settings {
    let mut settings = Settings::default();
    settings.tunnel.external = true;
    settings
}

async fn until_told(master: &FakeMaster, health: TunnelHealth) -> TunnelReport {
    let told = |item: &Report| match item {
        Report::Tunnel { tunnel } if tunnel.health == health => Some(tunnel.clone()),
        _ => None,
    };
    master.until(1, |heard| batches(heard)?.1.iter().find_map(told)).await.remove(0)
}

#[test]
fn what_somebody_else_runs_is_neither_made_nor_changed_nor_stopped_and_orders_are_answered() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let host = host_set(&external(), engine.clone(), &master, &dir).await;
        // when it is told to run a tunnel
        master.queue(start_tunnel("c1", "u1", "token"));
        let (_, outcome) = master.until(1, results).await.remove(0);
        // then nothing is made, and nobody is told that it runs
        assert!(outcome.succeeded && outcome.message.contains(ELSEWHERE), "{outcome:?}");
        let told = until_told(&master, TunnelHealth::Unknown).await;
        assert_eq!(told.tunnel_id.as_ref().map(|id| id.as_str()), Some("u1"));
        assert_eq!(told.reason.as_deref(), Some(ELSEWHERE));
        assert!(engine.find_container(CONTAINER_NAME).await.unwrap().is_none());
        // when it is told to stop it
        master.forget();
        master.queue(delivered("c2", json!({"action": "stop_tunnel"})));
        let (_, outcome) = master.until(1, results).await.remove(0);
        assert!(outcome.succeeded && outcome.message.contains(ELSEWHERE), "{outcome:?}");
        until_told(&master, TunnelHealth::Stopped).await;
        host.root.shutdown(secs(60)).await;
        assert!(engine.find_container(CONTAINER_NAME).await.unwrap().is_none());
    });
}

#[test]
fn a_connector_that_ran_before_is_left_as_it_is_also_at_the_end() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let host = host_with(engine.clone(), &master, &dir).await;
        master.queue(start_tunnel("c1", "u1", "token"));
        until_told(&master, TunnelHealth::Running).await;
        // A crash leaves it there.
        let made = engine.find_container(CONTAINER_NAME).await.unwrap().unwrap();
        drop(host);
        let (master, other) = (FakeMaster::native(), tempfile::tempdir().unwrap());
        let host = host_set(&external(), engine.clone(), &master, &other).await;
        master.queue(start_tunnel("c2", "u2", "another"));
        master.until(1, results).await;
        host.root.shutdown(secs(60)).await;
        let left = engine.find_container(CONTAINER_NAME).await.unwrap().unwrap();
        assert_eq!((left.id, left.state), (made.id, RunState::Running));
    });
}
