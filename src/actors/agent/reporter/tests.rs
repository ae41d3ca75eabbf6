//! The reporter under moved time.

mod dockflare;
mod results;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use tokio::time::sleep;

use super::*;
use crate::actors::agent::testing::*;
use crate::domain::id::{ContainerId, TunnelId};
use crate::domain::report::Report;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// An agent whose list of one container is with the master.
async fn settled(master: &FakeMaster, dir: &tempfile::TempDir) -> TestAgent {
    let agent = TestAgent::reporting(master, dir).await;
    agent.reporter.tell(ContainerNews::Listed(vec![container("a")])).unwrap();
    master.until(1, has_snapshot).await;
    agent
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
        networks: None,
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
fn a_key_that_the_master_made_is_used_at_once_and_written_down_as_soon_as_it_can_be() {
    use secrecy::ExposeSecret;

    paused(async {
        // given: a folder in the place of the file, as a disk that takes nothing
        let (master, dir) = (FakeMaster::native(), temp());
        let file = dir.path().join("agent_key.txt");
        std::fs::create_dir(&file).unwrap();
        master.give_key("made-by-the-master");
        // when
        let _agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        // then
        assert_eq!(master.used_key().as_deref(), Some("made-by-the-master"));
        assert!(file.is_dir(), "it could not be written");
        std::fs::remove_dir(&file).unwrap();
        let kept = || crate::state_dir::find_agent_key(dir.path()).ok().flatten();
        for _ in 0..100 {
            if kept().is_some() {
                break;
            }
            sleep(std::time::Duration::from_secs(10)).await;
        }
        assert_eq!(kept().unwrap().expose_secret(), "made-by-the-master");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
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
        let agent = settled(&master, &dir).await;
        master.forget();

        let before = master.since_start();
        agent.reporter.tell(ContainerNews::Started(container("b"))).unwrap();
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
        agent.reporter.tell(ContainerNews::Listed(vec![])).unwrap();
        master.until(1, has_snapshot).await;
        master.slow_down(secs(2));
        master.forget();

        for id in ["a", "b", "c"] {
            agent.reporter.tell(ContainerNews::Started(container(id))).unwrap();
        }
        agent.reporter.tell(ContainerNews::Stopped(ContainerId::new("b"))).unwrap();
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
        agent.reporter.tell(ContainerNews::Listed(vec![container("a")])).unwrap();
        agent.reporter.tell(TunnelObserved(running())).unwrap();
        master.until(1, has_snapshot).await;

        master.go_away();
        for n in 0..50 {
            agent.reporter.tell(ContainerNews::Started(container(&format!("x{n}")))).unwrap();
            sleep(secs(10)).await;
            agent.reporter.tell(ContainerNews::Stopped(ContainerId::new(format!("x{n}")))).unwrap();
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
fn silence_of_docker_is_not_reported_as_an_empty_host() {
    paused(async {
        for master in [FakeMaster::native(), FakeMaster::dockflare()] {
            let dir = temp();
            let agent = TestAgent::reporting(&master, &dir).await;
            agent.reporter.tell(ContainerNews::Listed(vec![container("a")])).unwrap();
            sleep(secs(5)).await;
            agent.reporter.tell(ContainerNews::ListingLost).unwrap();
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
        let _agent = settled(&master, &dir).await;
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
        let agent = settled(&master, &dir).await;
        let panics = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&panics);
        master.answer_with(move |heard| {
            if matches!(heard, Heard::Batch(_)) && counter.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("made for the test");
            }
            None
        });

        agent.last_containers.note(&ContainerNews::Listed(vec![container("a"), container("b")]));
        agent.reporter.tell(ContainerNews::Started(container("b"))).unwrap();

        let sent = master.until(2, has_snapshot).await;
        assert_eq!(sent[1][0], snapshot(&["a", "b"]));
        assert_eq!(agent.reporter.info().restarts, 1);
    });
}

#[test]
fn a_wall_clock_that_jumps_changes_neither_signs_of_life_nor_waits() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = settled(&master, &dir).await;

        for hours in [6, -12, 6] {
            agent.clock.jump(TimeDelta::hours(hours));
            master.forget();
            sleep(secs(300)).await;
            let count = master.picked(batches).len();
            assert!((9..=11).contains(&count), "{count} in five minutes");
        }
        for hours in [-6, 12] {
            master.go_away();
            sleep(secs(60)).await;
            agent.clock.jump(TimeDelta::hours(hours));
            let back = master.since_start();
            master.come_back();
            master.forget();
            master.until(1, has_snapshot).await;
            assert!(master.since_start() - back <= secs(16), "the wait is as long as it was");
        }
    });
}
