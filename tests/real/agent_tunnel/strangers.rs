//! Containers under our name that somebody else made.

use bollard::models::{ContainerCreateBody, HostConfig, RestartPolicy, RestartPolicyNameEnum};

use super::*;

/// What a DockFlare agent leaves behind.
fn dockflare_container(token: &str) -> ContainerCreateBody {
    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None };
    ContainerCreateBody {
        image: Some(CLOUDFLARED_IMAGE.to_owned()),
        cmd: Some(COMMAND.map(str::to_owned).to_vec()),
        env: Some(vec![format!("TUNNEL_TOKEN={token}")]),
        host_config: Some(HostConfig {
            network_mode: Some(NETWORK.to_owned()),
            restart_policy: Some(policy),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn make_network(engine: &Engine) {
    let network = bollard::models::NetworkCreateRequest { name: NETWORK.to_owned(), ..Default::default() };
    engine.client().create_network(network).await.unwrap();
}

#[actix_web::test]
async fn a_container_of_a_dockflare_agent_is_kept_if_equal_and_replaced_if_not() {
    for (left_token, is_kept) in [(token("t1", ""), true), (token("t0", ""), false)] {
        let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
        make_network(&engine).await;
        let left = engine.run_body(CONTAINER_NAME, dockflare_container(&left_token)).await;
        let mut agent = agent(&engine, &dir, OnShutdown::Keep).await;
        agent.until_health(TunnelHealth::Stopped).await;
        assert_eq!(id_of_tunnel(&engine).await, Some(left.clone()), "nobody ordered anything yet");

        let outcome = agent.carry_out("c1", start(&token("t1", ""))).await;

        assert!(outcome.succeeded, "{}", outcome.message);
        assert_eq!(id_of_tunnel(&engine).await == Some(left), is_kept);
        until_one_runs(&engine).await;
        let report = agent.until_health(TunnelHealth::Running).await;
        assert_eq!(report.ready_connections, Some(4), "it is asked where its image listens");
        agent.stop().await;
    }
}

#[actix_web::test]
async fn a_connector_that_does_not_reach_its_host_by_name_is_replaced_once() {
    // given: a connector of ours as earlier versions made it
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    let token = token("t1", "");
    let first = agent(&engine, &dir, OnShutdown::Keep).await;
    first.carry_out("c1", start(&token)).await;
    first.stop().await;
    let mut made = engine.inspect(CONTAINER_NAME).await.unwrap().config.unwrap();
    engine.remove(CONTAINER_NAME).await;
    let mut labels = made.labels.take().unwrap();
    labels.remove(FORM_LABEL).unwrap();
    let body = ContainerCreateBody { labels: Some(labels), env: made.env, ..dockflare_container(&token) };
    let old = engine.run_body(CONTAINER_NAME, body).await;
    // when
    let agent = agent(&engine, &dir, OnShutdown::Keep).await;
    // then
    until("another one runs", || async {
        let now = id_of_tunnel(&engine).await.filter(|id| *id != old)?;
        (engine.containers().await == [(CONTAINER_NAME.to_owned(), "running".to_owned())]).then_some(now)
    })
    .await;
    let host = engine.inspect(CONTAINER_NAME).await.unwrap().host_config.unwrap();
    assert_eq!(host.extra_hosts.unwrap(), ["host.docker.internal:host-gateway"]);
    agent.stop().await;
}

#[actix_web::test]
async fn a_container_of_another_agent_is_an_error_and_never_touched() {
    let (engine, dir) = (Engine::lease().await, tempfile::tempdir().unwrap());
    make_network(&engine).await;
    let labels = [(AGENT_LABEL.to_owned(), "somebody-else".to_owned())];
    let body = ContainerCreateBody { labels: Some(labels.into()), ..dockflare_container(&token("t1", "")) };
    let theirs = engine.run_body(CONTAINER_NAME, body).await;
    let mut agent = agent(&engine, &dir, OnShutdown::Remove).await;

    let outcome = agent.carry_out("c1", start(&token("t2", ""))).await;

    assert!(!outcome.succeeded);
    assert!(outcome.message.contains("`somebody-else`"), "{}", outcome.message);
    let report = agent.until_health(TunnelHealth::Failed).await;
    assert!(report.reason.unwrap().contains("`somebody-else`"));
    agent.stop().await;
    assert_eq!(id_of_tunnel(&engine).await, Some(theirs));
    until_one_runs(&engine).await;
}
