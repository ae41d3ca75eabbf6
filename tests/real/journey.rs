//! The main road: a labelled container on any host becomes a public route, and goes again.

use std::time::{Duration, Instant};

use lightship::domain::agent_tunnel::CONTAINER_NAME;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::raw_client::{RawClient, container};
use crate::scene::{Scene, labels, subfolder};
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn};
use crate::support::docker::Engine;
use crate::support::ship::{ADMIN_TOKEN, Rig};
use crate::support::until::{until, until_equal};

const HOST: &str = "app.example.com";
/// What a person takes for at once.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn standalone_without_a_token_shows_what_it_would_publish_within_a_second() {
    let engine = Engine::lease().await;
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("standalone", dir.path()).engine(&engine);
    let ship = rig.start();
    ship.until_agent("enrolled").await;
    until("the engine is watched", || async {
        ship.log().contains("watching the docker engine").then_some(())
    })
    .await;
    // when
    engine.run("app", &labels(HOST)).await;
    let begun = Instant::now();
    ship.until_route(HOST, "planned").await;
    let mut took = vec![begun.elapsed()];
    // One slow one may be the machine's, three are ours.
    while took[took.len() - 1] > SOON && took.len() < 3 {
        let name = format!("app-{}", took.len());
        let host = format!("{name}.example.com");
        engine.run(&name, &labels(&host)).await;
        let begun = Instant::now();
        ship.until_route(&host, "planned").await;
        took.push(begun.elapsed());
    }
    // then
    println!("docker run to planned route: {took:?}");
    assert!(took[took.len() - 1] <= SOON, "{took:?}");
    let services = ship.get("/api/v2/services").await;
    assert_eq!(services["services"][0]["hostname"], HOST);
    assert_eq!(services["services"][0]["status"], "planned");
    let (code, said, errors) = rig.verb(&["routes", "--json"]);
    let routes: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &routes[0]["state"]), (0, &json!("planned")), "{said}{errors}");
    let (code, said, errors) = rig.verb(&["plan"]);
    assert_eq!(code, 2, "changes are pending: {said}{errors}");
    assert!(said.contains(HOST) && errors.contains("no Cloudflare token"), "{said}{errors}");
    assert_eq!(engine.containers().await.len(), took.len(), "no connector without a tunnel");
    assert!(ship.stop().success());
}

#[tokio::test]
async fn standalone_publishes_watches_and_clears_up() {
    let engine = Engine::lease().await;
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("standalone", dir.path()).engine(&engine).cloudflare(&standin);
    let ship = rig.start();
    engine.run("app", &labels(HOST)).await;
    // then: it enrols itself, publishes, and runs one connector with the tunnel's token
    ship.until_route(HOST, "published").await;
    let (tunnel, token) = {
        let state = standin.state();
        let [tunnel] = state.tunnels.as_slice() else { panic!("one tunnel: {:?}", state.tunnels) };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(tunnel.name, format!("lightship-{}", host.trim()));
        (tunnel.id.clone(), tunnel.token(ACCOUNT))
    };
    assert_eq!(standin.hostnames(&tunnel), [HOST]);
    let records = standin.records(HOST);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].content, format!("{tunnel}.cfargotunnel.com"));
    let connector = until("the connector runs", || async {
        let found = engine.inspect(CONTAINER_NAME).await?;
        found.state?.running?.then_some(found.config?)
    })
    .await;
    assert!(connector.env.unwrap_or_default().contains(&format!("TUNNEL_TOKEN={token}")));
    let cmd = connector.cmd.unwrap_or_default();
    assert!(!cmd.iter().any(|word| word.contains(&token)), "the token is in the environment only");
    // and the verbs say the same
    let (code, said, _) = rig.verb(&["plan"]);
    assert_eq!(code, 0, "nothing is left to do: {said}");
    let (code, said, _) = rig.verb(&["agents", "--json"]);
    let agents: Value = serde_json::from_str(&said).unwrap();
    let agent = agents.as_object().unwrap().values().next().unwrap();
    assert_eq!(
        (code, &agent["status"], &agent["assigned_tunnel_token"]),
        (0, &json!("enrolled"), &Value::Null)
    );
    until("the connector is seen to run", || async {
        let agents = ship.get("/api/v2/agents").await;
        let agent = agents["agents"].as_object()?.values().next()?.clone();
        (agent["tunnel_version"] == "2025.9.0").then_some(())
    })
    .await;
    // when the container dies
    let mut took = Vec::new();
    // One slow one may be the machine's, three are ours.
    while took.last().is_none_or(|took| *took > SOON) && took.len() < 3 {
        let begun = Instant::now();
        engine.kill("app").await;
        ship.until_route(HOST, "pending_deletion").await;
        took.push(begun.elapsed());
        assert_eq!(standin.hostnames(&tunnel), [HOST], "it stays for the grace period");
        // and comes back
        engine.start("app").await;
        ship.until_route(HOST, "published").await;
    }
    println!("docker kill to pending deletion: {took:?}");
    assert!(took[took.len() - 1] <= SOON, "{took:?}");
    engine.remove("app").await;
    ship.until_route(HOST, "pending_deletion").await;
    // and a stop takes the connector along
    let log = ship.log();
    assert!(!log.contains(&token) && !log.contains(ADMIN_TOKEN), "no secret in the log");
    assert!(log.contains("only this host can connect; for other hosts set SERVER_HOST=0.0.0.0"), "{log}");
    assert!(ship.stop().success());
    assert!(engine.inspect(CONTAINER_NAME).await.is_none());
    standin.assert_no_violations();
}

#[tokio::test]
async fn a_route_whose_grace_period_is_over_is_withdrawn_with_its_record() {
    let standin = CloudflareStandIn::start();
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("master", dir.path()).cloudflare(&standin);
    let master = rig.env("LIGHTSHIP__PUBLISH__GRACE_PERIOD_SECONDS", "1").start();
    let agent = RawClient::enrolled(&master, "raw-1", "edge").await;
    let both = [("app".to_owned(), HOST.to_owned()), ("web".to_owned(), "web.example.com".to_owned())];
    agent.status_report(&both).await;
    master.until_route(HOST, "published").await;
    master.until_route("web.example.com", "published").await;

    agent.status_report(&both[1..]).await;

    until_equal("one rule is left", vec!["web.example.com".to_owned()], || async {
        standin.hostnames(&tunnel)
    })
    .await;
    until_equal("its record is gone", 0, || async { standin.records(HOST).len() }).await;
    assert_eq!(standin.records("web.example.com").len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_told_to_keeps_the_connector_when_it_stops() {
    let engine = Engine::lease().await;
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("standalone", dir.path())
        .engine(&engine)
        .cloudflare(&standin)
        .env("LIGHTSHIP__TUNNEL__ON_SHUTDOWN", "keep");
    let ship = rig.start();
    let id = until("the connector runs", || async {
        let found = engine.inspect(CONTAINER_NAME).await?;
        found.state?.running?.then_some(found.id?)
    })
    .await;

    assert!(ship.stop().success());

    assert_eq!(engine.inspect(CONTAINER_NAME).await.unwrap().state.unwrap().running, Some(true));
    // and the next start finds it good
    let ship = rig.start();
    ship.until_agent("enrolled").await;
    until("the tunnel was looked at", || async {
        let agents = ship.get("/api/v2/agents").await;
        let agent = agents["agents"].as_object()?.values().next()?.clone();
        (agent["tunnel_version"] == "2025.9.0").then_some(())
    })
    .await;
    assert_eq!(engine.inspect(CONTAINER_NAME).await.unwrap().id, Some(id));
}

#[tokio::test]
async fn two_hosts_publish_and_a_hostname_belongs_to_the_first() {
    // given: a master beside the test, and two agents on hosts of their own
    let (one, two) = (Engine::lease().await, Engine::lease().await);
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let master = Rig::new("master", &subfolder(&dir, "master"))
        .cloudflare(&standin)
        .env("SERVER_HOST", "0.0.0.0")
        .start();
    let mut agents = Vec::new();
    for (name, engine) in [("one", &one), ("two", &two)] {
        let agent = Rig::new("agent", &subfolder(&dir, name))
            .on(engine)
            .env("DOCKFLARE_MASTER_URL", format!("http://{}:{}/", engine.gateway(), master.port()))
            .env("DOCKFLARE_API_KEY", master.new_key().await)
            .env("AGENT_DISPLAY_NAME", name)
            .start();
        let id = master.until_agent("pending").await;
        let path = format!("/api/v2/agents/{id}/enroll");
        assert_eq!(master.post(&path, json!({ "tunnel_name": name })).await.0, 200);
        agents.push((agent, id));
    }
    assert!(!master.log().contains("only this host can connect"));
    // when
    one.run("app", &labels(HOST)).await;
    two.run("web", &labels("web.example.com")).await;
    master.until_route(HOST, "published").await;
    master.until_route("web.example.com", "published").await;
    two.run("thief", &labels(HOST)).await;
    // then
    let refused = until("the second claim is shown", || async {
        let answer = master.get("/api/v3/routes").await;
        let routes = answer["routes"].as_array().cloned().unwrap_or_default();
        routes.into_iter().find(|route| route["hostname"] == HOST && route["agent_id"] == *agents[1].1)
    })
    .await;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(HOST) && reason.contains(&agents[0].1), "{refused}");
    for (engine, name, host) in [(&one, "one", HOST), (&two, "two", "web.example.com")] {
        let tunnel = {
            let state = standin.state();
            state.tunnels.iter().find(|tunnel| tunnel.name == name).unwrap().id.clone()
        };
        assert_eq!(standin.hostnames(&tunnel), [host]);
        until("its connector runs", || async {
            engine.inspect(CONTAINER_NAME).await?.state?.running?.then_some(())
        })
        .await;
    }
    // and when an agent is removed, its connector and its key go
    assert_eq!(master.post(&format!("/api/v2/agents/{}/remove", agents[0].1), json!({})).await.0, 200);
    until("its connector is gone", || async { one.inspect(CONTAINER_NAME).await.is_none().then_some(()) })
        .await;
    until("the name is free, and the other host has it", || async {
        let answer = master.get("/api/v3/routes").await;
        let routes = answer["routes"].as_array().cloned().unwrap_or_default();
        let states = routes.into_iter().filter(|route| route["hostname"] == HOST);
        states
            .map(|route| (route["agent_id"].clone(), route["state"].clone()))
            .next()
            .filter(|found| *found == (json!(agents[1].1), json!("published")))
    })
    .await;
}

#[tokio::test]
async fn a_connector_that_somebody_broke_is_repaired() {
    let scene = Scene::enrolled().await;
    let token = scene.token("edge");
    let first = scene.until_one_connector(&token).await;
    scene.engine.client().pause_container(CONTAINER_NAME).await.unwrap();
    until("it runs on", || async {
        let state = scene.engine.inspect(CONTAINER_NAME).await?.state?;
        (state.paused == Some(false)).then_some(())
    })
    .await;
    scene.engine.stop(CONTAINER_NAME).await;
    assert_eq!(scene.until_one_connector(&token).await, first);
    scene.engine.remove(CONTAINER_NAME).await;
    assert_ne!(scene.until_one_connector(&token).await, first);
}

#[tokio::test]
async fn a_client_that_speaks_dockflares_protocol_is_served() {
    let standin = CloudflareStandIn::start();
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    let dir = TempDir::new().unwrap();
    let master = Rig::new("master", dir.path()).cloudflare(&standin).start();
    let agent = RawClient::register(&master, "raw-1").await;
    // given: a pending agent is heard, and changes nothing outside
    agent.event(json!({ "type": "heartbeat" })).await;
    agent.event(json!({ "type": "container_start", "container": container("app", HOST) })).await;
    assert_eq!(agent.commands().await, Vec::<Value>::new());
    assert_eq!(master.get("/api/v2/services").await["services"], json!([]));
    assert_eq!(standin.calls().iter().filter(|call| call.method != "GET").count(), 0);
    // when
    let path = "/api/v2/agents/raw-1/enroll";
    let (status, answer) = master.post(path, json!({ "tunnel_name": "edge" })).await;
    // then: what it said before is published without another word
    assert_eq!((status, &answer["command"]["action"]), (200, &json!("start_tunnel")), "{answer}");
    assert!(answer["command"].get("token").is_none(), "{answer}");
    master.until_route(HOST, "published").await;
    assert_eq!(standin.hostnames(&tunnel), [HOST]);
    let commands = agent.commands().await;
    let token = standin.state().tunnel(&tunnel).unwrap().token(ACCOUNT);
    assert_eq!(commands.len(), 1);
    assert_eq!((&commands[0]["action"], &commands[0]["token"]), (&json!("start_tunnel"), &json!(token)));
    agent
        .event(json!({ "type": "tunnel_status", "container": { "name": "edge", "status": "running" } }))
        .await;
    // A container that died may be back at once; one that was stopped is gone.
    let app = json!({ "id": container("app", HOST)["id"], "name": "app" });
    agent.event(json!({ "type": "container_die", "container": app })).await;
    assert_eq!(master.routes().await[HOST], "published");
    agent.event(json!({ "type": "container_stop", "container": app })).await;
    master.until_route(HOST, "pending_deletion").await;
    // and a removed agent fetches its last command with two polls, then nothing
    assert_eq!(master.post("/api/v2/agents/raw-1/remove", json!({})).await.0, 200);
    for _ in 0..2 {
        assert_eq!(agent.commands().await[0]["action"], "stop_tunnel");
    }
    until("its key is revoked", || async {
        let (status, _) = agent.post("register", json!({ "agent_id": "raw-1" })).await;
        (status == 401).then_some(())
    })
    .await;
}
