//! Results of commands wait on disk until the master has them.

use super::*;
use crate::domain::command::Outcome;
use crate::domain::id::CommandId;
use crate::protocol::command::AgentCommand;
use crate::state_dir::NewCommand;

fn command(id: &str) -> NewCommand {
    NewCommand {
        id: CommandId::new(id),
        is_native: true,
        received_at: at("2026-01-31T12:00:00Z"),
        expires_at: None,
        command: AgentCommand::StopTunnel,
    }
}

fn outcome(message: &str) -> Outcome {
    Outcome { succeeded: true, message: message.into(), finished_at: None }
}

/// Puts the result of a command into the outbox.
async fn spool(agent: &TestAgent, id: &str) {
    agent.state.record_commands(vec![command(id)]).await.unwrap();
    agent.state.record_outcome(&CommandId::new(id), outcome(id), true).await.unwrap();
    agent.reporter.tell(ResultSpooled).unwrap();
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
        assert_eq!(agent.state.count_spooled().await.unwrap(), 0);
    });
}

#[test]
fn a_result_that_is_spooled_while_none_is_found_is_sent_at_once() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        for count in 1..=50 {
            let id = CommandId::new(format!("c{count}"));
            agent.state.record_commands(vec![command(id.as_str())]).await.unwrap();
            // given: it has begun to look, and this thread is too busy to hear what was found
            agent.reporter.tell(ResultSpooled).unwrap();
            tokio::task::yield_now().await;
            let written = agent.state.record_outcome(&id, outcome(id.as_str()), true);
            let mut written = std::pin::pin!(written);
            let is_written = futures_util::poll!(written.as_mut()).is_ready();
            let begun = std::time::Instant::now();
            // The one before may still lie there: the master heard it, and it is removed after that.
            let name = format!("-{id}.json");
            let is_there = || {
                let mut files = std::fs::read_dir(dir.path().join("outbox")).unwrap();
                files.any(|file| file.unwrap().file_name().to_str().unwrap().ends_with(&name))
            };
            while !is_there() {
                assert!(begun.elapsed() < secs(20), "the outcome is not written");
                std::thread::yield_now();
            }

            agent.reporter.tell(ResultSpooled).unwrap();
            let before = master.since_start();
            master.until(count, results).await;

            assert!(master.since_start() - before < secs(1), "result {count} waited");
            if !is_written {
                written.await.unwrap();
            }
        }
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
