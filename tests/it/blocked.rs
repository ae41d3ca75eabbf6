//! A thread that does not come back holds up the agents that live on it, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::master::TestMaster;

/// How long a shard's thread is blocked.
const BLOCKED: Duration = Duration::from_secs(3);
/// What heartbeats and queries may take meanwhile, but for one in twenty; a machine that is busy with other things has
/// twice as long as it needed before.
const GOAL: Duration = Duration::from_millis(50);

#[actix_web::test]
async fn a_blocked_shard_delays_neither_heartbeats_nor_queries_nor_the_other_shard() {
    let master = TestMaster::start().await;
    let mut agents = Vec::new();
    for number in 0..8 {
        let (_, key) = master.make_key("lab").await;
        // Ids of our own choice always fall to the same shards: some to each.
        let id = format!("agent-edge-{number}");
        master.register(&key, json!({ "agent_id": id, "display_name": id })).await;
        agents.push((key, id));
    }
    let post = |(key, id): &(String, String), event: Value| {
        master.post(&format!("/api/v2/agents/{id}/events")).key(key).json(event)
    };

    let look = async |round: usize| {
        let began = Instant::now();
        post(&agents[round % agents.len()], json!({ "type": "heartbeat" })).expect(202).await;
        let heartbeat = began.elapsed();
        let began = Instant::now();
        master.admin_get("/api/v2/agents").expect(200).await;
        [heartbeat, began.elapsed()]
    };
    let mut before = Vec::new();
    for round in 0..100 {
        before.extend(look(round).await);
    }

    let is_blocked = Arc::new(AtomicBool::new(true));
    let released = Arc::clone(&is_blocked);
    let (_says_nothing, waits) = mpsc::channel::<()>();
    master.shards[0].spawn_fn(move || {
        let _ = waits.recv_timeout(BLOCKED);
        released.store(false, Ordering::SeqCst);
    });
    let is_blocked = || is_blocked.load(Ordering::SeqCst);

    // A change needs the agent's actors: half of them cannot answer now, and answer later.
    let changes = agents.iter().map(async |agent| {
        post(agent, json!({ "type": "container_start", "container": container(&agent.1) })).expect(202).await;
        is_blocked()
    });
    let look_around = async {
        let mut took = Vec::new();
        while is_blocked() {
            took.extend(look(took.len() / 2).await);
        }
        took
    };
    let (answered, took) = tokio::join!(futures_util::future::join_all(changes), look_around);

    let on_the_other = answered.iter().filter(|was_blocked| **was_blocked).count();
    assert!(on_the_other > 0, "the other shard works on");
    assert!(on_the_other < agents.len(), "one shard really was blocked");
    assert!(took.len() >= 20, "{took:?}");
    let (usual, meanwhile) = (nineteen_of_twenty(before), nineteen_of_twenty(took.clone()));
    assert!(meanwhile < GOAL.max(usual * 2), "{meanwhile:?}, and {usual:?} before: {took:?}");
    assert!(took.iter().all(|took| *took < BLOCKED / 2), "none waited it out: {took:?}");
    master.stop().await;
}

/// The time that nineteen of twenty did not exceed.
fn nineteen_of_twenty(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() * 19 / 20]
}

fn container(name: &str) -> Value {
    let labels = json!({
        "dockflare.enable": "true",
        "dockflare.hostname": format!("{name}.example.com"),
        "dockflare.service": "http://app:80",
    });
    json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
}
