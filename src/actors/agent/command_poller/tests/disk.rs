//! A disk that takes nothing: what cannot be written down is not carried out, and nothing is lost.

use std::fs;

use tempfile::TempDir;

use super::*;

/// Makes every write of commands fail, whoever runs the test. Returns how to undo it.
fn block(dir: &TempDir) -> impl FnOnce() + use<> {
    let (commands, aside) = (dir.path().join("commands"), dir.path().join("aside"));
    fs::rename(&commands, &aside).unwrap();
    fs::write(&commands, "in the way").unwrap();
    move || {
        fs::remove_file(&commands).unwrap();
        fs::rename(&aside, &commands).unwrap();
    }
}

#[test]
fn a_command_that_cannot_be_written_down_waits_and_the_master_is_told_why() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.until(1, polls).await;
        let unblock = block(&dir);

        master.queue(delivered("c1", start()));
        let why = agent.until_refusing(true).await.unwrap();
        master.forget();
        sleep(secs(600)).await;

        assert!(why.contains("not carried out yet") && why.contains("commands"), "{why}");
        assert!(agent.tasks.lock().is_empty());
        assert!(master.picked(acks).is_empty(), "what is not written down is not acknowledged");
        assert!(master.picked(polls).is_empty(), "and nothing more is fetched");
        assert!(master.picked(batches).len() > 10, "signs of life go on");
        let status = agent.poller.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!((status.state, status.problem), ("retrying", Some(why)));

        unblock();
        agent.until_refusing(false).await;
        assert_eq!(agent.until_tasks(1).await, ["c1"], "by itself");
        agent.answer(true);
        assert_eq!(master.until(1, results).await[0].0, "c1");
        master.until(1, polls).await;
    });
}

#[test]
fn a_dockflare_master_keeps_its_commands_while_they_could_not_be_written_down() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.until(1, fetches).await;
        let unblock = block(&dir);
        master.queue_dockflare(command(start()));
        master.forget();

        agent.until_refusing(true).await;
        sleep(secs(600)).await;
        assert!(master.picked(fetches).is_empty(), "it forgets what it hands over");

        unblock();
        assert_eq!(agent.until_tasks(1).await.len(), 1);
        agent.until_refusing(false).await;
    });
}

#[test]
fn an_outcome_that_cannot_be_written_down_is_not_forgotten_and_nothing_is_done_twice() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;
        let (outbox, aside) = (dir.path().join("outbox"), dir.path().join("aside"));
        fs::rename(&outbox, &aside).unwrap();
        fs::write(&outbox, "in the way").unwrap();

        agent.answer(true);
        let why = agent.until_refusing(true).await.unwrap();
        assert!(why.contains("result of a command"), "{why}");
        master.queue(delivered("c1", start()));
        master.until(2, acks).await;
        sleep(secs(60)).await;
        assert!(agent.tasks.lock().is_empty(), "it was done already");

        fs::remove_file(&outbox).unwrap();
        fs::rename(&aside, &outbox).unwrap();
        let (id, outcome) = master.until(1, results).await.remove(0);
        assert_eq!((id.as_str(), outcome.succeeded), ("c1", true));
        agent.until_refusing(false).await;
        sleep(secs(60)).await;
        assert_eq!(master.picked(results).len(), 1, "told once");
    });
}
