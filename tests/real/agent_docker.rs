//! What the agent notices of containers, on a real Docker Engine.

use std::time::{Duration, SystemTime};

use lightship::actors::agent::reporter::ContainerNews;
use lightship::config::OnShutdown;
use lightship::domain::agent_tunnel::ConnectorOptions;
use tempfile::TempDir;

use crate::support::docker::Engine;
use crate::support::host_agent::{HostAgent, Setup};

async fn agent(engine: &Engine, dir: &TempDir) -> HostAgent {
    let setup = Setup {
        docker_host: engine.docker_host(),
        state_dir: dir.path(),
        on_shutdown: OnShutdown::Keep,
        options: ConnectorOptions::default(),
        label_prefix: Some("my.edge".into()),
    };
    HostAgent::start(setup).await
}

fn is_listing(news: &ContainerNews) -> bool {
    matches!(news, ContainerNews::Listed(_))
}

/// The next news that is of one container: a listing may come between, for its networks.
async fn next_of_one(agent: &mut HostAgent) -> ContainerNews {
    agent.news_until(|news| !is_listing(news)).await
}

/// Whether it says that a container runs, or that it does not. A listing that falls into it, as after a change of networks,
/// says it instead.
fn tells_of(news: &ContainerNews, id: &str) -> Option<bool> {
    match news {
        ContainerNews::Started(container) => (container.id.as_str() == id).then_some(true),
        ContainerNews::Stopped(gone) => (gone.as_str() == id).then_some(false),
        ContainerNews::Listed(all) => Some(all.iter().any(|container| container.id.as_str() == id)),
        ContainerNews::ListingLost => None,
    }
}

fn names(news: ContainerNews) -> Vec<String> {
    match news {
        ContainerNews::Listed(list) => list.into_iter().map(|c| c.name).collect(),
        other => panic!("no listing: {other:?}"),
    }
}

#[actix_web::test]
async fn labelled_containers_are_noticed_and_only_our_labels_leave_the_host() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    engine.run("first", &[("dockflare.enable", "true"), ("dockflare.hostname", "a.example.com")]).await;
    engine.run("unrelated", &[("secret", "s3cret")]).await;
    let mut agent = agent(&engine, &dir).await;
    assert_eq!(names(agent.news().await), ["first"]);

    engine.run("plain", &[("secret", "s3cret")]).await;
    for (name, label) in [("old", "cloudflare.tunnel.enable"), ("own", "my.edge.enable")] {
        let id = engine.run(name, &[(label, "true"), ("secret", "s3cret")]).await;

        let ContainerNews::Started(container) = next_of_one(&mut agent).await else {
            panic!("{name} was not noticed")
        };
        assert_eq!((container.name.as_str(), container.id.as_str()), (name, id.as_str()));
        assert_eq!(container.labels.keys().collect::<Vec<_>>(), [label], "other people's labels stay");
    }
    let listed = names(agent.news_until(is_listing).await);
    assert!(
        listed.iter().all(|name| ["first", "old", "own"].contains(&&**name)),
        "the others are nobody's business"
    );
    agent.stop().await;
}

#[actix_web::test]
async fn a_container_that_ends_in_whatever_way_is_gone_within_100_ms() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir).await;
    agent.news_until(is_listing).await;
    let mut times = Vec::new();
    for round in 0..9 {
        let name = format!("web-{round}");
        let id = engine.run(&name, &[("dockflare.enable", "true")]).await;
        agent.news_until(|news| tells_of(news, &id) == Some(true)).await;

        let ending = async {
            match round % 3 {
                0 => engine.kill(&name).await,
                1 => engine.remove(&name).await,
                _ => engine.stop(&name).await,
            }
        };
        let gone = async {
            agent.news_until(|news| tells_of(news, &id) == Some(false)).await;
            SystemTime::now()
        };
        let (at, ()) = tokio::join!(gone, ending);

        // How long the Engine takes to end it is not ours.
        times.push(at.duration_since(engine.ended_at(&id).await).unwrap_or_default());
    }
    // One slow one may be the machine's; half of them are ours.
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    agent.stop().await;
}

#[actix_web::test]
async fn a_container_that_is_started_again_and_renamed_is_followed() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir).await;
    agent.news_until(is_listing).await;
    let id = engine.run("web", &[("dockflare.enable", "true")]).await;
    assert!(matches!(next_of_one(&mut agent).await, ContainerNews::Started(_)));

    engine.kill("web").await;
    assert!(matches!(next_of_one(&mut agent).await, ContainerNews::Stopped(_)));
    engine.start("web").await;
    assert!(matches!(next_of_one(&mut agent).await, ContainerNews::Started(c) if c.id.as_str() == id));
    engine.client().pause_container("web").await.unwrap();
    engine.client().unpause_container("web").await.unwrap();
    let options = bollard::query_parameters::RenameContainerOptionsBuilder::default().name("web2").build();
    engine.client().rename_container("web", options).await.unwrap();

    assert!(matches!(next_of_one(&mut agent).await, ContainerNews::Started(c) if c.name == "web2"));
    agent.stop().await;
}

#[actix_web::test]
async fn an_engine_that_is_not_there_yet_is_waited_for() {
    let (mut engine, dir) = (Engine::lease_asleep().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir).await;
    assert_eq!(agent.news().await, ContainerNews::ListingLost);

    engine.start_daemon().await;

    assert_eq!(names(agent.news().await), Vec::<String>::new());
    engine.run("web", &[("dockflare.enable", "true")]).await;
    assert!(matches!(agent.news().await, ContainerNews::Started(_)));
    agent.stop().await;
}

#[actix_web::test]
async fn after_an_engine_restart_the_list_is_what_runs() {
    for signal in ["TERM", "KILL"] {
        let (mut engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
        engine.run("lost", &[("dockflare.enable", "true")]).await;
        engine.run_always("back", &[("dockflare.enable", "true")]).await;
        let mut agent = agent(&engine, &dir).await;
        assert_eq!(names(agent.news_until(is_listing).await).len(), 2);

        match signal {
            "TERM" => engine.stop_daemon().await,
            _ => engine.kill_daemon().await,
        }
        engine.start_daemon().await;

        let mut running = Vec::new();
        while running != ["back"] {
            match agent.news().await {
                ContainerNews::Listed(list) => running = list.into_iter().map(|c| c.name).collect(),
                ContainerNews::Started(container) => running.push(container.name),
                ContainerNews::Stopped(_) | ContainerNews::ListingLost => {}
            }
        }
        engine.run("new", &[("dockflare.enable", "true")]).await;
        agent.news_until(|n| matches!(n, ContainerNews::Started(c) if c.name == "new")).await;
        agent.stop().await;
    }
}

#[actix_web::test]
async fn the_networks_of_a_container_are_told_with_its_names_there_and_again_when_they_change() {
    use bollard::models::{
        EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
    };
    // given
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let edge = NetworkCreateRequest { name: "edge".into(), ..Default::default() };
    engine.client().create_network(edge).await.unwrap();
    let id = engine.run("web", &[("dockflare.enable", "true")]).await;
    let mut agent = agent(&engine, &dir).await;
    let until = async |agent: &mut HostAgent, wanted: &[&str]| loop {
        let ContainerNews::Listed(list) = agent.news_until(is_listing).await else { unreachable!() };
        let networks = list.into_iter().next().and_then(|web| web.networks).unwrap_or_default();
        if networks.keys().eq(wanted.iter()) {
            break networks;
        }
    };
    until(&mut agent, &["bridge"]).await;
    // when
    let endpoint = EndpointSettings { aliases: Some(vec!["shop".into()]), ..Default::default() };
    let connect = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint) };
    engine.client().connect_network("edge", connect).await.unwrap();
    // then
    let networks = until(&mut agent, &["bridge", "edge"]).await;
    assert!(networks["edge"].contains("shop"), "{networks:?}");
    // and when
    let disconnect = NetworkDisconnectRequest { container: id, force: None };
    engine.client().disconnect_network("edge", disconnect).await.unwrap();
    // then
    until(&mut agent, &["bridge"]).await;
    agent.stop().await;
}
