//! What pending updates cost the master: a large report, an equal one, and the lists of a fleet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::process::cpu_time;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::{Rig, Ship};
use crate::visitor::Visitor;

/// Updates of the one large host.
const LARGE: usize = 5_000;
/// Updates of each host of the fleet.
const EACH: usize = 60;
/// How often a list is read.
const READS: usize = 15;

/// An agent of ours that tells of what it found.
struct Host<'a> {
    master: &'a Ship,
    http: &'a reqwest::Client,
    key: String,
    id: String,
    session: String,
    next: u64,
}

impl<'a> Host<'a> {
    async fn approved(master: &'a Ship, http: &'a reqwest::Client, name: &str) -> Self {
        let key = master.new_key().await;
        let hello = json!({ "display_name": name, "lightship": { "protocols": [3], "host": name } });
        let url = format!("{}/api/v2/agents/register", master.url());
        let joined: Value =
            http.post(url).bearer_auth(&key).json(&hello).send().await.unwrap().json().await.unwrap();
        let id = joined["agent_id"].as_str().unwrap().to_owned();
        let session = joined["lightship"]["session"].as_str().unwrap().to_owned();
        let (status, body) = master.post(&format!("/api/v3/agents/{id}/approve"), json!({})).await;
        assert_eq!(status, 200, "{body}");
        Self { master, http, key, id, session, next: 0 }
    }

    /// Says one thing; returns how long the answer took.
    async fn say(&mut self, item: Value) -> Duration {
        let batch =
            json!({ "session": self.session, "first_seq": self.next, "sent_at": null, "items": [item] });
        self.next += 1;
        let url = format!("{}/api/v3/agents/{}/reports", self.master.url(), self.id);
        let asked = self.http.post(url).bearer_auth(&self.key).header("lightship-session", &self.session);
        let begun = Instant::now();
        let answer = asked.json(&batch).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
        begun.elapsed()
    }
}

fn checked(count: usize, digest: &str) -> Value {
    json!({ "kind": "apt", "ok": true, "as_of": "2026-01-31T12:00:00Z", "is_complete": true, "digest": digest,
        "count": count, "pending": count })
}

fn findings(count: usize, digest: &str) -> Value {
    let item = |number: usize| {
        json!({ "name": format!("lib{number:04}"), "standing": "newer", "current_version": "1.0-1",
            "available_version": "1.0-2", "severity": "low", "is_security": false, "source": "Debian:12/stable" })
    };
    let items: Vec<Value> = (0..count).map(item).collect();
    json!({ "kind": "findings", "findings": { "checked": checked(count, digest), "items": items } })
}

fn scanned(count: usize, digest: &str) -> Value {
    json!({ "kind": "scanned", "scan": { "at": "2026-01-31T12:00:00Z", "scanners": [checked(count, digest)] } })
}

/// Measures reports of one large host, then the lists of a fleet.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Rig::new("master", dir.path()).env("LOG_LEVEL", "warn").start();
    let mut visitor = Visitor::of(&master);
    visitor.set_up(&master.said("first run: open ")).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut rows = large(&master, &http).await;
    rows.extend(lists(&master, &http, plan.count(400, 100)).await);
    rows.extend(pages(&visitor).await);
    master.stop();
    rows
}

async fn large(master: &Ship, http: &reqwest::Client) -> Vec<Row> {
    let mut host = Host::approved(master, http, "large").await;
    host.say(scanned(LARGE, "1")).await;
    let before = cpu_time(master.pid());
    let first = host.say(findings(LARGE, "1")).await;
    let first_cpu = cpu_time(master.pid()) - before;
    host.say(scanned(LARGE, "1")).await;
    let before = cpu_time(master.pid());
    let mut equal = Duration::ZERO;
    for _ in 0..READS {
        equal += host.say(scanned(LARGE, "1")).await;
    }
    let equal_cpu = (cpu_time(master.pid()) - before) / READS as u32;
    let again = host.say(findings(LARGE, "1")).await;
    let row = |what: &str, time: Duration, cpu: Option<Duration>| {
        let detail = cpu.map(|cpu| format!("{:.2} ms of processor time", millis(cpu))).unwrap_or_default();
        Row::new(what, Goal::Shown, millis(time), "ms").detail(detail)
    };
    vec![
        row("first report of 5,000 updates, until its answer", first, Some(first_cpu)),
        row("an equal look at that host", equal / READS as u32, Some(equal_cpu)),
        row("the same 5,000 sent once more", again, None),
    ]
}

async fn lists(master: &Ship, http: &reqwest::Client, hosts: usize) -> Vec<Row> {
    for number in 0..hosts {
        let mut host = Host::approved(master, http, &format!("host-{number}")).await;
        host.say(scanned(EACH, "1")).await;
        host.say(findings(EACH, "1")).await;
    }
    let mut rows = Vec::new();
    for (what, path) in [
        ("first page of all updates, by risk", "/api/v3/updates?limit=200"),
        ("a search over all updates", "/api/v3/updates?limit=200&search=lib001"),
        ("counts for the first page", "/api/v3/updates/summary"),
    ] {
        let mut times = Vec::new();
        for _ in 0..READS {
            let begun = Instant::now();
            master.get(path).await;
            times.push(millis(begun.elapsed()));
        }
        let detail = format!("{hosts} hosts x {EACH} updates and one of {LARGE}");
        rows.push(Row::new(what, Goal::AtMost(300.0), Samples::new(times).median(), "ms").detail(detail));
    }
    rows
}

/// The same as a browser gets it: the page, and then its live part.
async fn pages(visitor: &Visitor) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, goal, parts) in [
        ("the page Updates with its live part", 1_000.0, ["/updates", "/fragments/updates"]),
        (
            "the same with a filter",
            300.0,
            ["/updates?kind=apt&severity=low", "/fragments/updates?kind=apt&severity=low"],
        ),
    ] {
        let mut times = Vec::new();
        for _ in 0..READS {
            let begun = Instant::now();
            for part in parts {
                visitor.read(part).await;
            }
            times.push(millis(begun.elapsed()));
        }
        rows.push(Row::new(what, Goal::AtMost(goal), Samples::new(times).median(), "ms"));
    }
    rows
}
