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
        agent.stop().await;
    }
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
