//! `lightship doctor` and `lightship explain`: the real program, against an Engine, without one, and against Cloudflare's
//! stand-in.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use lightship::domain::agent_tunnel::{AGENT_LABEL, CONTAINER_NAME};
use serde_json::Value;
use tempfile::TempDir;

use crate::raw_client::RawClient;
use crate::scene::subfolder;
use crate::support::cloudflare::CloudflareStandIn;
use crate::support::docker::{CLOUDFLARED_IMAGE, Engine, token};
use crate::support::ship::{Rig, Ship};

/// Cloudflare's edge, as far as it is asked: a port that takes connections, and answers packets of QUIC if told so.
struct Edge {
    port: u16,
    _tcp: TcpListener,
    stop: Arc<AtomicBool>,
}

impl Edge {
    fn start(answers: bool) -> Self {
        let (tcp, udp) = (0..50)
            .find_map(|_| {
                let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
                let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
                Some((tcp, udp))
            })
            .expect("a port that is free for both");
        let (port, stop) = (tcp.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        udp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let until = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut packet = [0; 1_500];
            while !until.load(Ordering::Relaxed) {
                let Ok((length, from)) = udp.recv_from(&mut packet) else { continue };
                if answers && length == 1_200 {
                    // The list of versions of a server that knows none of the kind that was asked for.
                    let mut answer = vec![0x80, 0, 0, 0, 0, 8];
                    answer.extend(&packet[15..23]);
                    answer.push(8);
                    answer.extend(&packet[6..14]);
                    answer.extend([0, 0, 0, 1]);
                    udp.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { port, _tcp: tcp, stop }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the doctor says as JSON, after its exit code was what it should be.
fn doctor(rig: &Rig, code: i32, more: &[&str]) -> Value {
    let args = [&["doctor", "--json"][..], more].concat();
    let (ended, out, errors) = rig.verb(&args);
    assert_eq!(ended, code, "{args:?}: {out}{errors}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{errors}"))
}

fn checks(said: &Value) -> Vec<Value> {
    let families = said["families"].as_array().unwrap().iter();
    families.flat_map(|family| family["checks"].as_array().unwrap().clone()).collect()
}

fn verdict(said: &Value, name: &str) -> String {
    let found = checks(said);
    let check =
        found.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {said:#}"));
    check["verdict"].as_str().unwrap().to_owned()
}

fn detail(said: &Value, name: &str) -> String {
    let found = checks(said);
    let check =
        found.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {said:#}"));
    check["detail"].as_str().unwrap().to_owned()
}

/// A master, and how an agent beside it is set up.
struct Desk {
    master: Ship,
    agent: Rig,
    _standin: CloudflareStandIn,
    dir: TempDir,
}

async fn desk() -> Desk {
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    let master = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin).start();
    let agent = Rig::new("agent", &subfolder(&dir, "agent"))
        .env("DOCKFLARE_MASTER_URL", master.url())
        .env("DOCKFLARE_API_KEY", master.new_key().await)
        .env("LIGHTSHIP__UPDATES__POLICY_FILE", "/nonexistent/policy.toml");
    Desk { master, agent, _standin: standin, dir }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_host_is_looked_at_on_a_real_engine() {
    // given: an Engine, a master that takes the key, and an edge that is reached
    let (engine, desk, edge) = (Engine::lease().await, desk().await, Edge::start(true));
    let agent = desk.agent.clone().engine(&engine);
    let at = edge.address();
    // when, then
    let said = doctor(&agent, 0, &["--edge", &at]);
    assert_eq!((said["role"].as_str(), said["verdict"].as_str()), (Some("agent"), Some("fine")), "{said:#}");
    for name in ["Docker Engine", "Rights at the Engine", "Key of the agent", "State directory", "Open files"]
    {
        assert_eq!(verdict(&said, name), "fine", "{said:#}");
    }
    assert!(detail(&said, "This agent at its master").contains("has not registered yet"), "{said:#}");
    assert_eq!(
        desk.master.get("/api/v2/agents").await["agents"].as_object().unwrap().len(),
        0,
        "nothing was registered"
    );

    // and what stands in words for people
    let (code, out, errors) = agent.verb(&["doctor", "--edge", &at]);
    assert!(
        code == 0 && out.contains("fine") && errors.contains("0 problems, 0 could not be checked"),
        "{out}{errors}"
    );

    // and an edge that does not answer packets: never called fine
    let mute = Edge::start(false);
    let said = doctor(&agent, 3, &["--edge", &mute.address()]);
    assert_eq!(verdict(&said, &format!("Way to Cloudflare's edge, UDP {}", mute.port)), "not_checked");
    let tcp_only = agent.clone().env("TUNNEL_TRANSPORT_PROTOCOL", "http2");
    doctor(&tcp_only, 0, &["--edge", &mute.address()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_that_drive_the_same_containers_are_named() {
    // given
    let (engine, desk, edge) = (Engine::lease().await, desk().await, Edge::start(true));
    let rig = desk.agent.clone().engine(&engine);
    let running = rig.start();
    desk.master.until_agent("pending").await;
    let at = edge.address();
    let said = doctor(&rig, 0, &["--edge", &at]);
    assert!(detail(&said, "This agent at its master").contains("known there, by this key"), "{said:#}");
    drop(running);
    // when
    engine.run("wt", &[("com.centurylinklabs.watchtower", "true")]).await;
    engine.run(CONTAINER_NAME, &[(AGENT_LABEL, "somebody-else")]).await;
    // then
    let said = doctor(&rig, 1, &["--role", "agent", "--edge", &at]);
    assert!(detail(&said, "Container `wt`").contains("Watchtower"), "{said:#}");
    assert!(detail(&said, "Connector").contains("belongs to agent `somebody-else`"), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_in_the_state_directory_is_not_called_fine() {
    // given: an agent's files, damaged, and a connector of somebody
    let (engine, desk, edge) = (Engine::lease().await, desk().await, Edge::start(true));
    let rig = desk.agent.clone().engine(&engine);
    let state = desk.dir.path().join("agent");
    std::fs::write(state.join("tunnel_state.json"), "{\"token\":").unwrap();
    std::fs::write(state.join("agent_id.txt"), [0xff]).unwrap();
    let connector = ContainerCreateBody {
        image: Some(CLOUDFLARED_IMAGE.to_owned()),
        cmd: Some(vec!["tunnel".into(), "run".into()]),
        env: Some(vec![format!("TUNNEL_TOKEN={}", token("t-1", "ready_after_ms=1"))]),
        ..Default::default()
    };
    engine.run_body("theirs", connector).await;
    // when
    let said = doctor(&rig, 3, &["--role", "agent", "--edge", &edge.address()]);
    // then
    for (name, words) in [
        ("Connector", "nobody knows if one is wanted"),
        ("Container `theirs`", "nobody knows if it is for this host's tunnel"),
        ("This agent at its master", "agent_id.txt` cannot be read"),
    ] {
        assert_eq!(verdict(&said, name), "not_checked", "{said:#}");
        assert!(detail(&said, name).contains(words), "{said:#}");
    }
    let left = std::fs::read(state.join("tunnel_state.json")).unwrap();
    assert_eq!(left, b"{\"token\":", "what is damaged stays as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_proxy_does_not_permit_is_named() {
    let (engine, desk, edge) = (Engine::lease().await, desk().await, Edge::start(true));
    let refuse = |line: &str| line.starts_with("POST ") || line.contains("/images/");
    let proxy = engine.proxy_refusing(refuse).await;
    let rig = desk.agent.clone().env("DOCKER_HOST", proxy.docker_host.clone());

    let said = doctor(&rig, 1, &["--edge", &edge.address()]);

    let lacks = detail(&said, "Rights at the Engine");
    assert!(lacks.contains("`IMAGES`") && lacks.contains("`POST`") && !lacks.contains("`EVENTS`"), "{lacks}");
    assert!(said.to_string().contains("IMAGES=1 POST=1"), "{said:#}");
    assert_eq!(engine.containers().await, [], "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_and_a_key_that_opens_nothing_are_problems_with_a_way_out() {
    // given
    let (desk, edge) = (desk().await, Edge::start(true));
    let at = edge.address();
    // when, then: no Engine
    let said = doctor(&desk.agent, 1, &["--edge", &at]);
    assert!(detail(&said, "Docker Engine").contains("/nonexistent/docker.sock"), "{said:#}");
    assert_eq!(verdict(&said, "Key of the agent"), "fine");
    // and a wrong key, which the master refuses and nobody registers with
    let wrong = desk.agent.clone().env("DOCKFLARE_API_KEY", "not-a-key-of-this-master-0123456789");
    let said = doctor(&wrong, 1, &["--edge", &at]);
    assert_eq!(verdict(&said, "Key of the agent"), "problem");
    assert!(!said.to_string().contains("not-a-key-of-this-master"), "keys are never shown");
    // and nobody at the master's address
    let nobody = desk.agent.clone().env("DOCKFLARE_MASTER_URL", "http://127.0.0.1:9");
    let said = doctor(&nobody, 1, &["--edge", &at]);
    assert_eq!(
        (verdict(&said, "Way to the master").as_str(), verdict(&said, "Key of the agent").as_str()),
        ("problem", "not_checked")
    );
    // and something else that answers there
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", other.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in other.incoming().take(4).flatten() {
            let mut stream = stream;
            let mut head = [0; 2_048];
            let _ = stream.read(&mut head);
            let body = "<html>404</html>";
            let _ = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let other = desk.agent.clone().env("DOCKFLARE_MASTER_URL", address);
    let said = doctor(&other, 1, &["--edge", &at]);
    assert!(detail(&said, "Way to the master").contains("is no master"), "{said:#}");
    // and an edge that nobody is at
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = doctor(&desk.agent, 1, &["--edge", &closed]);
    let port = closed.rsplit(':').next().unwrap();
    assert_eq!(verdict(&said, &format!("Way to Cloudflare's edge, TCP {port}")), "problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masters_token_is_looked_at_with_and_without_a_master_that_runs() {
    // given: no master runs, and the account has a tunnel
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    standin.add_tunnel("edge", "cloudflare");
    let rig = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
    // when, then: who may read the token of a tunnel may write tunnels; of records nobody knows
    let said = doctor(&rig, 3, &[]);
    assert_eq!(said["role"], "master");
    let open = detail(&said, "Rights to write");
    assert!(open.contains("DNS Write") && !open.contains("Cloudflare Tunnel"), "{open}");
    assert!(standin.calls().iter().all(|call| call.method == "GET"), "only reads");
    // and with a right taken away
    standin.take_right("DNS ");
    let said = doctor(&rig, 1, &[]);
    assert_eq!(verdict(&said, "Right `DNS Write`, zone example.com"), "problem");
    standin.give_rights_back();
    // and with a token that is none
    let wrong = rig.clone().env("CF_API_TOKEN", "not-the-token");
    let said = doctor(&wrong, 1, &[]);
    assert_eq!(verdict(&said, "API token"), "problem");
    assert!(!said.to_string().contains("not-the-token"), "{said:#}");
    // and a master that runs and has published is asked: it knows what it wrote
    let master = rig.start();
    let agent = RawClient::enrolled(&master, "raw-1", "edge").await;
    agent.status_report(&[("app".to_owned(), "app.example.com".to_owned())]).await;
    master.until_route("app.example.com", "published").await;
    let said = doctor(&rig, 0, &[]);
    assert!(detail(&said, "By the word of").contains("the master that runs"), "{said:#}");
    assert_eq!(verdict(&said, "Clock against Cloudflare"), "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_stop_a_start_and_a_proxy_that_is_none_are_named() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("master", dir.path()).env("CF_API_TOKEN", "abc").env("HTTPS_PROXY", "http://");
    let said = doctor(&rig, 1, &["--role", "master"]);
    assert!(detail(&said, "Settings").contains("CF_ACCOUNT_ID is not"), "{said:#}");
    assert_eq!(verdict(&said, "Proxies in the environment"), "problem");
    // and nothing is left in the state directory
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_on_the_command_line() {
    // given
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    let rig = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
    let master = rig.start();
    let agent = RawClient::enrolled(&master, "raw-1", "edge").await;
    agent.status_report(&[("shop".to_owned(), "app.example.com".to_owned())]).await;
    master.until_route("app.example.com", "published").await;
    // when, then
    for name in ["app.example.com", "shop"] {
        let (code, out, errors) = rig.verb(&["explain", name]);
        assert_eq!(code, 0, "{out}{errors}");
        let titles =
            ["Container", "Labels", "Claim", "Rule", "Protection", "Zone and record", "What it waits for"];
        let places: Vec<_> = titles.iter().map(|title| out.find(&format!("\n{title}\n"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{out}");
        assert!(out.starts_with("app.example.com on raw raw-1: published"), "{out}");
    }
    let (code, out, _) = rig.verb(&["explain", "app.example.com", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["stories"][0]["route"]), (0, &Value::from("app.example.com")));
    let (code, _, errors) = rig.verb(&["explain", "ap.example.com"]);
    assert!(code == 1 && errors.contains("the nearest known names are `app.example.com`"), "{errors}");
}
