//! The command poller under moved time.

mod clock;
mod disk;
mod dockflare;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::actors::agent::testing::*;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn start() -> Value {
    json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t0"})
}

fn command(form: Value) -> AgentCommand {
    AgentCommand::read(form.as_object().unwrap())
}

fn polls(heard: &Heard) -> Option<Duration> {
    if let Heard::Poll(wait) = heard { Some(*wait) } else { None }
}

fn fetches(heard: &Heard) -> Option<()> {
    matches!(heard, Heard::Fetch).then_some(())
}

#[test]
fn a_native_master_is_always_waited_for() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let _agent = TestAgent::polling(&master, &dir).await;

        let waits = master.until(20, polls).await;

        assert!(waits.iter().all(|wait| (secs(25)..=secs(50)).contains(wait)), "{waits:?}");
        let total: Duration = waits[..19].iter().sum();
        assert!(master.since_start() - total < secs(1), "no time without a poll");
    });
}

#[test]
fn a_command_is_written_down_acknowledged_carried_out_and_answered() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.until(1, polls).await;

        let before = master.since_start();
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;
        assert!(master.since_start() - before < Duration::from_millis(20));
        let written = std::fs::read_to_string(dir.path().join("commands/000000000001-c1.json")).unwrap();
        assert!(written.contains("start_tunnel"), "it is on disk before it is carried out");
        assert_eq!(master.until(1, acks).await, ["c1"]);

        agent.answer(true);
        let (id, outcome) = master.until(1, results).await.remove(0);
        assert_eq!((id.as_str(), outcome.succeeded, outcome.message.as_str()), ("c1", true, "done"));
    });
}

#[test]
fn a_redelivered_command_is_found_under_way_or_done() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        for attempt in 1..=3 {
            master.queue(delivered("c1", start()));
            master.until(attempt, acks).await;
        }
        sleep(secs(5)).await;
        assert_eq!(agent.until_tasks(1).await, ["c1"], "handed over once");

        agent.answer(true);
        master.until(1, results).await;
        master.queue(delivered("c1", start()));
        let sent = master.until(2, results).await;

        assert_eq!(sent[1], sent[0], "the old result is told again");
        assert!(agent.tasks.lock().is_empty(), "and nothing is done again");
    });
}

#[test]
fn a_redelivery_after_a_restart_finds_the_command_done() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;
        agent.answer(true);
        master.until(1, results).await;
        agent.stop().await;

        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        master.until(2, results).await;
        assert!(agent.tasks.lock().is_empty());
    });
}

#[test]
fn a_command_that_a_crash_interrupted_is_carried_out_without_a_master() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;
        agent.stop().await;

        master.go_away();
        let agent = TestAgent::polling(&master, &dir).await;
        assert_eq!(agent.until_tasks(1).await, ["c1"]);
        agent.answer(true);

        master.come_back();
        assert_eq!(master.until(1, results).await[0].0, "c1");
    });
}

#[test]
fn each_kind_of_command_becomes_its_work() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        let restart = json!({"action": "restart_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "tunnel_token": "t1"});
        master.queue(delivered("c2", restart));
        master.queue(delivered("c3", json!({"action": "stop_tunnel"})));
        assert_eq!(
            agent.until_tasks(3).await,
            ["c1", "c2", "c3"],
            "in order, without waiting for each other"
        );

        let tasks = agent.tasks.lock();
        assert!(matches!(&tasks[0].work, TunnelWork::Start(order) if order.token.is_some()));
        assert!(matches!(&tasks[1].work, TunnelWork::Restart { token, .. } if token.expose_secret() == "t1"));
        assert!(matches!(&tasks[2].work, TunnelWork::Stop));
    });
}

#[test]
fn what_cannot_be_carried_out_says_so() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", json!({"action": "reboot"})));
        master.queue(delivered("c2", json!({"action": "restart_tunnel", "tunnel_id": "u1"})));
        master.queue(delivered("c3", json!({"action": "update_tunnel_config", "rules": []})));
        master.queue(delivered("c4", json!({"action": "update_tunnel_config", "rules": {}})));

        let mut sent = master.until(4, results).await;
        sent.sort_by(|a, b| a.0.cmp(&b.0));

        assert!(sent.iter().all(|(_, outcome)| !outcome.succeeded) && agent.tasks.lock().is_empty());
        let words = ["unsupported", "tunnel_token", "`rules`", "no tunnel is known"];
        for ((id, outcome), word) in sent.iter().zip(words) {
            assert!(outcome.message.contains(word), "{id}: {}", outcome.message);
        }
    });
}

#[test]
fn a_task_that_was_lost_is_handed_over_again_and_at_last_given_up() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        for _ in 0..ATTEMPTS {
            agent.until_tasks(1).await;
            agent.tasks.lock().clear();
        }
        let (_, outcome) = master.until(1, results).await.remove(0);
        assert!(!outcome.succeeded && outcome.message.contains("failed 5 times"), "{}", outcome.message);
        assert!(agent.tasks.lock().is_empty());
    });
}

#[test]
fn a_task_nobody_answers_fails_in_the_end() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;

        let (_, outcome) = master.until(1, results).await.remove(0);
        assert!(!outcome.succeeded && outcome.message.contains("900 s"), "{}", outcome.message);
    });
}

#[test]
fn a_poll_that_finds_the_session_gone_makes_the_agent_register_again() {
    paused(async {
        for (status, code) in [(409, Some("session_unknown")), (404, None), (405, None), (415, None)] {
            let (master, dir) = (FakeMaster::native(), temp());
            let mut once = true;
            master.answer_with(move |heard| {
                matches!(heard, Heard::Poll(_) if std::mem::take(&mut once)).then(|| refused(status, code))
            });
            let _agent = TestAgent::polling(&master, &dir).await;

            master.until(2, registrations).await;
            master.until(2, polls).await;
        }
    });
}

#[test]
fn a_master_that_does_not_wait_is_not_stormed() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        master.stop_waiting();
        let _agent = TestAgent::polling(&master, &dir).await;

        sleep(secs(100)).await;
        let count = master.picked(polls).len();
        assert!((100..=500).contains(&count), "{count} polls in 100 s");
    });
}

#[test]
fn a_master_away_is_asked_with_growing_pauses() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let _agent = TestAgent::polling(&master, &dir).await;
        master.until(1, polls).await;
        master.answer_with(|heard| matches!(heard, Heard::Poll(_)).then(no_answer));
        sleep(secs(60)).await;
        master.forget();

        sleep(secs(600)).await;
        let count = master.picked(polls).len();
        assert!((50..=160).contains(&count), "{count} polls in ten minutes");
    });
}

#[test]
fn status_names_what_is_under_way() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;

        let status = agent.poller.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!((status.state, status.detail["under_way"].clone()), ("polling", json!(["c1"])));
    });
}
