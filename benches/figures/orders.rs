//! One plan on many hosts: from a person's yes to the moment in which each host holds its order.
//!
//! The hosts here are bare clients that poll and answer as ours do, so that the figure is the master's and the wire's.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fleet::retry_after;
use crate::plan::Plan;
use crate::process::cpu_time;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::{Rig, Ship};

/// Long enough for the polls to be parked at the master before the yes is given.
const PARKED: Duration = Duration::from_millis(500);

/// An agent of ours whose host works out what it is told to.
#[derive(Clone)]
struct Host {
    http: reqwest::Client,
    base: String,
    key: String,
    session: String,
    id: String,
}

impl Host {
    async fn approved(master: &Ship, number: usize) -> Self {
        let (http, key) = (reqwest::Client::builder().no_proxy().build().unwrap(), master.new_key().await);
        let name = format!("host-{number}");
        let hello = json!({ "display_name": name, "lightship": { "protocols": [3], "host": name } });
        let register = http.post(format!("{}/api/v2/agents/register", master.url())).bearer_auth(&key);
        let joined: Value = register.json(&hello).send().await.unwrap().json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{joined}")).to_owned();
        let (id, session) = (text(&joined["agent_id"]), text(&joined["lightship"]["session"]));
        let (status, body) = master.post(&format!("/api/v3/agents/{id}/approve"), json!({})).await;
        assert_eq!(status, 200, "{body}");
        let host = Self { http, base: format!("{}/api/v3/agents/{id}", master.url()), key, session, id };
        host.say_what_it_can_do().await;
        host
    }

    /// That its packages may be installed.
    async fn say_what_it_can_do(&self) {
        let able = json!({ "yes": true });
        let item = json!({ "kind": "host", "host": { "hostname": self.id, "abilities": { "installs_packages": able } } });
        let batch = json!({ "session": self.session, "first_seq": 0, "sent_at": null, "items": [item] });
        self.post("reports", batch, 202).await;
    }

    async fn post(&self, path: &str, body: Value, expected: u16) {
        loop {
            let call = self.http.post(format!("{}/{path}", self.base)).bearer_auth(&self.key);
            let answer = call.header("lightship-session", &self.session).json(&body).send().await.unwrap();
            if let Some(pause) = busy(&answer) {
                tokio::time::sleep(pause).await;
                continue;
            }
            let status = answer.status().as_u16();
            assert_eq!(status, expected, "{path}: {}", answer.text().await.unwrap_or_default());
            return;
        }
    }

    /// Waits for a command of this kind, and comes again when it is told to; returns it and when it was here.
    async fn take(&self, kind: &str) -> (Value, Instant) {
        loop {
            let poll = self.http.get(format!("{}/commands?wait=30&max=1", self.base)).bearer_auth(&self.key);
            let answer = poll.header("lightship-session", &self.session).send().await.unwrap();
            let here = Instant::now();
            if let Some(pause) = busy(&answer) {
                tokio::time::sleep(pause).await;
                continue;
            }
            let answer: Value = answer.json().await.unwrap();
            let command = answer["commands"][0].clone();
            assert_eq!(command["action"], kind, "{answer}");
            return (command, here);
        }
    }

    /// Works the plan out that every host has.
    async fn answer(&self) {
        let (question, _) = self.take("plan_updates").await;
        let change = json!({ "kind": "apt", "name": "openssl", "arch": "amd64", "operation": "upgrade",
            "from": "3.0.1", "to": "3.0.2", "digest": "aa" });
        let plan = json!({ "changes": [change], "on_host": {} });
        self.post("plans", json!({ "command": question["id"], "plan": plan }), 200).await;
        let done = json!({ "succeeded": true, "message": "1 change", "finished_at": null });
        self.post(&format!("commands/{}/result", question["id"].as_str().unwrap()), done, 200).await;
    }
}

/// When to come again, if the master is busy: as agents do, the hosts here come again then.
fn busy(answer: &reqwest::Response) -> Option<Duration> {
    let pause = retry_after(answer).filter(|_| answer.status().as_u16() == 503)?;
    Some(Duration::from_secs(pause))
}

/// One yes to all of them.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let dir = tempfile::tempdir().unwrap();
    let master = Rig::new("master", dir.path()).env("LOG_LEVEL", "warn").start();
    let count = plan.count(200, 50);
    let mut hosts = Vec::new();
    for number in 0..count {
        hosts.push(Host::approved(&master, number).await);
    }
    let ids: Vec<&str> = hosts.iter().map(|host| host.id.as_str()).collect();

    let asked_at = Instant::now();
    let (status, asked) = master.post("/api/v3/plans", json!({ "agents": ids, "what": "all" })).await;
    assert_eq!(status, 202, "{asked}");
    join_all(hosts.iter().map(Host::answer)).await;
    let path = format!("/api/v3/plans/{}", asked["request"].as_str().unwrap());
    let shown = loop {
        let shown = master.get(&path).await;
        if shown["waiting"] == json!([]) {
            break shown;
        }
    };
    let planned = asked_at.elapsed();
    assert_eq!(shown["plans"].as_array().map(Vec::len), Some(1), "one plan for all: {shown}");

    let polls: Vec<_> = hosts
        .iter()
        .map(|host| {
            let host = host.clone();
            tokio::spawn(async move { host.take("carry_out_plan").await.1 })
        })
        .collect();
    tokio::time::sleep(PARKED).await;
    let before = cpu_time(master.pid());
    let said_yes = Instant::now();
    let yes = json!({ "plan": shown["plans"][0]["id"] });
    let (status, body) = master.post(&format!("{path}/approve"), yes).await;
    let answered = said_yes.elapsed();
    assert_eq!((status, body["left"].clone()), (202, json!([])), "{body}");
    let held: Vec<f64> =
        join_all(polls).await.into_iter().map(|held| millis(held.unwrap() - said_yes)).collect();
    let (held, cpu) = (Samples::new(held), cpu_time(master.pid()) - before);
    master.stop();
    let each = millis(cpu) / count as f64;
    vec![
        Row::new(
            format!("one plan approved on {count} hosts, until the last has its order"),
            Goal::Shown,
            held.percentile(100),
            "ms",
        )
        .detail(format!(
            "{}; the API had answered after {:.0} ms; {each:.2} ms of processor time a host",
            held.summary(),
            millis(answered)
        )),
        Row::new(
            format!("{count} hosts asked, until the page has all plans"),
            Goal::Shown,
            millis(planned),
            "ms",
        ),
    ]
}
