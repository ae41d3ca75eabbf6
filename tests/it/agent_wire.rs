//! The agent's HTTP client against a master that speaks the recorded wire, on a real socket.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use lightship::actors::agent::tree::{AgentParts, AgentSettings, agent};
use lightship::actors::supervision::{Root, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::config::Settings;
use lightship::docker::BollardDocker;
use lightship::domain::command::Outcome;
use lightship::domain::id::{AgentId, CommandId, ContainerId, TunnelId};
use lightship::domain::report::{Report, Reports};
use lightship::io::{Io, IoRuntime};
use lightship::protocol::command::AgentCommand;
use lightship::protocol::v2::{RegisterRequest, decode_event, event_form};
use lightship::state_dir::{DesiredState, StateDir};
use lightship::uplink::{AccessToken, Dialect, HttpUplink, Uplink, UplinkError, UplinkSettings, Verdict};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::until::until;

const RECORDED_AGENT: &str = "edba1cec-bae7-447d-895f-5542c3853621";

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    /// Path and query.
    target: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Answers = Arc<dyn Fn(&Seen) -> HttpResponse + Send + Sync>;

/// A server that writes down what comes and answers as told.
struct StandIn {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl StandIn {
    fn start(answers: impl Fn(&Seen) -> HttpResponse + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answers): (_, Answers) = (Arc::clone(&seen), Arc::new(answers));
        let server = HttpServer::new(move || {
            let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
            App::new().app_data(web::PayloadConfig::new(16 << 20)).default_service(web::to(
                move |request: HttpRequest, body: web::Bytes| {
                    let seen = note(&request, &body);
                    log.lock().push(seen.clone());
                    std::future::ready(answers(&seen))
                },
            ))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let address = format!("http://{}", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        Self { address, seen }
    }

    /// Answers as the recorded master did.
    fn dockflare() -> Self {
        let commands = Mutex::new(vec![recorded_command()]);
        Self::start(move |seen| match seen.target.rsplit('/').next() {
            Some("register") => HttpResponse::Created()
                .json(json!({"status": "success", "agent_id": RECORDED_AGENT, "agent": {}})),
            Some("commands") => {
                let taken: Vec<Value> = commands.lock().drain(..).collect();
                HttpResponse::Ok().json(json!({"status": "success", "commands": taken}))
            }
            Some("events") => HttpResponse::Accepted()
                .json(json!({"status": "success", "message": "Event received and processed."})),
            _ => HttpResponse::NotFound().content_type("text/html").body("<!doctype html>"),
        })
    }

    fn last(&self) -> Seen {
        self.seen.lock().last().cloned().unwrap()
    }

    fn uplink(&self, io: &Io) -> HttpUplink {
        uplink(&self.address, io)
    }
}

fn note(request: &HttpRequest, body: &[u8]) -> Seen {
    let text =
        |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: serde_json::from_slice(body).unwrap_or(Value::Null),
    }
}

fn settings(address: &str) -> UplinkSettings {
    rustls::crypto::ring::default_provider().install_default().ok();
    UplinkSettings { master_url: address.into(), api_key: "AGENT-KEY-01".into(), access: None, ca_file: None }
}

fn uplink(address: &str, io: &Io) -> HttpUplink {
    HttpUplink::new(&settings(address), io.clone()).unwrap()
}

fn io() -> (IoRuntime, Io) {
    let runtime = IoRuntime::start().unwrap();
    let io = runtime.io();
    (runtime, io)
}

fn recording() -> Vec<Value> {
    let lines = include_str!("../contracts/dockflare-agent-master.jsonl").lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

fn recorded_agent_requests() -> Vec<Value> {
    recording().into_iter().filter(|e| e["source"] == "agent").collect()
}

fn recorded_command() -> Value {
    let answers = recorded_agent_requests().into_iter().map(|e| e["response_body"]["commands"][0].clone());
    answers.into_iter().find(|command| command["action"] == "start_tunnel").unwrap()
}

/// Every field of `recorded` is in `ours`, with the same value.
fn assert_holds(ours: &Value, recorded: &Value, place: &str) {
    match recorded {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, value)| assert_holds(&ours[name], value, &format!("{place}.{name}")));
        }
        _ => assert_eq!(ours, recorded, "{place}"),
    }
}

/// Sends what the recorded agent sent, the way our agent sends it.
async fn send_as_we_do(uplink: &HttpUplink, recorded: &Value) {
    let id = AgentId::new(RECORDED_AGENT);
    let body = &recorded["request_body"];
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let path = recorded["path"].as_str().unwrap();
    if path.ends_with("/register") {
        let request = RegisterRequest {
            agent_id: text("agent_id").map(AgentId::new),
            display_name: text("display_name"),
            version: text("version"),
            ..RegisterRequest::default()
        };
        uplink.register(&request).await.unwrap();
    } else if path.ends_with("/commands") {
        uplink.fetch_commands(&id).await.unwrap();
    } else {
        let event = decode_event(body.to_string().as_bytes()).unwrap();
        let known = serde_json::from_value(body["container"].clone()).ok();
        let form = event_form(&event.report, known.as_ref(), event.sent_at.unwrap()).unwrap();
        uplink.send_event(&id, form).await.unwrap();
    }
}

#[actix_web::test]
async fn every_recorded_request_has_its_equal_of_ours() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let uplink = master.uplink(&io);
    let mut kinds = std::collections::BTreeSet::new();

    for recorded in recorded_agent_requests() {
        let mut wanted = recorded["request_body"].clone();
        if wanted.get("type").is_some_and(|kind| !kind.is_string()) {
            continue; // what the recorded agent sends by mistake
        }
        if wanted["type"] == "container_die" {
            wanted["type"] = json!("container_stop"); // its master ignores the other word
        }
        send_as_we_do(&uplink, &recorded).await;

        let seen = master.last();
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            (recorded["method"].as_str().unwrap(), recorded["path"].as_str().unwrap())
        );
        for header in ["authorization", "content-type"] {
            assert_eq!(
                seen.header(header),
                recorded["request_headers"][header].as_str(),
                "{header} of {}",
                seen.target
            );
        }
        assert_holds(&seen.body, &wanted, &seen.target);
        kinds.insert(format!("{} {}", seen.method, wanted["type"]));
    }
    assert!(kinds.len() >= 7, "{kinds:?}");
}

#[actix_web::test]
async fn the_recorded_master_gives_its_answers_to_us() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let uplink = master.uplink(&io);

    let registered = uplink.register(&RegisterRequest::default()).await.unwrap();
    assert_eq!((registered.agent_id.as_str(), registered.session), (RECORDED_AGENT, None));
    let commands = uplink.fetch_commands(&registered.agent_id).await.unwrap();
    assert!(
        matches!(&commands[..], [AgentCommand::StartTunnel(order)] if order.token.is_some()),
        "{commands:?}"
    );

    let batch = Reports { session: "s".into(), first_seq: 0, sent_at: None, items: vec![Report::Heartbeat] };
    let error = uplink.send_reports(&registered.agent_id, &batch).await.unwrap_err();
    assert_eq!(error.verdict(Dialect::Native), Verdict::RegisterAgain, "it knows no native routes");
}

#[actix_web::test]
async fn native_calls_carry_session_wait_and_compressed_reports() {
    let (_runtime, io) = io();
    let master = StandIn::start(|seen| match seen.target.contains("/reports") {
        true => HttpResponse::Accepted().json(json!({"next_seq": 8})),
        false => HttpResponse::Ok().json(json!({"commands": []})),
    });
    let (uplink, id, command) = (master.uplink(&io), AgentId::new("a1"), CommandId::new("c-1"));

    let gone = |n: u32| Report::ContainerGone {
        id: ContainerId::new(format!("{n:064}")),
        cause: lightship::domain::report::GoneCause::Stopped,
    };
    let batch =
        Reports { session: "s-1".into(), first_seq: 7, sent_at: None, items: (0..500).map(gone).collect() };
    assert_eq!(uplink.send_reports(&id, &batch).await.unwrap(), 8);
    let seen = master.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("lightship-session")),
        ("/api/v3/agents/a1/reports", Some("s-1"))
    );
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    assert_eq!(serde_json::from_value::<Reports>(seen.body).unwrap(), batch, "unpacked, nothing is missing");

    let delivery = uplink.wait_for_commands(&id, "s-1", Duration::from_secs(90)).await.unwrap();
    assert!(delivery.master_time.is_some(), "the master's clock is in its `Date`");
    assert_eq!(master.last().target, "/api/v3/agents/a1/commands?wait=50&max=100");

    uplink.acknowledge(&id, "s-1", &command).await.unwrap();
    assert_eq!(master.last().target, "/api/v3/agents/a1/commands/c-1/ack");
    let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
    uplink.send_result(&id, "s-1", &command, &outcome).await.unwrap();
    assert_eq!(master.last().body, json!({"succeeded": true, "message": "done", "finished_at": null}));
}

#[actix_web::test]
async fn a_base_with_slashes_or_a_prefix_gives_the_same_paths() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    for (suffix, path) in [
        ("/", "/api/v2/agents/register"),
        ("///", "/api/v2/agents/register"),
        ("/fleet/", "/fleet/api/v2/agents/register"),
    ] {
        uplink(&format!("{}{suffix}", master.address), &io)
            .register(&RegisterRequest::default())
            .await
            .unwrap();
        assert_eq!(master.last().target, path);
    }
}

#[actix_web::test]
async fn a_redirect_on_the_same_host_keeps_method_body_and_key() {
    for status in [301, 302, 307, 308] {
        let (_runtime, io) = io();
        let master = StandIn::start(move |seen| match seen.target.starts_with("/moved") {
            true => HttpResponse::Created().json(json!({"agent_id": "a1"})),
            false => HttpResponse::build(StatusCode::from_u16(status).unwrap())
                .insert_header(("Location", format!("/moved{}", seen.target)))
                .finish(),
        });
        let request = RegisterRequest { version: Some("9".into()), ..RegisterRequest::default() };
        master.uplink(&io).register(&request).await.unwrap();

        let seen = master.last();
        assert_eq!((seen.method.as_str(), &seen.body), ("POST", &json!({"version": "9"})), "{status}");
        assert_eq!(seen.header("authorization"), Some("Bearer AGENT-KEY-01"));
    }
}

#[actix_web::test]
async fn the_key_never_goes_to_another_host() {
    let (_runtime, io) = io();
    let stranger = StandIn::start(|_| HttpResponse::Ok().json(json!({"agent_id": "a1"})));
    let target = stranger.address.clone();
    let master = StandIn::start(move |_| {
        HttpResponse::Found().insert_header(("Location", format!("{target}/cdn-cgi/access/login"))).finish()
    });

    let error = master.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err();

    assert!(matches!(error, UplinkError::Elsewhere { .. }), "{error}");
    assert!(error.to_string().contains("CF_ACCESS_CLIENT_ID"), "{error}");
    assert!(stranger.seen.lock().is_empty());
}

#[actix_web::test]
async fn access_credentials_are_sent_and_never_shown() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let access = AccessToken { client_id: "id.access".into(), client_secret: "hidden-secret".into() };
    let settings = UplinkSettings { access: Some(access), ..settings(&master.address) };
    HttpUplink::new(&settings, io).unwrap().register(&RegisterRequest::default()).await.unwrap();

    let seen = master.last();
    assert_eq!(seen.header("cf-access-client-id"), Some("id.access"));
    assert_eq!(seen.header("cf-access-client-secret"), Some("hidden-secret"));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hidden-secret") && !shown.contains("AGENT-KEY-01"), "{shown}");
}

#[actix_web::test]
async fn answers_that_no_master_gives_are_named() {
    let (_runtime, io) = io();
    let large = StandIn::start(|_| HttpResponse::Ok().body(vec![b' '; 2 << 20]));
    let error = large.uplink(&io).fetch_commands(&AgentId::new("a1")).await.unwrap_err();
    assert!(matches!(error, UplinkError::TooLarge { limit_bytes: 1_048_576, .. }), "{error}");

    let page = StandIn::start(|_| HttpResponse::Ok().content_type("text/html").body("<html>welcome</html>"));
    let error = page.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err().to_string();
    assert!(error.contains("DOCKFLARE_MASTER_URL"), "{error}");

    let busy = StandIn::start(|_| {
        HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "7"))
            .json(json!({"error": "busy", "code": "busy"}))
    });
    let error = busy.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err();
    assert_eq!(error.verdict(Dialect::DockFlare), Verdict::Retry { after: Some(Duration::from_secs(7)) });
}

#[actix_web::test]
async fn nobody_at_the_address_is_no_answer() {
    let (_runtime, io) = io();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        uplink(&format!("http://{free}"), &io).register(&RegisterRequest::default()).await.unwrap_err();
    assert!(matches!(&error, UplinkError::NoAnswer { reason, .. } if reason.contains("refused")), "{error}");
    assert_eq!(error.verdict(Dialect::DockFlare), Verdict::Retry { after: None });
}

#[actix_web::test]
async fn ingress_goes_through_the_cloudflare_routes_of_the_master() {
    let (_runtime, io) = io();
    let master = StandIn::start(|seen| match seen.method.as_str() {
        "GET" => HttpResponse::Ok().json(json!({"success": true, "result": [{"id": "acc-1"}]})),
        _ => HttpResponse::Ok().json(json!({"success": true})),
    });
    let list = json!([{"service": "http_status:404"}]);
    master.uplink(&io).put_ingress(&TunnelId::new("u/1"), list.clone()).await.unwrap();

    let seen: Vec<Seen> = master.seen.lock().clone();
    assert_eq!(seen[0].target, "/accounts");
    assert_eq!(seen[1].target, "/accounts/acc-1/cfd_tunnel/u%2F1/configurations");
    assert_eq!((seen[1].method.as_str(), &seen[1].body), ("PUT", &json!({"config": {"ingress": list}})));

    let none = StandIn::dockflare();
    let error = none.uplink(&io).put_ingress(&TunnelId::new("u1"), json!([])).await.unwrap_err();
    assert_eq!(none.seen.lock().len(), 1, "without an account nothing is written: {error}");
}

#[actix_web::test]
async fn a_whole_agent_lives_with_a_dockflare_master() {
    let ((_runtime, io), master, dir) = (io(), StandIn::dockflare(), tempfile::tempdir().unwrap());
    let state = StateDir::open(dir.path(), io.clone()).unwrap();
    let mut settings = Settings::default();
    settings.agent.report_interval_seconds = 1;
    settings.agent.display_name = Some("Lab Host".into());
    let nowhere = format!("unix://{}/docker.sock", dir.path().display());
    let (spec, _ports) = agent(AgentParts {
        settings: AgentSettings::new(&settings, None),
        docker: Arc::new(BollardDocker::new(&nowhere, io.clone()).unwrap()),
        uplink: Arc::new(master.uplink(&io)),
        state: state.clone(),
    });
    let tree = Tree::new(Clock::system(), Chance::system(), |_| {});
    let root = Root::start(tree, "agent", spec).await;

    until("the command of the recorded master is taken over", async || {
        let kept = state.tunnel_state().await.ok()??;
        (kept.desired_state == DesiredState::Running && kept.token.is_some()).then_some(())
    })
    .await;
    until("three signs of life", async || {
        let seen = master.seen.lock();
        (seen.iter().filter(|s| s.body["type"] == "heartbeat").count() >= 3).then_some(())
    })
    .await;

    assert_eq!(state.agent_id().await.unwrap(), Some(AgentId::new(RECORDED_AGENT)));
    let seen = master.seen.lock().clone();
    assert_eq!(
        (&seen[0].body["display_name"], seen[0].target.as_str()),
        (&json!("Lab Host"), "/api/v2/agents/register")
    );
    assert!(
        seen.iter().all(|s| s.body["type"] != "status_report"),
        "without an Engine there is no list to report"
    );
    root.shutdown(Duration::from_secs(20)).await;
}
