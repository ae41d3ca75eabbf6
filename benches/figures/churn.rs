//! What an agent holds after many events of its Engine.

use std::time::Duration;

use crate::engine::Engine;
use crate::plan::Plan;
use crate::process::Memory;
use crate::sheet::{Goal, Row};
use crate::support::ship::Rig;
use crate::support::until::until;

const CONTAINERS: usize = 50;

/// Lets containers die and start again, one after the other.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (few, many) = (plan.count(20_000, 2_000), plan.count(200_000, 20_000));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let engine = Engine::start(CONTAINERS);
    let master = Rig::new("master", dirs[0].path()).env("LOG_LEVEL", "warn").start();
    let agent = Rig::new("agent", dirs[1].path())
        .env("LOG_LEVEL", "warn")
        .env("DOCKER_HOST", engine.docker_host())
        .env("DOCKFLARE_MASTER_URL", master.url())
        .env("DOCKFLARE_API_KEY", master.new_key().await)
        .start();
    master.until_agent("pending").await;
    until("the agent watches", || async { engine.is_watched().then_some(()) }).await;
    let mut memory = Vec::new();
    let mut told = 0;
    for goal in [few, many] {
        while told < goal {
            let container = told / 2 % CONTAINERS;
            engine.tell(if told % 2 == 0 { "die" } else { "start" }, container).await;
            told += 1;
        }
        until("every event is read", || async { engine.is_drained().then_some(()) }).await;
        // What is under way comes to its end.
        tokio::time::sleep(Duration::from_secs(plan.count(10, 3) as u64)).await;
        memory.push(Memory::of(agent.pid()));
    }
    assert!(engine.is_watched(), "the agent never lost its Engine");
    let [before, after] = [&memory[0], &memory[1]];
    agent.stop();
    master.stop();
    let what = format!("agent memory after {many} Engine events against {few}");
    let detail = format!("RssAnon {:.1} MiB against {:.1}; RSS {:.1}", after.anon, before.anon, after.rss);
    vec![Row::new(what, Goal::AtMost(1.1), after.anon / before.anon, "").detail(detail)]
}
