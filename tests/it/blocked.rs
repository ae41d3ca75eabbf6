//! A thread that does not come back holds up the agents that live on it, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::master::{Asking, TestMaster};

/// How long a shard's thread is blocked.
const BLOCKED: Duration = Duration::from_secs(3);
/// What heartbeats and queries usually take at most meanwhile; on a machine that is busy with other things, twice as
/// long as a master that is not blocked takes at the same time.
const GOAL: Duration = Duration::from_millis(50);

#[actix_web::test]
async fn a_blocked_shard_delays_neither_heartbeats_nor_queries_nor_the_other_shard() {
    let (master, free) = (TestMaster::start().await, TestMaster::start().await);
    let (agents, others) = (agents_of(&master).await, agents_of(&free).await);

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
        let container = json!({ "type": "container_start", "container": container(&agent.1) });
        post(&master, agent, container).expect(202).await;
        is_blocked()
    });
    let look_around = async {
        let (mut took, mut free_took) = (Vec::new(), Vec::new());
        for round in 0.. {
            if !is_blocked() {
                break;
            }
            took.extend(look(&master, &agents[round % agents.len()]).await);
            free_took.extend(look(&free, &others[round % others.len()]).await);
        }
        (took, free_took)
    };
    let (answered, (took, free_took)) = tokio::join!(futures_util::future::join_all(changes), look_around);

    let on_the_other = answered.iter().filter(|was_blocked| **was_blocked).count();
    assert!(on_the_other > 0, "the other shard works on");
    assert!(on_the_other < agents.len(), "one shard really was blocked");
    assert!(took.len() >= 8, "{took:?}");
    let (meanwhile, elsewhere) = (median(took.clone()), median(free_took));
    assert!(meanwhile < GOAL.max(elsewhere * 2), "{meanwhile:?}, and {elsewhere:?} elsewhere: {took:?}");
    assert!(took.iter().all(|took| *took < BLOCKED / 2), "none waited it out: {took:?}");
    master.stop().await;
    free.stop().await;
}

/// Keys and ids of agents that fall to both shards.
async fn agents_of(master: &TestMaster) -> Vec<(String, String)> {
    let mut agents = Vec::new();
    for number in 0..8 {
        let (_, key) = master.make_key("lab").await;
        // Ids of our own choice always fall to the same shards: some to each.
        let id = format!("agent-edge-{number}");
        master.register(&key, json!({ "agent_id": id, "display_name": id })).await;
        agents.push((key, id));
    }
    agents
}

fn post<'a>(master: &'a TestMaster, (key, id): &(String, String), event: Value) -> Asking<'a> {
    master.post(&format!("/api/v2/agents/{id}/events")).key(key).json(event)
}

/// How long a heartbeat and a query take.
async fn look(master: &TestMaster, agent: &(String, String)) -> [Duration; 2] {
    let began = Instant::now();
    post(master, agent, json!({ "type": "heartbeat" })).expect(202).await;
    let heartbeat = began.elapsed();
    let began = Instant::now();
    master.admin_get("/api/v2/agents").expect(200).await;
    [heartbeat, began.elapsed()]
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn container(name: &str) -> Value {
    let labels = json!({
        "dockflare.enable": "true",
        "dockflare.hostname": format!("{name}.example.com"),
        "dockflare.service": "http://app:80",
    });
    json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
}
