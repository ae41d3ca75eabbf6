//! What one agent may cost: large reports are taken in while others go on, larger ones are refused by name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lightship::domain::id::{AgentId, ContainerId};
use lightship::domain::report::{GoneCause, Report};
use serde_json::{Map, Value, json};

use crate::pages::Browser;
use crate::support::master::{Asking, TestMaster};
use crate::support::until::until;

/// What a heartbeat may take while a large report is taken in.
const HEARTBEAT_GOAL: Duration = Duration::from_millis(50);

/// Containers with the given number of labels each, all of which are near misses: those cost most.
fn containers(count: usize, labels: usize) -> Vec<Value> {
    let label = |n: usize| (format!("dockflare.{n}.hostnme"), json!("x"));
    let labels: Map<String, Value> = (0..labels).map(label).collect();
    (0..count)
        .map(|n| json!({ "id": format!("{n:064}"), "name": format!("app-{n}"), "labels": labels }))
        .collect()
}

fn report(containers: Vec<Value>) -> Value {
    json!({ "type": "status_report", "container": { "containers": containers } })
}

/// An agent that says what runs on its host.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
}

impl<'a> Host<'a> {
    async fn new(master: &'a TestMaster) -> Self {
        let (key, id) = master.new_agent("web-1").await;
        Self { master, key, id }
    }

    fn send(&self, body: Value) -> Asking<'a> {
        self.master.post(&format!("/api/v2/agents/{}/events", self.id)).key(&self.key).json(body)
    }

    /// Says that these are all its containers.
    async fn lists(&self, containers: Vec<Value>) {
        self.send(report(containers)).expect(202).await;
    }
}

fn service(name: &str, hosts: usize) -> Value {
    let base = [("dockflare.enable", "true"), ("dockflare.service", "http://app:80")];
    let mut labels: Map<String, Value> =
        base.into_iter().map(|(label, value)| (label.to_owned(), json!(value))).collect();
    labels.extend(
        (0..hosts).map(|n| (format!("dockflare.{n}.hostname"), json!(format!("{name}-{n}.example.com")))),
    );
    json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
}

async fn agents(master: &TestMaster) -> Vec<(String, String)> {
    let mut agents = Vec::new();
    for number in 0..8 {
        let (_, key) = master.make_key("lab").await;
        // Ids of our own choice always fall to the same shards: some to each.
        let id = format!("agent-edge-{number}");
        master.register(&key, json!({ "agent_id": id, "display_name": id })).await;
        agents.push((key, format!("/api/v2/agents/{id}/events")));
    }
    agents
}

#[actix_web::test]
async fn while_the_largest_report_is_taken_in_the_others_are_heard() {
    // given
    let master = TestMaster::start().await;
    let agents = agents(&master).await;
    let (key, path) = &agents[0];
    // One that nobody enrolled may not send so much.
    master.master.approve(&AgentId::new("agent-edge-0"), "admin").await.unwrap();
    let body = report(containers(2_000, 25)).to_string();
    // when
    let is_done = AtomicBool::new(false);
    let large = async {
        // 202 and not 503: it is done while its sender still waits.
        master.post(path).key(key).raw(body).expect(202).await;
        is_done.store(true, Ordering::SeqCst);
    };
    let others = async {
        let (mut heartbeats, mut changes) = (Vec::new(), 0);
        for (key, path) in agents[1..].iter().cycle() {
            if is_done.load(Ordering::SeqCst) {
                break;
            }
            let began = Instant::now();
            master.post(path).key(key).json(json!({ "type": "heartbeat" })).expect(202).await;
            heartbeats.push(began.elapsed());
            let seen = json!({ "type": "container_start", "container": service(&format!("n{changes}"), 1) });
            master.post(path).key(key).json(seen).expect(202).await;
            changes += 1;
        }
        heartbeats
    };
    let ((), mut heartbeats) = tokio::join!(large, others);
    // then: the machine may be busy for a moment with other things, so the typical heartbeat counts
    heartbeats.sort();
    assert!(heartbeats.len() >= 5, "{heartbeats:?}");
    assert!(heartbeats[heartbeats.len() / 2] < HEARTBEAT_GOAL, "{heartbeats:?}");
    let kept = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"]["agent-edge-0"].clone();
    assert_eq!(kept["last_containers"].as_array().unwrap().len(), 2_000);
    master.stop().await;
}

#[actix_web::test]
async fn what_is_left_out_of_a_report_is_shown_until_the_next_whole_list() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let path = format!("/api/v2/agents/{id}/events");
    let send = |body: Value| master.post(&path).key(&key).json(body);
    let record = async || master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    for (list, words) in [
        (json!("x"), "`containers` is a string"),
        (json!([{ "id": "c1", "labels": "a=b" }]), "its `labels` are a string"),
        (json!([{ "id": "c1", "labels": null }]), "its `labels` are null"),
        (json!([{ "name": "app" }]), "its `id` is missing"),
    ] {
        send(report(containers(3, 0))).expect(202).await;

        send(json!({ "type": "status_report", "containers": list })).expect(202).await;
        let flawed = record().await;
        send(report(containers(3, 0))).expect(202).await;

        let problem = flawed["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("Not all of its last report") && problem.contains(words), "{problem}");
        assert_eq!(flawed["last_containers"].as_array().unwrap().len(), 3, "what was known stays");
        assert_eq!(record().await["problem"], Value::Null);
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_report_beyond_the_bounds_is_refused_by_name_and_shown_until_the_next_list() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master).await;
    let id = &host.id;
    master.master.approve(&AgentId::new(id), "admin").await.unwrap();
    host.lists(containers(3, 0)).await;
    let browser = Browser::signed_in(&master).await;
    let long =
        json!([{ "id": "c1", "name": "app", "labels": { "dockflare.hostname": "x".repeat(8 << 20) } }]);
    for (body, status, words) in [
        (report(containers(2_001, 0)), 400, "2001 containers are too many; one agent may have 2000"),
        (report(containers(51, 1_000)), 400, "51000 labels together; those of one agent may have 50000"),
        (report(long.as_array().unwrap().clone()), 413, "larger than 8388608 bytes"),
        (json!({ "type": "container_start", "container": { "id": "c".repeat(129) } }), 400, "`container.id`"),
    ] {
        // when
        let refused = host.send(body).expect(status).await.json();
        // then
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
        let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][id].clone();
        assert_eq!(record["last_containers"].as_array().unwrap().len(), 3, "what was known stays");
        let problem = record["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("last report was refused") && problem.contains(words), "{problem}");
        for page in ["/".to_owned(), format!("/agents/{id}")] {
            assert!(browser.get(&page).await.text.contains("last report was refused"), "{page}");
        }
        host.send(json!({ "type": "heartbeat" })).expect(202).await;
        host.lists(containers(3, 0)).await;
        let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][id].clone();
        assert_eq!(record["problem"], Value::Null);
    }
    master.stop().await;
}

#[actix_web::test]
async fn containers_that_come_one_by_one_end_at_the_same_bound() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master).await;
    host.lists(containers(2_000, 0)).await;
    let one_more =
        json!({ "type": "container_start", "container": { "id": "c1", "name": "app", "labels": {} } });
    // when
    let refused = host.send(one_more.clone()).expect(400).await.json();
    // then
    assert!(refused["message"].as_str().unwrap().contains("2001 containers are too many"), "{refused}");
    let gone = json!({ "type": "container_stop", "container": { "id": format!("{:064}", 7) } });
    host.send(gone).expect(202).await;
    host.send(one_more).expect(202).await;
    master.stop().await;
}

#[actix_web::test]
async fn routes_beyond_the_bound_are_left_out_and_shown_and_held_ones_stay() {
    // given: the container whose name comes last holds a route
    let master = TestMaster::without_cloudflare().await;
    let host = Host::new(&master).await;
    let id = &host.id;
    master.master.approve(&AgentId::new(id), "admin").await.unwrap();
    host.lists(vec![service("zzz", 1)]).await;
    // when
    let mut list: Vec<Value> = (0..8).map(|n| service(&format!("app-{n}"), 250)).collect();
    list.push(service("zzz", 1));
    host.lists(list).await;
    // then
    let answer = master.admin_get("/api/v3/routes").expect(200).await.json();
    let routes = answer["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 2_000);
    let has = |hostname: &str| {
        routes.iter().any(|route| route["hostname"] == hostname && route["state"] == "planned")
    };
    assert!(has("zzz-0.example.com") && has("app-7-248.example.com") && !has("app-7-249.example.com"));
    let page = Browser::signed_in(&master).await.get(&format!("/agents/{id}")).await.text;
    assert!(page.contains("one agent may have 2000 routes; 1 that this container asks for"), "{page}");
    master.stop().await;
}

#[actix_web::test]
async fn what_a_shard_has_no_room_for_is_refused_with_a_time_to_come_back() {
    // given: shards that do not come back for a while
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let releases: Vec<_> = master
        .shards
        .iter()
        .map(|shard| {
            let (release, held) = mpsc::channel::<()>();
            shard.spawn_fn(move || {
                let _ = held.recv_timeout(Duration::from_secs(30));
            });
            release
        })
        .collect();
    // and as many changes as may wait for one of them
    let agent = AgentId::new(&*id);
    let is_full = || master.master.tree.snapshot().iter().any(|row| row.cap > 1_000 && row.depth == row.cap);
    let mut waiting = Vec::new();
    while !is_full() {
        let gone = Report::ContainerGone { id: ContainerId::new("c"), cause: GoneCause::Stopped };
        let mut change = Box::pin(master.master.report(&agent, vec![gone]));
        assert!(futures_util::poll!(&mut change).is_pending(), "it waits for its shard");
        waiting.push(change);
    }
    // when
    let events = format!("/api/v2/agents/{id}/events");
    let seen = json!({ "type": "container_start", "container": service("one-more", 1) });
    let refused = master.post(&events).key(&key).json(seen.clone()).expect(503).await;
    // then
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1, "{refused:?}");
    assert!(refused.json()["message"].as_str().is_some_and(|words| words.contains("again")), "{refused:?}");
    master.post(&events).key(&key).json(json!({ "type": "heartbeat" })).expect(202).await;
    // and once they are back, it is taken
    drop((releases, waiting));
    until("there is room again", async || {
        (master.post(&events).key(&key).json(seen.clone()).send().await.status == 202).then_some(())
    })
    .await;
    master.stop().await;
}
