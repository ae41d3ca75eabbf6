//! A connector that somebody stops again and again, in the whole agent with an Engine.

use tokio::time::{Instant, sleep};

use super::failures::{start_tunnel, until_tunnel_runs};
use super::handover::serving;
use super::*;
use crate::domain::agent_tunnel::CONTAINER_NAME;

/// Long enough for an earlier repair to be forgotten.
const FORGOTTEN: Duration = Duration::from_secs(200);

#[test]
fn a_connector_that_is_stopped_again_and_again_is_started_ever_more_slowly() {
    paused(async {
        // given
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let _host = host_with(engine.clone(), &master, &dir).await;
        master.queue(start_tunnel("c1", "u1", "t1"));
        until_tunnel_runs(&master, "u1").await;
        sleep(FORGOTTEN).await;
        // when
        let mut waits = Vec::new();
        for _ in 0..9 {
            let connector = engine.find_container(CONTAINER_NAME).await.unwrap().unwrap();
            let stopped = Instant::now();
            engine.stop(&connector.id).await.unwrap();
            while serving(&engine).await.is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            waits.push(stopped.elapsed().as_secs_f64());
        }
        // then: at once, then after 1, 2, 4 … 60 seconds, each a fifth more or less
        assert!(waits[0] < 0.1, "{waits:?}");
        for (wait, wanted) in waits[1..].iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
            assert!((wanted * 0.79..=wanted * 1.22).contains(wait), "{wanted} s: {waits:?}");
        }
        // and the master knows why it does not run
        let why = |heard: &Heard| {
            let (_, items) = batches(heard)?;
            items.into_iter().find_map(|item| match item {
                Report::Tunnel { tunnel } => {
                    tunnel.reason.filter(|why| why.contains("repaired a moment ago"))
                }
                _ => None,
            })
        };
        master.until(1, why).await;
    });
}
