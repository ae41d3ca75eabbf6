//! The agent's HTTP client against a master that speaks the recorded wire, on a real socket.

mod calls;
mod failures;
mod recorded;

use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use lightship::io::{Io, IoRuntime};
use lightship::uplink::{HttpUplink, UplinkSettings};
use parking_lot::Mutex;
use serde_json::{Value, json};

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
    let lines = include_str!("../../contracts/dockflare-agent-master.jsonl").lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

fn recorded_agent_requests() -> Vec<Value> {
    recording().into_iter().filter(|e| e["source"] == "agent").collect()
}

fn recorded_command() -> Value {
    let answers = recorded_agent_requests().into_iter().map(|e| e["response_body"]["commands"][0].clone());
    answers.into_iter().find(|command| command["action"] == "start_tunnel").unwrap()
}
