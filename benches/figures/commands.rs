//! From a command that a person gives to the agent that holds it.
//!
//! The agent here is a bare client that polls as ours does, so that the figure is the master's and the wire's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::cloudflare::CloudflareStandIn;
use crate::support::ship::{Rig, Ship};

/// Long enough for a poll to be parked at the master before the next command comes.
const PARKED: Duration = Duration::from_millis(25);

/// An agent that polls and does nothing.
#[derive(Clone)]
struct Poller {
    http: reqwest::Client,
    base: String,
    key: String,
    session: String,
}

impl Poller {
    /// Registers in the native dialect; returns the agent's id too.
    async fn register(master: &Ship) -> (Self, String) {
        let (http, key) = (reqwest::Client::new(), master.new_key().await);
        let hello = json!({ "display_name": "bench", "lightship": { "protocols": [3], "host": "bench" } });
        let register = http.post(format!("{}/api/v2/agents/register", master.url())).bearer_auth(&key);
        let answer: Value = register.json(&hello).send().await.unwrap().json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let (id, session) = (text(&answer["agent_id"]), text(&answer["lightship"]["session"]));
        let base = format!("{}/api/v3/agents/{id}/commands", master.url());
        (Self { http, base, key, session }, id)
    }

    /// Waits for a command; returns its id and when it was here.
    async fn take(self) -> (String, Instant) {
        let poll = self.http.get(format!("{}?wait=30&max=1", self.base)).bearer_auth(&self.key);
        let poll = poll.header("Lightship-Session", &self.session);
        let answer: Value = poll.send().await.unwrap().json().await.unwrap();
        let here = Instant::now();
        let id = answer["commands"][0]["id"].as_str();
        (id.unwrap_or_else(|| panic!("no command: {answer}")).to_owned(), here)
    }

    /// Acknowledges a command and says that it is done.
    async fn finish(&self, command: &str) {
        let result = json!({ "succeeded": true, "message": "done", "finished_at": null });
        for (verb, body) in [("ack", json!({})), ("result", result)] {
            let call = self.http.post(format!("{}/{command}/{verb}", self.base)).bearer_auth(&self.key);
            let answer = call.header("Lightship-Session", &self.session).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{verb}");
        }
    }
}

/// Gives one command after the other.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (dir, standin) = (tempfile::tempdir().unwrap(), CloudflareStandIn::start());
    standin.warm();
    let master = Rig::new("master", dir.path()).cloudflare(&standin).env("LOG_LEVEL", "info").start();
    let (poller, id) = Poller::register(&master).await;
    let enroll = format!("/api/v2/agents/{id}/enroll");
    let (status, body) = master.post(&enroll, json!({ "tunnel_name": "bench" })).await;
    assert_eq!(status, 200, "{body}");
    // The command to start the tunnel, which comes with the enrolment.
    let (first, _) = poller.clone().take().await;
    poller.finish(&first).await;

    let (mut from_request, mut from_answer) = (Vec::new(), Vec::new());
    for _ in 0..plan.count(150, 30) {
        let (asked, answered, received) = one(&master, &poller, &id).await;
        from_request.push(millis(received - asked));
        from_answer.push((millis(received.saturating_duration_since(answered))).max(0.0));
    }
    master.stop();
    let (request, answer) = (Samples::new(from_request), Samples::new(from_answer));
    let what = "command given over the API to received by the agent";
    vec![
        Row::new(format!("{what}, p50"), Goal::AtMost(10.0), request.median(), "ms").detail(format!(
            "{}; after the API's answer: {}; 3.5 ms on a quiet machine",
            request.summary(),
            answer.summary()
        )),
        Row::new(format!("{what}, p99"), Goal::AtMost(50.0), request.percentile(99), "ms"),
    ]
}

/// One command: when it was asked for, when the API had answered, when the agent held it.
async fn one(master: &Ship, poller: &Poller, id: &str) -> (Instant, Instant, Instant) {
    let poll = tokio::spawn(poller.clone().take());
    tokio::time::sleep(PARKED).await;
    let asked = Instant::now();
    let (status, body) = master.post(&format!("/api/v2/agents/{id}/redeploy-tunnel"), json!({})).await;
    let answered = Instant::now();
    assert_eq!(status, 200, "{body}");
    let (command, received) = poll.await.unwrap();
    poller.finish(&command).await;
    (asked, answered, received)
}
