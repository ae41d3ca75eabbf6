//! Timers and futures: their end, their cancelling and their deadlines.

use tokio::time::{Instant, sleep};

use super::super::*;
use super::support::*;

#[test]
fn the_asker_whose_answer_is_under_way_hears_of_a_failure_at_once() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(5000)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        port.tell(Fail::Timer).unwrap();
        // The timer is not polled while an atomic answer is under way, so a spawned answer is the victim.
        let start = Instant::now();
        assert_eq!(port.ask(Slowly(ms(5000)), LONG).await, Err(AskError::Lost));
        assert_eq!(start.elapsed(), ms(10));
        root.shutdown(LONG).await;
    });
}

#[test]
fn timers_and_futures_end_with_their_run_and_do_not_wait_for_the_restart() {
    paused(async {
        let (root, log, port) = one().await;
        port.tell(Leave("timer", ms(50))).unwrap();
        port.tell(Leave("late timer", ms(500))).unwrap();
        port.tell(Fail::Error).unwrap();
        sleep(ms(1)).await;
        assert_eq!(log.take(), ["-a error: no more", "~a 100"]);
        assert_eq!(port.info().state, State::Backoff);
        sleep(ms(1000)).await;
        assert_eq!(log.take(), ["+a"], "neither timer fired");
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_future_under_way_is_dropped_when_its_run_ends() {
    paused(async {
        let (root, log, port) = one().await;
        let guard = std::sync::Arc::new(());
        port.tell(Hold(guard.clone())).unwrap();
        port.tell(Number(1)).unwrap();
        sleep(ms(1)).await;
        assert_eq!(std::sync::Arc::strong_count(&guard), 2, "held by the future");
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        assert_eq!(port.info().state, State::Backoff);
        assert_eq!(std::sync::Arc::strong_count(&guard), 1, "free during the backoff");
        log.take();
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_timer_cancelled_before_a_failure_does_not_cancel_the_next_runs_timer() {
    paused(async {
        let (root, log, port) = one().await;
        port.tell(Leave("first", ms(50))).unwrap();
        port.tell(CancelAndFail).unwrap();
        port.tell(Leave("second", ms(50))).unwrap();
        sleep(ms(1000)).await;
        assert_eq!(log.take(), ["-a error: cancelled", "~a 100", "+a", "second"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_cancelled_timer_does_not_fire_and_others_do() {
    paused(async {
        let (root, log, port) = one().await;
        port.tell(Leave("one", ms(50))).unwrap();
        port.tell(Leave("two", ms(60))).unwrap();
        port.tell(Cancel).unwrap();
        port.tell(Leave("three", ms(70))).unwrap();
        sleep(ms(200)).await;
        assert_eq!(log.take(), ["one", "three"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_handler_past_its_deadline_is_dropped_and_the_actor_restarts() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(900)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.deadline(ms(1000)))).await;
        log.take();
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]), "900 ms are within it");

        let start = Instant::now();
        assert_eq!(port.ask(Slowly(ms(5000)), LONG).await, Err(AskError::Lost));
        assert_eq!(start.elapsed(), ms(1000));
        sleep(ms(500)).await;
        let stuck = "-a stuck: the handler of `Slowly` passed its deadline of 1s";
        assert_eq!(log.take(), ["saw 1", stuck, "~a 100", "+a"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_future_the_actor_spawned_for_itself_has_no_deadline() {
    paused(async {
        let (root, log, port) = one().await;
        port.tell(Leave("an hour later", LONG)).unwrap();
        sleep(LONG + ms(1)).await;
        assert_eq!(log.take(), ["an hour later"]);
        root.shutdown(LONG).await;
    });
}
