//! What breaks is repaired, and what the Engine or the edge sees to is left to them.

use bollard::models::{ContainerUpdateBody, NetworkDisconnectRequest, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::RenameContainerOptionsBuilder;
use tokio::time::sleep;

use super::*;

#[actix_web::test]
async fn whatever_happens_to_the_container_is_repaired() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Remove).await;
    agent.carry_out("c1", start(&token("t1", ""))).await;
    agent.until_health(TunnelHealth::Running).await;

    let damages = ["removed", "stopped", "killed", "paused", "disconnected", "policy changed", "renamed"];
    for damage in damages {
        let id = id_of_tunnel(&engine).await.unwrap();
        match damage {
            "removed" => engine.remove(CONTAINER_NAME).await,
            "stopped" => engine.stop(CONTAINER_NAME).await,
            "killed" => engine.kill(CONTAINER_NAME).await,
            "paused" => engine.client().pause_container(CONTAINER_NAME).await.unwrap(),
            "disconnected" => {
                let request = NetworkDisconnectRequest { container: id.clone(), force: Some(true) };
                engine.client().disconnect_network(NETWORK, request).await.unwrap();
            }
            "policy changed" => {
                let policy =
                    RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None };
                let update = ContainerUpdateBody { restart_policy: Some(policy), ..Default::default() };
                engine.client().update_container(CONTAINER_NAME, update).await.unwrap();
            }
            _ => {
                let options = RenameContainerOptionsBuilder::default().name("mine-now").build();
                engine.client().rename_container(CONTAINER_NAME, options).await.unwrap();
            }
        }
        // The timer is far away: only what the Engine sends events of may wait for one.
        if ["disconnected", "policy changed"].contains(&damage) {
            agent.check_tunnel();
        }
        let repaired = || async {
            let found = engine.inspect(CONTAINER_NAME).await?;
            let policy = found.host_config?.restart_policy?.name?;
            let is_connected = found.network_settings?.networks?.contains_key(NETWORK);
            let is_right = is_connected && policy == RestartPolicyNameEnum::UNLESS_STOPPED;
            (is_right && found.state?.status?.to_string() == "running").then_some(())
        };
        until(damage, repaired).await;
        if damage == "renamed" {
            assert_eq!(id_of_tunnel(&engine).await, Some(id), "the same one under its own name");
        }
        until_one_runs(&engine).await;
    }
    agent.stop().await;
    assert_eq!(engine.containers().await, [], "removed with its agent, as it was set");
}

#[actix_web::test]
async fn a_token_that_is_none_is_left_to_the_engine_with_its_last_words_as_reason() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;

    let outcome = agent.carry_out("c1", start("not-a-token")).await;

    assert!(!outcome.succeeded);
    assert!(outcome.message.contains("Provided Tunnel token is not valid."), "{}", outcome.message);
    assert!(!outcome.message.contains("--help"), "not the hint below it: {}", outcome.message);
    let report = agent.until_health(TunnelHealth::Restarting).await;
    assert!(report.reason.unwrap().contains("Provided Tunnel token is not valid."));
    let first = id_of_tunnel(&engine).await;
    for _ in 0..5 {
        agent.check_tunnel();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(id_of_tunnel(&engine).await, first, "no second restart loop on top of the engine's");

    let outcome = agent.carry_out("c2", start(&token("t1", ""))).await;
    assert!(outcome.succeeded, "{}", outcome.message);
    until_one_runs(&engine).await;
    agent.stop().await;
}

#[actix_web::test]
async fn a_connector_that_is_not_ready_is_degraded_and_not_replaced() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;

    assert!(agent.carry_out("c1", start(&token("t1", "never_ready"))).await.succeeded);

    let report = agent.until_health(TunnelHealth::Degraded).await;
    assert_eq!((report.ready_connections, report.config_version), (Some(0), Some(-1)));
    let first = id_of_tunnel(&engine).await;
    for _ in 0..5 {
        agent.check_tunnel();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(id_of_tunnel(&engine).await, first);
    agent.stop().await;
}

#[actix_web::test]
async fn an_engine_that_goes_away_makes_the_tunnel_unknown_and_it_recovers() {
    let (mut engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;
    agent.carry_out("c1", start(&token("t1", ""))).await;
    agent.until_health(TunnelHealth::Running).await;

    engine.stop_daemon().await;
    agent.check_tunnel();
    let report = agent.until_health(TunnelHealth::Unknown).await;
    assert!(report.reason.unwrap().contains("cannot be reached"));
    engine.start_daemon().await;

    agent.until_health(TunnelHealth::Running).await;
    until_one_runs(&engine).await;
    agent.stop().await;
}
