//! The connector's container, on a real Docker Engine with a program that behaves as `cloudflared`.

mod repair;
mod strangers;

use std::cell::Cell;
use std::time::Duration;

use bollard::query_parameters::InspectNetworkOptions;
use lightship::actors::agent::command_poller::TunnelWork;
use lightship::chance::Chance;
use lightship::config::OnShutdown;
use lightship::domain::agent_tunnel::{
    AGENT_LABEL, COMMAND, COMMAND_LABEL, CONTAINER_NAME, ConnectorOptions, FORM_LABEL,
};
use lightship::domain::tunnel::TunnelHealth;
use lightship::state_dir::DesiredState;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::docker::{CLOUDFLARED_IMAGE, Engine, token};
use crate::support::host_agent::{AGENT, HostAgent, NETWORK, Setup, restart, start};
use crate::support::until::{until, until_equal};

async fn agent(engine: &Engine, dir: &TempDir, on_shutdown: OnShutdown) -> HostAgent {
    agent_with(engine, dir, on_shutdown, ConnectorOptions::default()).await
}

async fn agent_with(
    engine: &Engine,
    dir: &TempDir,
    on_shutdown: OnShutdown,
    options: ConnectorOptions,
) -> HostAgent {
    let (docker_host, state_dir) = (engine.docker_host(), dir.path());
    HostAgent::start(Setup { docker_host, state_dir, on_shutdown, label_prefix: None, options }).await
}

async fn id_of_tunnel(engine: &Engine) -> Option<String> {
    engine.inspect(CONTAINER_NAME).await.and_then(|found| found.id)
}

/// Exactly one container under our names, and it runs.
async fn until_one_runs(engine: &Engine) {
    let one = vec![(CONTAINER_NAME.to_owned(), "running".to_owned())];
    until_equal("one connector", one, || engine.containers()).await;
}

async fn env_of_tunnel(engine: &Engine) -> Vec<String> {
    engine.inspect(CONTAINER_NAME).await.unwrap().config.unwrap().env.unwrap()
}

#[actix_web::test]
async fn start_tunnel_makes_network_and_container_and_tells_how_it_is() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;
    agent.until_health(TunnelHealth::Stopped).await;

    let outcome = agent.carry_out("c1", start(&token("t1", "ready_after_ms=300"))).await;

    assert!(outcome.succeeded, "{}", outcome.message);
    let report = agent.until_health(TunnelHealth::Running).await;
    assert_eq!((report.version.as_deref(), report.ready_connections), (Some("2025.9.0"), Some(4)));
    assert_eq!((report.tunnel_id.unwrap().as_str(), report.name.as_deref()), ("t1", Some("home")));
    assert_eq!((report.config_version, report.reason), (Some(1), None));
    let found = engine.inspect(CONTAINER_NAME).await.unwrap();
    let (config, host) = (found.config.unwrap(), found.host_config.unwrap());
    assert_eq!(config.cmd.unwrap(), COMMAND);
    assert_eq!((config.stop_timeout, host.network_mode.as_deref()), (Some(35), Some(NETWORK)));
    assert_eq!(host.extra_hosts.unwrap(), ["host.docker.internal:host-gateway"]);
    let names = std::fs::read_to_string(found.hosts_path.unwrap()).unwrap();
    assert!(names.contains("\thost.docker.internal"), "the name leads somewhere: {names}");
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges:true"]);
    let labels = config.labels.unwrap();
    assert_eq!((labels[AGENT_LABEL].as_str(), labels[COMMAND_LABEL].as_str()), (AGENT, "c1"));
    assert_eq!(labels["lightship.token-sha256"].len(), 12);
    let network = engine.client().inspect_network(NETWORK, None::<InspectNetworkOptions>).await.unwrap();
    assert_eq!(network.driver.as_deref(), Some("bridge"));
    assert_eq!(network.labels.unwrap()[AGENT_LABEL], AGENT);

    let before = id_of_tunnel(&engine).await;
    assert!(agent.carry_out("c2", start(&token("t1", "ready_after_ms=300"))).await.succeeded);
    assert_eq!(id_of_tunnel(&engine).await, before, "the same order again changes nothing");
    agent.stop().await;
    assert_eq!(id_of_tunnel(&engine).await, before, "kept, as it was set");
}

#[actix_web::test]
async fn a_new_token_is_served_before_the_old_one_ends() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let agent = agent(&engine, &dir, OnShutdown::Keep).await;
    agent.carry_out("c1", start(&token("t1", ""))).await;
    let before = id_of_tunnel(&engine).await;

    // Long enough to be seen side by side, however slowly the Engine answers.
    let second = token("t1", "ready_after_ms=1500");
    let mut answer = agent.order("c2", start(&second));
    let (mut fewest, mut most) = (usize::MAX, 0);
    let outcome = loop {
        let containers = engine.containers().await;
        let running = containers.iter().filter(|(_, state)| state == "running").count();
        (fewest, most) = (fewest.min(running), most.max(running));
        if let Ok(outcome) = answer.try_recv() {
            break outcome.unwrap();
        }
    };

    assert!(outcome.succeeded, "{}", outcome.message);
    assert_eq!((fewest, most), (1, 2), "running connectors, at the least and at the most");
    until_one_runs(&engine).await;
    assert_ne!(id_of_tunnel(&engine).await, before);
    assert!(env_of_tunnel(&engine).await.contains(&format!("TUNNEL_TOKEN={second}")));
    agent.stop().await;
}

#[actix_web::test]
async fn an_option_of_the_connector_replaces_it_without_a_gap() {
    // given
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let first = agent(&engine, &dir, OnShutdown::Keep).await;
    first.carry_out("c1", start(&token("t1", "ready_after_ms=300"))).await;
    let before = id_of_tunnel(&engine).await;
    first.stop().await;
    for (protocol, variable) in
        [(Some("http2"), "TUNNEL_TRANSPORT_PROTOCOL=http2"), (None, "TUNNEL_METRICS=")]
    {
        // when
        let options = ConnectorOptions::new(protocol, None, None).unwrap();
        let agent = agent_with(&engine, &dir, OnShutdown::Keep, options).await;
        // then
        let fewest = Cell::new(usize::MAX);
        until("the one that runs has the option", || async {
            let containers = engine.containers().await;
            let running = containers.iter().filter(|(_, state)| state == "running").count();
            fewest.set(fewest.get().min(running));
            let env = engine.inspect(CONTAINER_NAME).await?.config?.env?;
            let is_set = env.iter().any(|pair| pair.starts_with("TUNNEL_TRANSPORT_PROTOCOL="));
            (containers.len() == 1 && is_set == protocol.is_some()).then_some(())
        })
        .await;
        assert!(env_of_tunnel(&engine).await.iter().any(|pair| pair.starts_with(variable)));
        assert_eq!(fewest.get(), 1, "one serves at any time");
        until_one_runs(&engine).await;
        let now = id_of_tunnel(&engine).await;
        assert_ne!(now, before);
        // The same order again is answered after a comparison that found nothing to do.
        let same = start(&token("t1", "ready_after_ms=300"));
        assert!(agent.carry_out(protocol.unwrap_or("none"), same).await.succeeded);
        assert_eq!(id_of_tunnel(&engine).await, now, "once and not again");
        agent.stop().await;
    }
}

#[actix_web::test]
async fn restart_tunnel_replaces_it_once_even_if_it_comes_twice() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let agent = agent(&engine, &dir, OnShutdown::Keep).await;
    let token = token("t1", "");
    agent.carry_out("c1", start(&token)).await;
    let first = id_of_tunnel(&engine).await;

    assert!(agent.carry_out("c2", restart(&token)).await.succeeded);
    let second = id_of_tunnel(&engine).await;
    assert!(agent.carry_out("c2", restart(&token)).await.succeeded);
    let third = id_of_tunnel(&engine).await;

    assert_ne!(first, second);
    assert_eq!(second, third, "the same command, delivered again");
    until_one_runs(&engine).await;
    agent.stop().await;
}

#[actix_web::test]
async fn stop_tunnel_removes_it_and_forgets_its_token() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;
    agent.carry_out("c1", start(&token("t1", ""))).await;

    let outcome = agent.carry_out("c2", TunnelWork::Stop).await;

    assert!(outcome.succeeded, "{}", outcome.message);
    assert_eq!(engine.containers().await, []);
    agent.until_health(TunnelHealth::Stopped).await;
    let kept = || async {
        let kept = agent.state.tunnel_state().await.unwrap().unwrap();
        (kept.token.is_none() && kept.id.is_none() && kept.desired_state == DesiredState::Stopped)
            .then_some(())
    };
    until("the token is forgotten", kept).await;
    agent.stop().await;
}

#[actix_web::test]
async fn the_tunnel_comes_up_from_the_kept_state_without_a_master() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let first = agent(&engine, &dir, OnShutdown::Remove).await;
    first.carry_out("c1", start(&token("t1", ""))).await;
    first.stop().await;
    assert_eq!(engine.containers().await, []);

    let mut second = agent(&engine, &dir, OnShutdown::Keep).await;

    let report = second.until_health(TunnelHealth::Running).await;
    assert_eq!(report.tunnel_id.unwrap().as_str(), "t1");
    until_one_runs(&engine).await;
    second.stop().await;
}

#[actix_web::test]
async fn an_image_that_nobody_has_fails_the_command_with_its_name() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    engine
        .client()
        .remove_image(CLOUDFLARED_IMAGE, None::<bollard::query_parameters::RemoveImageOptions>, None)
        .await
        .unwrap();
    let agent = agent(&engine, &dir, OnShutdown::Keep).await;

    let outcome = agent.carry_out("c1", start(&token("t1", ""))).await;

    assert!(!outcome.succeeded);
    assert!(outcome.message.contains(CLOUDFLARED_IMAGE), "{}", outcome.message);
    agent.stop().await;
    engine.reload_images().await;
}

#[actix_web::test]
async fn an_agent_cut_off_anywhere_in_a_replacement_leaves_exactly_one_in_the_end() {
    let chance = Chance::seeded(7);
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let mut last = token("t1", "");
    let first = agent(&engine, &dir, OnShutdown::Keep).await;
    first.carry_out("c0", start(&last)).await;
    first.stop().await;
    for round in 1..=5 {
        let cut = agent(&engine, &dir, OnShutdown::Keep).await;
        last = token("t1", &format!("ready_after_ms={round}"));
        let answer = cut.order(&format!("c{round}"), restart(&last));
        let after = Duration::from_millis(900).mul_f64(chance.fraction());
        let _ = timeout(after, answer).await;
        cut.stop().await;

        // The poller wrote the command down before it handed it over, so it hands it over again.
        let next = agent(&engine, &dir, OnShutdown::Keep).await;
        let outcome = next.carry_out(&format!("c{round}"), restart(&last)).await;
        assert!(outcome.succeeded, "round {round}, cut after {after:?}: {}", outcome.message);
        until_one_runs(&engine).await;
        assert!(env_of_tunnel(&engine).await.contains(&format!("TUNNEL_TOKEN={last}")));
        next.stop().await;
    }
}

#[actix_web::test]
async fn nothing_is_asked_that_the_socket_proxy_does_not_permit() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let proxy = engine.proxy().await;
    let setup = Setup {
        docker_host: proxy.docker_host.clone(),
        state_dir: dir.path(),
        on_shutdown: OnShutdown::Remove,
        options: ConnectorOptions::default(),
        label_prefix: None,
    };
    let mut agent = HostAgent::start(setup).await;

    let refused = agent.carry_out("c1", start("not-a-token")).await;
    assert!(refused.message.contains("not valid"), "{}", refused.message);
    let started = agent.carry_out("c2", start(&token("t1", ""))).await;
    assert!(started.succeeded, "{}", started.message);
    engine.client().pause_container(CONTAINER_NAME).await.unwrap();
    until_one_runs(&engine).await;
    let restarted = agent.carry_out("c3", restart(&token("t1", ""))).await;
    assert!(restarted.succeeded, "{}", restarted.message);
    let report = agent.until_health(TunnelHealth::Running).await;
    agent.stop().await;

    // CONTAINERS, EVENTS, IMAGES, NETWORKS, INFO, PING, VERSION, POST: and no EXEC, yet the version is known.
    assert_eq!(report.version.as_deref(), Some("2025.9.0"));
    let permitted = ["containers", "events", "images", "networks", "info", "_ping", "version"];
    let asked = proxy.asked();
    for line in &asked {
        let path = line.split_whitespace().nth(1).unwrap();
        let topic =
            path.trim_start_matches('/').split(['/', '?']).find(|part| !part.starts_with("v1.")).unwrap();
        assert!(permitted.contains(&topic) && !path.contains("/exec"), "{line}");
    }
    let pulls = asked.iter().filter(|line| line.contains("/images/create"));
    assert_eq!(pulls.count(), 0, "an image that the host has is not pulled");
    for topic in ["GET /v1.41/events", "POST /v1.41/containers/create", "GET /v1.41/containers/json"] {
        assert!(asked.iter().any(|line| line.starts_with(topic)), "{topic} was not seen: {asked:#?}");
    }
    assert_eq!(engine.containers().await, []);
}
