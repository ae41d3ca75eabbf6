//! Garbage of every kind on every route that agents call: never a failure of ours, and what is wrong is named.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::cloudflare::ACCOUNT;
use crate::support::master::{Asking, TestMaster};

/// An agent of ours, and the routes it may call.
pub struct Caller<'a> {
    pub master: &'a TestMaster,
    pub key: String,
    pub id: String,
    pub session: String,
}

/// A route with a body that it takes.
struct Target {
    method: Method,
    path: String,
    good: Value,
}

impl<'a> Caller<'a> {
    /// Joins a master.
    pub async fn join(master: &'a TestMaster) -> Self {
        let (key, id, session) = master.new_native_agent("web-1").await;
        Self { master, key, id, session }
    }

    fn ask(&self, target: &Target) -> Asking<'a> {
        let asking = self.master.ask(target.method.clone(), &target.path).key(&self.key);
        asking.header("lightship-session", &self.session)
    }

    /// Every route with a body, most of them several times with what differs.
    fn targets(&self) -> Vec<Target> {
        let post = |path: &str, good: Value| Target {
            method: Method::POST,
            path: path.replace("ID", &self.id),
            good,
        };
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "a.example.com", "dockflare.service": "http://a" });
        let container =
            json!({ "id": "c1", "name": "app", "image": "app:1", "status": "running", "labels": labels });
        let tunnel = json!({ "health": "running", "status": "running", "tunnel_id": "t", "name": "edge", "version": "1",
            "reason": "r", "ready_connections": 4, "connector_id": "x", "config_version": 1,
            "observed_at": "2026-01-31T12:00:00Z" });
        let outcome = json!({ "succeeded": true, "message": "done", "finished_at": "2026-01-31T12:00:00Z" });
        let at = "2026-01-31T12:00:00Z";
        let events = "/api/v2/agents/ID/events";
        let mut targets: Vec<Target> = [
            json!({ "type": "heartbeat", "timestamp": at }),
            json!({ "type": "status_report", "timestamp": at, "container": { "containers": [container] } }),
            json!({ "type": "status_report", "timestamp": at, "containers": [container] }),
            json!({ "type": "container_start", "timestamp": at, "container": container }),
            json!({ "type": "container_stop", "timestamp": at, "container": container }),
            json!({ "type": "tunnel_status", "timestamp": at, "tunnel": tunnel, "container": tunnel }),
        ]
        .into_iter()
        .map(|good| post(events, good))
        .collect();
        let batch =
            |item: Value| json!({ "session": self.session, "first_seq": 0, "sent_at": at, "items": [item] });
        let items = [
            json!({ "kind": "heartbeat" }),
            json!({ "kind": "snapshot", "containers": [container] }),
            json!({ "kind": "container_seen", "container": container }),
            json!({ "kind": "container_gone", "id": "c1", "cause": "stopped" }),
            json!({ "kind": "tunnel", "tunnel": tunnel }),
            json!({ "kind": "command_result", "id": "c-1", "outcome": outcome }),
        ];
        targets.extend(items.into_iter().map(|item| post("/api/v3/agents/ID/reports", batch(item))));
        targets.push(post("/api/v3/agents/ID/commands/c-1/result", outcome));
        targets.push(post(
            "/api/v2/agents/register",
            json!({
            "agent_id": self.id, "display_name": "web-1", "hostname": "web-1", "version": "1",
            "lightship": { "protocols": [3], "host": "web-1" } }),
        ));
        let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/t/configurations");
        targets.push(Target { method: Method::PUT, path, good: json!({ "config": { "ingress": [] } }) });
        targets
    }
}

/// One target for each route.
fn once(targets: Vec<Target>) -> Vec<Target> {
    let mut seen = std::collections::BTreeSet::new();
    targets.into_iter().filter(|target| seen.insert(target.path.clone())).collect()
}

/// What a refusal says.
pub fn said(answer: &Answer) -> String {
    let body = answer.json();
    // Below `/accounts` it stands in Cloudflare's envelope.
    let text =
        ["/message", "/error", "/errors/0/message"].iter().find_map(|place| body.pointer(place)?.as_str());
    text.unwrap_or_else(|| panic!("no reason: {answer:?}")).to_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[actix_web::test]
async fn bodies_that_are_no_json_are_refused_on_every_route() {
    let master = TestMaster::start().await;
    let caller = Caller::join(&master).await;
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    let bodies: [(&str, Vec<u8>, &str); 9] = [
        ("nothing", b"".to_vec(), "Empty payload"),
        ("half", br#"{"type": "#.to_vec(), "ends too early"),
        ("words", b"nonsense".to_vec(), "not JSON"),
        ("bytes", b"\xff\xfe\x00".to_vec(), "not JSON"),
        ("bytes in a text", b"{\"type\":\"\xff\"}".to_vec(), "not JSON"),
        ("a raw NUL in a text", b"{\"type\":\"\0\"}".to_vec(), "not JSON"),
        ("two", b"{} {}".to_vec(), "not JSON"),
        ("brackets", b"[".repeat(100_000), "64 levels"),
        ("depth", deep.into_bytes(), "64 levels"),
    ];
    for target in once(caller.targets()) {
        for (name, body, reason) in &bodies {
            for packed in [false, true] {
                let asking = caller.ask(&target);
                let answer = match packed {
                    true => asking.header("content-encoding", "gzip").raw(gzip(body)).send().await,
                    false => asking.raw(body.clone()).send().await,
                };
                assert_eq!(answer.status, 400, "{}: {name}: {}", target.path, answer.text);
                assert!(said(&answer).contains(reason), "{}: {name}: {}", target.path, answer.text);
            }
        }
    }
    master.stop().await;
}

#[actix_web::test]
async fn what_is_too_large_or_packed_or_declared_otherwise_is_refused_on_every_route() {
    let master = TestMaster::start().await;
    let caller = Caller::join(&master).await;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    for target in once(caller.targets()) {
        let large = caller.ask(&target).raw(vec![b' '; 10_000_000]).expect(413).await;
        let packed =
            caller.ask(&target).header("content-encoding", "gzip").raw(bomb.clone()).expect(413).await;
        for refused in [large, packed] {
            assert!(said(&refused).contains("larger than"), "{}: {}", target.path, refused.text);
        }
        let good = target.good.to_string();
        let torn = gzip(good.as_bytes())[..12].to_vec();
        let torn = caller.ask(&target).header("content-encoding", "gzip").raw(torn).expect(400).await;
        assert!(said(&torn).contains("cannot be read"), "{}", torn.text);
        let other = caller.ask(&target).header("content-encoding", "br").raw(good.clone()).expect(415).await;
        assert!(said(&other).contains("`gzip`"), "{}", other.text);
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
        {
            let asking = caller.ask(&target).header("content-type", content_type).body(good.clone());
            assert!(said(&asking.expect(415).await).contains("application/json"), "{}", target.path);
        }
    }
    master.stop().await;
}

/// Every place in a value, as a JSON pointer.
pub fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, child)| (key.replace('~', "~0").replace('/', "~1"), child)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(n, child)| (n.to_string(), child)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let place = format!("{at}/{key}");
        places(child, &place, all);
        all.push(place);
    }
}

/// What may stand anywhere.
pub fn odd_values() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "\0",
        "a\0b",
        "🚢",
        "../..",
        "..",
        "'; DROP TABLE agents; --",
        "<script>",
        "\u{202e}\u{feff}",
    ];
    let long = ["x".repeat(10_000), "🚢".repeat(5_000), "\0".repeat(5_000)];
    let numbers = [json!(-1), json!(0), json!(1.5), json!(u64::MAX), json!(i64::MIN), json!(1e300)];
    let shapes = [
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!([[]]),
        json!([null]),
        json!({ "\0": "\0", "": {} }),
    ];
    let texts = texts.into_iter().map(str::to_owned).chain(long).map(Value::String);
    texts.chain(numbers).chain(shapes).collect()
}

#[actix_web::test]
async fn an_odd_value_in_any_place_is_taken_or_refused_by_name() {
    let master = TestMaster::start().await;
    let caller = Caller::join(&master).await;
    master.enroll(&caller.id, "edge-1").await;
    let mut number = 0;
    for target in caller.targets() {
        let mut all = Vec::new();
        places(&target.good, "", &mut all);
        for place in all {
            let (parent, field) = place.rsplit_once('/').unwrap();
            for value in odd_values().into_iter().map(Some).chain([None]) {
                let mut body = target.good.clone();
                match (value, body.pointer_mut(parent).unwrap()) {
                    (Some(value), _) => *body.pointer_mut(&place).unwrap() = value,
                    (None, Value::Object(map)) => drop(map.remove(field)),
                    (None, _) => continue,
                }
                // A batch that was seen before is not looked at: each one is new.
                if body.pointer("/first_seq") == Some(&json!(0)) {
                    number += 1;
                    body["first_seq"] = json!(number);
                }
                let answer = caller.ask(&target).json(body.clone()).send().await;
                let shown =
                    || format!("{} {place}: {} for {:.300}", target.path, answer.text, body.to_string());
                assert!(answer.status < 500, "{}", shown());
                if answer.status == 400 {
                    let words = said(&answer);
                    assert!(words.contains('`') || words.contains("Empty payload"), "{}", shown());
                }
                assert!([200, 201, 202, 400, 403, 404, 409].contains(&answer.status), "{}", shown());
            }
        }
    }
    // All of it can be shown.
    for path in
        ["/api/v2/agents", "/api/v2/overview", "/api/v3/routes", "/api/v3/plan", "/api/v3/events?limit=1000"]
    {
        master.admin_get(path).expect(200).await;
    }
    master.stop().await;
}
