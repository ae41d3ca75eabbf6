//! The reporter under moved time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::actors::agent::testing::*;
use crate::domain::command::Outcome;
use crate::domain::id::{CommandId, TunnelId};
use crate::domain::report::Report;
use crate::domain::tunnel::TunnelHealth;
use crate::protocol::command::AgentCommand;
use crate::state_dir::NewCommand;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn running() -> TunnelReport {
    TunnelReport {
        health: TunnelHealth::Running,
        tunnel_id: Some(TunnelId::new("u1")),
        name: Some("edge".into()),
        version: Some("2025.9.0".into()),
        reason: None,
        ready_connections: Some(4),
        connector_id: None,
        config_version: None,
        observed_at: None,
    }
}

fn snapshot(ids: &[&str]) -> Report {
    Report::Snapshot { containers: ids.iter().map(|id| container(id)).collect() }
}

fn has_snapshot(heard: &Heard) -> Option<Vec<Report>> {
    batches(heard)
        .map(|(_, items)| items)
        .filter(|items| items.iter().any(|i| matches!(i, Report::Snapshot { .. })))
}

/// Puts the result of a command into the outbox.
async fn spool(agent: &TestAgent, id: &str) {
    let command = NewCommand {
        id: CommandId::new(id),
        is_native: true,
        received_at: at("2026-01-31T12:00:00Z"),
        expires_at: None,
        command: AgentCommand::StopTunnel,
    };
    agent.state.record_commands(vec![command]).await.unwrap();
    let outcome = Outcome { succeeded: true, message: id.into(), finished_at: None };
    agent.state.record_outcome(&CommandId::new(id), outcome, true).await.unwrap();
    agent.reporter.tell(ResultSpooled).unwrap();
}

#[test]
fn the_agent_introduces_itself_and_keeps_its_id() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;

        let first = master.until(1, registrations).await.remove(0);
        assert_eq!((first.agent_id, first.display_name.as_deref()), (None, Some("Lab Host")));
        let hello = first.lightship.unwrap();
        assert_eq!((hello.protocols, hello.host.as_deref()), (vec![3], Some("h1")));

        master.until(1, batches).await;
        agent.stop().await;
        let _again = TestAgent::reporting(&master, &dir).await;
        assert_eq!(master.until(2, registrations).await[1].agent_id, Some(AgentId::new("a1")));
    });
}

#[test]
fn a_lost_id_file_does_not_stop_the_agent() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        std::fs::write(dir.path().join("agent_id.txt"), "not an id").unwrap();
        let _agent = TestAgent::reporting(&master, &dir).await;

        assert_eq!(master.until(1, registrations).await[0].agent_id, None);
        assert!(dir.path().join("agent_id.txt.corrupt-1").exists());
    });
}

#[test]
fn a_change_is_sent_in_the_same_moment() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(1, has_snapshot).await;
        master.forget();

        let before = master.since_start();
        agent.reporter.tell(ContainerStarted(container("b"))).unwrap();
        let (_, items) = master.until(1, batches).await.remove(0);

        assert_eq!(items, [Report::ContainerSeen { container: container("b") }]);
        assert!(master.heard()[0].0 - before < Duration::from_millis(2));
    });
}

#[test]
fn what_changes_during_a_call_goes_with_the_next_one() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![])).unwrap();
        master.until(1, has_snapshot).await;
        master.slow_down(secs(2));
        master.forget();

        for id in ["a", "b", "c"] {
            agent.reporter.tell(ContainerStarted(container(id))).unwrap();
        }
        agent.reporter.tell(ContainerStopped(ContainerId::new("b"))).unwrap();
        let sent = master.until(2, batches).await;

        assert_eq!(sent[0].1, [Report::ContainerSeen { container: container("a") }]);
        assert_eq!(sent[1].1.len(), 2, "the start and the end of `b` became one: {:?}", sent[1].1);
        assert_eq!(sent[1].0, sent[0].0 + 1);
    });
}

#[test]
fn an_outage_ends_with_one_fresh_snapshot_under_new_numbers() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        agent.reporter.tell(TunnelObserved(running())).unwrap();
        master.until(1, has_snapshot).await;

        master.go_away();
        for n in 0..50 {
            agent.reporter.tell(ContainerStarted(container(&format!("x{n}")))).unwrap();
            sleep(secs(10)).await;
            agent.reporter.tell(ContainerStopped(ContainerId::new(format!("x{n}")))).unwrap();
        }
        let tried = master.picked(batches);
        master.come_back();
        master.forget();
        let (first_seq, items) = master.until(1, batches).await.remove(0);

        assert_eq!(items, [snapshot(&["a"]), Report::Tunnel { tunnel: running() }]);
        let used: u64 = tried.iter().map(|(first, items)| first + items.len() as u64).max().unwrap();
        assert_eq!(first_seq, used, "numbers of calls that may have arrived are not used again");
        // 500 s at up to 15 s a pause, 7.5 s in the mean: neither silent nor in a hurry.
        assert!((35..200).contains(&tried.len()), "{}", tried.len());
        assert_eq!(master.picked(registrations).len(), 0, "an outage alone does not end the session");
    });
}

#[test]
fn results_are_replayed_in_order_after_an_outage_and_a_restart() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        master.go_away();
        let agent = TestAgent::reporting(&master, &dir).await;
        for id in ["c3", "c1", "c2"] {
            spool(&agent, id).await;
        }
        sleep(secs(120)).await;
        agent.stop().await;

        master.come_back();
        let agent = TestAgent::reporting(&master, &dir).await;
        let sent = master.until(3, results).await;

        let ids: Vec<_> = sent.iter().map(|(id, outcome)| (id.as_str(), outcome.message.as_str())).collect();
        assert_eq!(ids, [("c3", "c3"), ("c1", "c1"), ("c2", "c2")]);
        sleep(secs(300)).await;
        assert_eq!(master.picked(results).len(), 3, "a result that was taken is not sent again");
        assert_eq!(agent.state.count_results().await.unwrap(), 0);
    });
}

#[test]
fn a_result_stays_until_the_master_has_it() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        let mut failures = 3;
        master.answer_with(move |heard| match heard {
            Heard::Result(..) if failures > 0 => {
                failures -= 1;
                Some(refused(503, None))
            }
            _ => None,
        });

        spool(&agent, "c1").await;
        master.until(4, results).await;
        sleep(secs(60)).await;

        assert_eq!(master.picked(results).len(), 4);
    });
}

#[test]
fn a_result_nobody_wants_does_not_hold_up_the_next() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        master.answer_with(|heard| match heard {
            Heard::Result(id, _) if id.as_str() == "c1" => Some(refused(404, Some("command_not_found"))),
            _ => None,
        });

        spool(&agent, "c1").await;
        spool(&agent, "c2").await;

        let sent = master.until(2, results).await;
        assert_eq!([sent[0].0.as_str(), sent[1].0.as_str()], ["c1", "c2"]);
        assert_eq!(master.picked(registrations).len(), 1, "the session is as good as before");
    });
}

#[test]
fn a_forgotten_session_is_renewed_at_once() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(1, has_snapshot).await;
        master.forget();
        let mut once = true;
        master.answer_with(move |heard| {
            matches!(heard, Heard::Batch(_) if std::mem::take(&mut once))
                .then(|| refused(409, Some("session_unknown")))
        });

        agent.reporter.tell(ContainerStarted(container("b"))).unwrap();
        let sent = master.until(2, batches).await;

        assert_eq!(sent[1].0, 0, "a new session counts from zero");
        assert!(sent[1].1.contains(&snapshot(&["a", "b"])));
        let (asked, told) = (master.heard()[1].0, master.heard()[0].0);
        assert!(asked - told < Duration::from_millis(5), "it took {:?}", asked - told);
    });
}

#[test]
fn a_master_that_was_rolled_back_is_spoken_to_as_a_dockflare_master() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(1, has_snapshot).await;
        master.forget();

        master.roll_back();
        agent.reporter.tell(ContainerStarted(container("b"))).unwrap();

        let sent = master.until(2, events).await;
        assert_eq!(
            (sent[0]["type"].clone(), sent[1]["type"].clone()),
            (json!("heartbeat"), json!("status_report"))
        );
        assert_eq!(sent[1]["container"]["containers"].as_array().unwrap().len(), 2);
        let status = agent.reporter.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!((status.state, status.detail["dialect"].clone()), ("connected", json!("dockflare")));
    });
}

#[test]
fn a_master_that_offers_a_session_and_refuses_it_is_not_stormed() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        master.answer_with(|heard| matches!(heard, Heard::Batch(_)).then(|| refused(404, None)));
        let _agent = TestAgent::reporting(&master, &dir).await;

        sleep(secs(600)).await;

        let count = master.picked(registrations).len();
        assert!((30..300).contains(&count), "{count} registrations in ten minutes");
    });
}

#[test]
fn a_refused_key_is_tried_again_slowly_and_for_ever() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        master.answer_with(|_| Some(refused(401, None)));
        sleep(secs(40)).await;
        master.forget();

        sleep(secs(3600)).await;
        let times: Vec<_> = master.heard().iter().map(|(at, _)| *at).collect();
        assert!(times.windows(2).all(|w| (secs(15)..=secs(61)).contains(&(w[1] - w[0]))), "{times:?}");
        let status = agent.reporter.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!(status.state, "registering");
        assert!(status.problem.unwrap().contains("401"));

        master.come_back();
        master.forget();
        master.until(1, batches).await;
    });
}

#[test]
fn a_dockflare_master_gets_heartbeat_and_report_in_every_interval() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a"), container("b")])).unwrap();

        let types = master.until(4, event_types).await;
        assert_eq!(types, ["heartbeat", "status_report", "container_start", "container_start"]);
        master.forget();

        sleep(secs(300)).await;
        let types = master.picked(event_types);
        assert!((18..=22).contains(&types.len()), "{}", types.len());
        assert!(types.chunks(2).all(|pair| pair == ["heartbeat", "status_report"]), "{types:?}");
    });
}

#[test]
fn a_dockflare_master_hears_of_changes_at_once_and_one_by_one() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(3, event_types).await;
        master.forget();

        agent.reporter.tell(TunnelObserved(running())).unwrap();
        agent.reporter.tell(ContainerStopped(ContainerId::new("a"))).unwrap();
        let sent = master.until(2, events).await;

        let state = json!({"name": "edge", "status": "running", "version": "2025.9.0"});
        assert_eq!(
            (&sent[0]["type"], &sent[0]["tunnel"], &sent[0]["container"]),
            (&json!("tunnel_status"), &state, &state)
        );
        assert_eq!(sent[1]["type"], "container_stop");
        assert_eq!(
            sent[1]["container"],
            json!({"id": "a", "name": "app-a", "labels": {"dockflare.enable": "true"}})
        );
    });
}

#[test]
fn a_dockflare_master_that_forgot_the_agent_is_registered_with_again() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let _agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, events).await;
        let mut once = true;
        master.answer_with(move |heard| {
            matches!(heard, Heard::Event(_) if std::mem::take(&mut once)).then(|| refused(404, None))
        });

        let asked = master.until(2, registrations).await;
        assert_eq!(asked[1].agent_id, Some(AgentId::new("a1")), "under its own id");
        master.until(3, events).await;
    });
}

#[test]
fn silence_of_docker_is_not_reported_as_an_empty_host() {
    paused(async {
        for master in [FakeMaster::native(), FakeMaster::dockflare()] {
            let dir = temp();
            let agent = TestAgent::reporting(&master, &dir).await;
            agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
            sleep(secs(5)).await;
            agent.reporter.tell(ListingLost).unwrap();
            master.forget();

            sleep(secs(600)).await;

            assert!(master.picked(event_types).iter().all(|t| t == "heartbeat"));
            assert!(master.picked(batches).iter().all(|(_, items)| items == &[Report::Heartbeat]));
            assert!(master.heard().len() >= 15, "signs of life go on");
        }
    });
}

#[test]
fn a_native_master_gets_the_whole_list_now_and_then() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(1, has_snapshot).await;
        master.forget();

        sleep(secs(1200)).await;
        let (all, full) = (master.picked(batches).len(), master.picked(has_snapshot).len());
        assert!((36..=44).contains(&all) && (3..=5).contains(&full), "{full} of {all}");
    });
}

#[test]
fn the_last_word_is_said_before_the_end() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        master.slow_down(Duration::from_millis(500));

        let stopped = TunnelReport { health: TunnelHealth::Stopped, ..running() };
        agent.reporter.tell(TunnelObserved(running())).unwrap();
        agent.reporter.tell(TunnelObserved(stopped.clone())).unwrap();
        agent.stop().await;

        let last = master.picked(batches).pop().unwrap().1;
        assert_eq!(last, [Report::Tunnel { tunnel: stopped }]);
    });
}

#[test]
fn a_panic_costs_the_session_and_nothing_else() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainersListed(vec![container("a")])).unwrap();
        master.until(1, has_snapshot).await;
        let panics = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&panics);
        master.answer_with(move |heard| {
            if matches!(heard, Heard::Batch(_)) && counter.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("made for the test");
            }
            None
        });

        agent.reporter.tell(ContainerStarted(container("b"))).unwrap();
        master.until(2, registrations).await;
        agent.reporter.tell(ContainersListed(vec![container("a"), container("b")])).unwrap();

        let sent = master.until(2, has_snapshot).await;
        assert_eq!(sent[1][0], snapshot(&["a", "b"]));
        assert_eq!(agent.reporter.info().restarts, 1);
    });
}
