//! Memory of processes that have nothing to do.

use std::time::Duration;

use crate::plan::Plan;
use crate::process::Memory;
use crate::scene::Scene;
use crate::sheet::{Goal, Row};
use crate::support::ship::Rig;

/// Labelled containers that the idle agent knows.
const CONTAINERS: usize = 50;

/// Measures the scene's master as it is now, its agent after a restart, and a master that has seen nothing.
pub async fn measure(scene: &mut Scene, plan: &Plan) -> Vec<Row> {
    let running = scene.engine.containers().await;
    // The agent's connector is among them, and is not labelled.
    for number in running.len()..=CONTAINERS {
        scene.publish(&format!("more-{number}")).await;
    }
    scene.restart_agent();
    // Its route shows that the agent has listed everything and is connected again.
    scene.publish("settled").await;
    let dir = tempfile::tempdir().unwrap();
    let fresh = Rig::new("master", dir.path()).env("LOG_LEVEL", "info").start();
    let idle = Duration::from_secs(if plan.quick { 3 } else { 15 });
    tokio::time::sleep(idle).await;
    let containers = scene.engine.containers().await.len() - 1;
    let agent = Memory::of(scene.agent_pid());
    let (busy, fresh_memory) = (Memory::of(scene.master.pid()), Memory::of(fresh.pid()));
    fresh.stop();
    let what = format!("agent memory, idle, {containers} labelled containers");
    let anon = |memory: &Memory| format!("RssAnon {:.1}", memory.anon);
    vec![
        Row::new(format!("{what}: own"), Goal::AtMost(10.0), agent.anon, "MiB RssAnon"),
        Row::new(format!("{what}: all"), Goal::AtMost(25.0), agent.rss, "MiB RSS"),
        Row::new("master memory, idle, no agents", Goal::AtMost(40.0), fresh_memory.rss, "MiB RSS")
            .detail(anon(&fresh_memory)),
        Row::new("master memory, idle again after all of the above", Goal::AtMost(40.0), busy.rss, "MiB RSS")
            .detail(format!("{}, 1 agent, {containers} containers", anon(&busy))),
    ]
}
