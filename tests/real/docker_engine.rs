//! The adapter against a real Docker Engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use lightship::docker::{BollardDocker, Docker, EngineAction, METRICS_PORT, NewConnector, RunState};
use lightship::domain::agent_tunnel::ConnectorOptions;
use lightship::domain::id::ContainerId;
use lightship::io::Io;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::support::docker::{CLOUDFLARED_IMAGE, Engine, token};
use crate::support::until::{DEADLINE, until};

fn docker(engine: &Engine) -> BollardDocker {
    BollardDocker::new(&engine.docker_host(), Io::current()).unwrap()
}

fn connector(name: &str, behave: &str) -> NewConnector {
    NewConnector {
        name: name.to_owned(),
        image: CLOUDFLARED_IMAGE.to_owned(),
        command: ["tunnel", "--no-autoupdate", "run"].map(str::to_owned).to_vec(),
        token: SecretString::from(token("t1", behave)),
        metrics: format!("0.0.0.0:{METRICS_PORT}"),
        options: ConnectorOptions::default(),
        network: "edge".to_owned(),
        labels: BTreeMap::from([("lightship.agent".to_owned(), "a1".to_owned())]),
    }
}

#[tokio::test]
async fn the_api_version_is_agreed_with_the_engine() {
    let engine = Engine::lease().await;

    let info = docker(&engine).connect().await.unwrap();

    let theirs = engine.client().version().await.unwrap().api_version.unwrap();
    assert_eq!(info.api_version, theirs);
    assert!(info.time.is_some());
}

#[tokio::test]
async fn a_listing_names_running_and_paused_containers_with_their_labels() {
    let engine = Engine::lease().await;
    let id = engine.run("web", &[("dockflare.enable", "true"), ("quote", "a \"b\"\n\u{1f600}")]).await;
    engine.run("frozen", &[]).await;
    engine.client().pause_container("frozen").await.unwrap();
    engine.run("ended", &[]).await;
    engine.kill("ended").await;

    let mut listed = docker(&engine).list_running().await.unwrap();

    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = listed.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["frozen", "web"]);
    assert_eq!(listed[1].id.as_str(), id);
    assert_eq!(listed[1].labels["quote"], "a \"b\"\n\u{1f600}");
}

#[tokio::test]
async fn events_since_the_engines_time_come_first_and_then_live() {
    let engine = Engine::lease().await;
    let docker = docker(&engine);
    let since = docker.connect().await.unwrap().time.unwrap();
    let id = engine.run("web", &[("dockflare.enable", "true")]).await;

    let mut events = docker.watch(since).await.unwrap();
    let joined = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    let first = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    engine.kill("web").await;
    let mut later = Vec::new();
    while !later.contains(&EngineAction::Die) {
        later.push(timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap().action);
    }

    assert_eq!((joined.action, joined.id.as_str()), (EngineAction::Networks, id.as_str()));
    assert!(joined.attributes.is_empty(), "{joined:?}");
    assert_eq!((first.action, first.id.as_str()), (EngineAction::Start, id.as_str()));
    assert_eq!(first.attributes["dockflare.enable"], "true");
    assert_eq!(first.attributes["name"], "web");
}

#[tokio::test]
async fn the_event_stream_ends_when_the_engine_does() {
    let mut engine = Engine::lease().await;
    let docker = docker(&engine);
    let since = docker.connect().await.unwrap().time.unwrap();
    engine.run("web", &[]).await;
    let mut events = docker.watch(since).await.unwrap();
    timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();

    engine.stop_daemon().await;

    let ended = async { while let Some(Ok(_)) = events.next().await {} };
    timeout(DEADLINE, ended).await.unwrap();
    assert!(docker.list_running().await.unwrap_err().is_away());
    engine.start_daemon().await;
    assert_eq!(docker.list_running().await.unwrap(), []);
}

#[tokio::test]
async fn a_connector_is_made_as_described_and_says_how_it_is() {
    let engine = Engine::lease().await;
    let docker = docker(&engine);
    let new = connector("c1", "ready_after_ms=300");

    assert!(docker.has_image(&new.image).await.unwrap());
    assert!(docker.ensure_network(&new.network, &[("lightship.agent", "a1")]).await.unwrap());
    assert!(!docker.ensure_network(&new.network, &[]).await.unwrap());
    let id = docker.create_connector(&new).await.unwrap();
    docker.start(&id).await.unwrap();
    docker.start(&id).await.unwrap();

    let found = docker.find_container("c1").await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.network.as_str(), found.restart_policy.as_str()),
        (RunState::Running, "edge", "unless-stopped")
    );
    assert_eq!((&found.image, &found.command, &found.labels), (&new.image, &new.command, &new.labels));
    assert_eq!(found.token.unwrap().expose_secret(), new.token.expose_secret());
    let at = SocketAddr::new(found.addresses["edge"].unwrap(), METRICS_PORT);
    let ready = until("the connector is ready", || async {
        let status = docker.read_connector(at).await;
        // It is ready before it has its first configuration.
        (status.is_ready == Some(true) && status.config_version == Some(1)).then_some(status)
    });
    let status = ready.await;
    assert_eq!((status.version.as_deref(), status.ready_connections), (Some("2025.9.0"), Some(4)));
    let lines = docker.last_log_lines(&id).await.unwrap();
    assert!(lines.iter().any(|line| line.contains("Starting tunnel tunnelID=t1")), "{lines:?}");

    docker.stop(&id).await.unwrap();
    assert_eq!(docker.find_container("c1").await.unwrap().unwrap().exit_code, Some(0));
    docker.rename(&id, "c2").await.unwrap();
    docker.remove(&id).await.unwrap();
    docker.remove(&id).await.unwrap();
    docker.stop(&id).await.unwrap();
    assert!(docker.find_container("c2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_listener_that_cannot_be_reached_is_unknown() {
    let engine = Engine::lease().await;
    let docker = docker(&engine);

    let nobody = docker.read_connector(SocketAddr::from(([127, 0, 0, 1], 1))).await;

    assert_eq!(nobody, Default::default());
}

#[tokio::test]
async fn a_name_in_use_and_an_image_that_nobody_has_are_told_apart() {
    let engine = Engine::lease().await;
    let docker = docker(&engine);
    engine.run("c1", &[]).await;
    docker.ensure_network("edge", &[]).await.unwrap();

    let taken = docker.create_connector(&connector("c1", "")).await.unwrap_err();
    let missing = docker.pull_image("localhost:1/none:1").await.unwrap_err();
    assert!(!docker.has_image("localhost:1/none:1").await.unwrap());

    assert!(taken.is_conflict(), "{taken}");
    assert!(missing.to_string().starts_with("image `localhost:1/none:1` could not be pulled"), "{missing}");
    let gone = docker.start(&ContainerId::new("0".repeat(64))).await.unwrap_err();
    assert!(gone.is_not_found(), "{gone}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_given_up_in_time() {
    // given: something that takes connections and says nothing
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let _silent = tokio::net::UnixListener::bind(&path).unwrap();
    let docker = BollardDocker::new(&format!("unix://{}", path.display()), Io::current()).unwrap();

    let error = timeout(Duration::from_secs(20), docker.list_running()).await.unwrap().unwrap_err();

    assert!(error.is_away(), "{error}");
}
