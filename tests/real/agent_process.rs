//! The agent as a process: how it ends, and how it begins.

use lightship::domain::agent_tunnel::CONTAINER_NAME;
use rustix::process::Signal;
use serde_json::json;

use crate::scene::Scene;
use crate::support::docker::Engine;
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test]
async fn either_signal_stops_the_agent_and_removes_its_connector() {
    let mut scene = Scene::enrolled().await;
    let token = scene.token("edge");
    for signal in [Signal::TERM, Signal::INT] {
        scene.until_one_connector(&token).await;
        let mut agent = scene.agent.take().unwrap();

        agent.signal(signal);

        assert_eq!(agent.ended().await, Some(0), "{signal:?}: {}", agent.log());
        assert!(!agent.log().contains(&token), "the token is logged: {}", agent.log());
        assert_eq!(scene.engine.containers().await, [], "{signal:?}");
        scene.start_agent();
    }
    scene.until_one_connector(&token).await;
}

#[tokio::test]
async fn a_host_that_lost_its_state_gets_its_id_and_its_tunnel_back() {
    // given
    let mut scene = Scene::enrolled().await;
    let token = scene.token("edge");
    let mut agent = scene.agent.take().unwrap();
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    std::fs::remove_dir_all(scene.agent_dir()).unwrap();
    std::fs::create_dir(scene.agent_dir()).unwrap();
    // when
    scene.start_agent();
    // then
    scene.until_one_connector(&token).await;
    scene.until_done("start_tunnel", 2).await;
    let id = std::fs::read_to_string(scene.agent_dir().join("agent_id.txt")).unwrap();
    assert_eq!(id.trim(), scene.agent_id);
}

#[tokio::test]
async fn an_agent_that_was_away_when_it_was_removed_stops_its_connector_when_it_is_back() {
    // given
    let mut scene = Scene::enrolled().await;
    let token = scene.token("edge");
    let connector = scene.until_one_connector(&token).await;
    scene.kill_agent();
    let path = format!("/api/v2/agents/{}/remove", scene.agent_id);
    assert_eq!(scene.master().post(&path, json!({})).await.0, 200);
    // The master restarts meanwhile, too.
    scene.start_master();
    assert_eq!(scene.until_one_connector(&token).await, connector, "nobody else can stop it");
    // when
    scene.start_agent();
    // then
    scene.until_done("stop_tunnel", 1).await;
    assert_eq!(scene.engine.containers().await, []);
    until("its key is revoked", || async {
        let keys = scene.master().get("/api/v2/agents").await["agent_keys"].clone();
        keys.as_object()?.values().all(|key| key["status"] == "revoked").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_empty_switch_for_tls_is_none_and_any_other_names_itself() {
    let engine = Engine::lease().await;
    let proxy = engine.proxy().await;
    for (value, expected) in [
        ("", &["watching the docker engine"][..]),
        ("0", &["TLS is on because of `DOCKER_TLS_VERIFY`", "no certificate at `/nonexistent/ca.pem`"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let agent = Rig::new("agent", dir.path())
            .env("DOCKFLARE_MASTER_URL", "http://127.0.0.1:9")
            .env("DOCKFLARE_API_KEY", "a-key")
            .env("DOCKER_HOST", proxy.docker_host.clone())
            .env("DOCKER_TLS_VERIFY", value)
            .env("DOCKER_CERT_PATH", "/nonexistent")
            .launch();
        until("it says how it is with the engine", || async {
            let log = agent.log();
            expected.iter().all(|words| log.contains(words)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_host_that_boots_while_its_master_is_away_serves_all_the_same() {
    let mut scene = Scene::enrolled().await;
    let token = scene.token("edge");
    let before = scene.until_one_connector(&token).await;
    scene.kill_agent();
    scene.kill_master();
    scene.engine.remove(CONTAINER_NAME).await;

    scene.start_agent();

    assert_ne!(scene.until_one_connector(&token).await, before);
    let log = scene.agent.as_ref().unwrap().log();
    assert!(!log.contains("registered with the master"), "{log}");
}
