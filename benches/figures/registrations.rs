//! What a registration costs the master: the first one of many agents, and the next one after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::process::cpu_time;
use crate::seed;
use crate::sheet::{Goal, Row};
use crate::support::ship::{Rig, Ship};

/// Agents that register at the same time.
const AT_ONCE: usize = 64;

/// Lets agents register for the first time, and once more with a master that was started again. A DockFlare agent
/// registers when it starts and never again, so only its first time counts.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let count = plan.count(5_000, 1_000);
    let mut rows = Vec::new();
    for (whose, is_native) in [("a DockFlare agent's", false), ("an agent's", true)] {
        let dir = tempfile::tempdir().unwrap();
        let keys: Arc<[String]> = seed::keys(dir.path(), count).await.into();
        let rig = Rig::new("master", dir.path()).env("LOG_LEVEL", "warn");
        let times = [("first registration", 201, 1.0), ("next one after a restart", 200, 0.2)];
        for (what, status, goal) in times.into_iter().take(if is_native { 2 } else { 1 }) {
            let master = rig.start();
            let (cpu, took) = all_register(&master, &keys, is_native, status).await;
            let each = cpu.as_secs_f64() * 1_000.0 / count as f64;
            let name = format!("processor time of {whose} {what}");
            let detail = format!("{count} agents, {AT_ONCE} at once, in {:.1} s", took.as_secs_f64());
            rows.push(Row::new(name, Goal::AtMost(goal), each, "ms").detail(detail));
            master.stop();
        }
    }
    rows
}

/// Returns what all registrations took of the master's processor time, and how long.
async fn all_register(
    master: &Ship,
    keys: &Arc<[String]>,
    is_native: bool,
    status: u16,
) -> (Duration, Duration) {
    let next = Arc::new(AtomicUsize::new(0));
    let url: Arc<str> = format!("{}/api/v2/agents/register", master.url()).into();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let (before, begun) = (cpu_time(master.pid()), Instant::now());
    let mut senders = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, url, client, keys) = (Arc::clone(&next), url.clone(), client.clone(), Arc::clone(keys));
        senders.spawn(async move {
            while let Some((number, key)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                keys.get(number).map(|key| (number, key))
            } {
                let name = format!("host-{number}");
                let mut hello = json!({ "display_name": name, "version": "1.0.0" });
                if is_native {
                    hello["lightship"] = json!({ "protocols": [3], "host": name });
                }
                let answer = client.post(&*url).bearer_auth(key).json(&hello).send().await.unwrap();
                assert_eq!(answer.status().as_u16(), status, "registration {number}");
            }
        });
    }
    senders.join_all().await;
    (cpu_time(master.pid()) - before, begun.elapsed())
}
