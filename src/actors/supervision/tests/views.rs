//! What can be seen from outside: snapshot, events, metrics; and that a run repeats from its seed.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::super::*;
use super::support::*;
use crate::chance::Chance;
use crate::clock::Clock;

#[test]
fn the_snapshot_shows_the_whole_tree_with_its_counters() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let (b, _) = puppet("b", &log);
        let sub = ChildSpec::supervisor("sub", SupSpec::one_for_one().child(a.role("worker")));
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(b).child(sub)).await;
        port.ask(Number(1), LONG).await.unwrap();
        sleep(ms(2000)).await;
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        port.tell(Number(2)).unwrap();

        let rows = root.tree().snapshot();
        let paths: Vec<&str> = rows.iter().map(|row| &*row.path).collect();
        assert_eq!(paths, ["root", "root/b", "root/sub", "root/sub/a"]);
        assert_eq!(
            serde_json::to_value(&rows[3]).unwrap(),
            json!({
                "path": "root/sub/a", "role": "worker", "kind": "actor", "state": "backoff", "restarts": 0,
                "depth": 1, "cap": 16, "handled": 2, "dropped": 0, "last_exit": "panic: handler",
                "since": "1970-01-01T00:00:02Z",
            })
        );
        assert_eq!((rows[1].role, rows[2].role), ("Puppet", "supervisor"));
        assert_eq!((rows[2].kind, rows[2].state), (Kind::Supervisor, State::Running));
        let under: Vec<String> =
            root.tree().snapshot_under("root/sub").into_iter().map(|row| row.path).collect();
        assert_eq!(under, ["root/sub", "root/sub/a"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn events_carry_path_role_and_time_and_serialize() {
    paused(async {
        let seen: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let sink = seen.clone();
        let clock = Clock::moved(chrono::DateTime::UNIX_EPOCH);
        let tree = Tree::new(clock, Chance::seeded(1), move |event| {
            sink.lock().push(serde_json::to_value(event).unwrap());
        });
        let (a, port) = puppet("a", &Log::new());
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        sleep(ms(1000)).await;
        port.tell(Fail::Error).unwrap();
        sleep(ms(1)).await;
        let at = "1970-01-01T00:00:01Z";
        let detail = json!({"kind": "error", "reason": "no more"});
        assert_eq!(
            seen.lock()[2],
            json!({"at": at, "path": "root/a", "role": "Puppet", "change": {"change": "exited", "detail": detail}})
        );
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_listener_that_panics_does_not_hurt_the_tree() {
    paused(async {
        let clock = Clock::moved(chrono::DateTime::UNIX_EPOCH);
        let tree = Tree::new(clock, Chance::seeded(1), |_| panic!("listener"));
        let (a, port) = puppet("a", &Log::new());
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        port.tell(Fail::Panic).unwrap();
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        root.shutdown(LONG).await;
    });
}

/// Runs a small disaster and returns all that happened.
fn disaster(seed: u64) -> Vec<String> {
    paused(async {
        let (tree, log) = seeded_tree(seed);
        let mut spec = SupSpec::one_for_one().intensity(100, LONG);
        let mut ports = Vec::new();
        for name in ["a", "b", "c"] {
            let (child, port) = puppet(name, &log);
            spec = spec.child(child.backoff(Backoff { jitter: 0.5, ..steady() }));
            ports.push(port);
        }
        let root = Root::start(tree, "root", spec).await;
        for _ in 0..4 {
            for port in &ports {
                port.tell(Fail::Error).unwrap();
            }
            sleep(ms(70)).await;
        }
        sleep(ms(20_000)).await;
        root.shutdown(LONG).await;
        log.take_timed()
    })
}

#[test]
fn a_run_repeats_from_its_seed() {
    assert_eq!(disaster(7), disaster(7));
    assert_ne!(disaster(7), disaster(8), "another seed, other delays");
}

#[test]
fn metrics_are_labelled_by_role() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        paused(async {
            let (tree, log) = tree();
            let (a, port) = puppet_of("a", &log, Habit::default(), 2, Overflow::DropNewest);
            let (b, _) = puppet("b", &log);
            let spec = SupSpec::one_for_one().child(a.role("worker")).child(b.role("worker"));
            let root = Root::start(tree, "root", spec).await;
            for _ in 0..5 {
                port.tell(Number(1)).unwrap();
            }
            root.tree().publish_gauges();
            let full = handle.render();
            port.ask(Fail::Panic, LONG).await.ok();
            sleep(ms(10)).await;
            port.ask(Fail::Panic, LONG).await.ok();
            root.tree().publish_gauges();
            let text = handle.render();
            for (text, line) in [
                (&full, r#"actor_mailbox_depth{role="worker"} 2"#),
                (&full, r#"actor_nodes{role="worker",state="running"} 2"#),
                (&text, r#"actor_dropped_total{role="worker",policy="drop_newest"} 4"#),
                (&text, r#"actor_messages_total{role="worker"} 2"#),
                (&text, r#"actor_restarts_total{role="worker",reason="panic"} 1"#),
                (&text, r#"actor_nodes{role="worker",state="backoff"} 1"#),
                (&text, r#"actor_handler_seconds_count{role="worker"} 2"#),
                (&text, r#"actor_queue_seconds_count{role="worker"} 2"#),
            ] {
                assert!(text.contains(line), "`{line}` is missing in:\n{text}");
            }
            root.shutdown(LONG).await;
        });
    });
}

#[test]
fn an_actor_knows_its_place_and_its_time() {
    use actix::prelude::*;

    struct Curious;
    impl Actor for Curious {
        type Context = Ctx<Self>;
    }
    supervised!(Curious);
    #[derive(Message)]
    #[rtype(result = "String")]
    struct Look;
    impl Handler<Look> for Curious {
        type Result = String;
        fn handle(&mut self, _: Look, ctx: &mut Ctx<Self>) -> String {
            let seen = format!("{} {} {}", ctx.path(), ctx.clock().now(), ctx.chance().fraction() < 1.0);
            ctx.port().tell(Look).expect("room for one");
            seen
        }
    }
    paused(async {
        let (tree, _log) = tree();
        let (a, port) = ChildSpec::actor("a", 1, Overflow::Reject, || Curious);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        sleep(ms(3000)).await;
        assert_eq!(port.ask(Look, LONG).await.unwrap(), "root/a 1970-01-01 00:00:03 UTC true");
        root.remove("root/a").await.unwrap();
    });
}
