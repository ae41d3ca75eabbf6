//! From `docker kill` to the decision that the route waits for its removal, as the API shows it.

use std::time::{Duration, Instant};

use lightship::clock::Clock;
use serde_json::Value;

use crate::scene::{Scene, hostname};
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::until::until;

/// Between two looks at the API; what a look takes is in the figure. They ask only for what is new: the whole list
/// of routes, asked without a pause, would take the processors from what is measured.
const LOOK: Duration = Duration::from_millis(2);

/// Kills `count` of the containers that `publish` started, one after the other, and starts each again.
pub async fn measure(scene: &Scene, count: usize) -> [Row; 3] {
    let (mut after_kill, mut after_death) = (Vec::new(), Vec::new());
    for number in 0..count {
        // There are at least five of these, and a container may be killed again.
        let name = format!("fast-{}", number % 5);
        let host = hostname(&name);
        let last = newest_event(scene).await;
        let begun = Instant::now();
        let ((), (seen, seen_micros)) =
            tokio::join!(scene.engine.kill(&name), until_pending(scene, last, &host));
        after_kill.push(millis(seen - begun));
        let died = scene.moment(&name, "die").await;
        after_death.push((seen_micros as f64 - died as f64) / 1000.0);
        scene.engine.start(&name).await;
        until(&format!("{host} is back"), || async {
            (scene.master.routes().await.get(&host)? != "pending_deletion").then_some(())
        })
        .await;
    }
    let (kill, death) = (Samples::new(after_kill), Samples::new(after_death));
    [
        Row::new(
            "the Engine's event to route pending deletion, p50",
            Goal::AtMost(15.0),
            death.median(),
            "ms",
        )
        .detail(death.summary()),
        Row::new("docker kill to route pending deletion, p50", Goal::AtMost(100.0), kill.median(), "ms")
            .detail(kill.summary()),
        Row::new("docker kill to route pending deletion, max", Goal::AtMost(100.0), kill.max(), "ms"),
    ]
}

async fn newest_event(scene: &Scene) -> u64 {
    let newest = scene.master.get("/api/v3/events?newest=true&limit=1").await;
    newest["events"][0]["seq"].as_u64().unwrap()
}

/// Looks until an event after `last` says that the route is pending; returns when that was seen, by both clocks.
async fn until_pending(scene: &Scene, last: u64, host: &str) -> (Instant, u64) {
    let due = Instant::now() + Duration::from_secs(20);
    loop {
        let new = scene.master.get(&format!("/api/v3/events?after={last}")).await;
        let is_it =
            |row: &Value| row["event"]["type"] == "route_lost" && row["event"]["route"]["hostname"] == host;
        if new["events"].as_array().unwrap().iter().any(is_it) {
            let micros = Clock::system().now().timestamp_micros();
            return (Instant::now(), u64::try_from(micros).unwrap());
        }
        assert!(Instant::now() < due, "{host} is never pending: {new}");
        tokio::time::sleep(LOOK).await;
    }
}
