//! Expiry is master time, and waits are steady time: the wall clock of this host may say what it likes.

use super::*;

#[test]
fn an_expired_command_is_not_carried_out() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        // It was queued long ago and is handed over by a master whose clock says so.
        master.show_time(at("2026-01-31T13:00:01Z"));
        master.queue(delivered("c1", start()));

        let (_, outcome) = master.until(1, results).await.remove(0);
        assert!(!outcome.succeeded && outcome.message.contains("expired"), "{}", outcome.message);
        assert!(agent.tasks.lock().is_empty());
    });
}

#[test]
fn a_wrong_clock_on_this_host_expires_nothing() {
    paused(async {
        for days in [-400, 400] {
            let (master, dir) = (FakeMaster::native(), temp());
            let agent = TestAgent::polling(&master, &dir).await;
            agent.clock.jump(TimeDelta::days(days));
            master.queue(delivered("c1", start()));
            agent.until_tasks(1).await;
        }
    });
}

#[test]
fn a_command_that_was_begun_in_time_is_not_expired_by_a_clock_set_forward() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.queue(delivered("c1", start()));
        agent.until_tasks(1).await;

        agent.clock.jump(TimeDelta::hours(6));
        agent.tasks.lock().clear();

        assert_eq!(agent.until_tasks(1).await, ["c1"], "handed over again");
    });
}

#[test]
fn polls_go_on_as_before_whatever_the_wall_clock_does() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.until(1, fetches).await;
        for hours in [6, -12, 48] {
            agent.clock.jump(TimeDelta::hours(hours));
            master.forget();
            sleep(secs(300)).await;
            let count = master.picked(fetches).len();
            assert!((9..=13).contains(&count), "{count} in five minutes");
        }
        master.answer_with(|heard| matches!(heard, Heard::Fetch).then(no_answer));
        sleep(secs(60)).await;
        agent.clock.jump(TimeDelta::hours(-6));
        master.forget();
        sleep(secs(600)).await;
        let count = master.picked(fetches).len();
        assert!((50..=160).contains(&count), "{count} polls of a master that is away in ten minutes");
    });
}
