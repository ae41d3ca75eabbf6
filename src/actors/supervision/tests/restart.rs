//! What is caught, what survives a restart, and what does not.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::*;
use super::support::*;

#[test]
fn a_panicking_handler_is_restarted_with_fresh_state_and_the_queue_it_left() {
    paused(async {
        let (root, log, port) = one().await;
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));

        port.tell(Fail::Panic).unwrap();
        for number in 2..5 {
            port.tell(Number(number)).unwrap();
        }

        assert_eq!(port.ask(Number(5), LONG).await, Ok(vec![2, 3, 4, 5]));
        let expected = ["0 saw 1", "0 -a panic: handler", "0 ~a 100", "100 +a", "100 saw 2"];
        assert_eq!(log.take_timed()[..5], expected);
        assert_eq!(port.info().restarts, 1);
        root.shutdown(LONG).await;
    });
}

#[test]
fn every_way_to_fail_ends_the_run_with_its_reason() {
    let cases = [
        (Fail::Panic, "panic: handler"),
        (Fail::Error, "error: no more"),
        (Fail::Future, "panic: future"),
        (Fail::Timer, "panic: timer"),
        (Fail::AfterAwait, "panic: after await"),
        (Fail::Stop, "normal"),
        (Fail::Hang, "stuck: the handler of `wait` passed its deadline of 60s"),
    ];
    for (fail, reason) in cases {
        paused(async {
            let (root, log, port) = one().await;
            port.tell(fail).unwrap();
            sleep(Duration::from_secs(62)).await;
            assert_eq!(log.take(), [format!("-a {reason}"), "~a 100".into(), "+a".into()]);
            assert_eq!(port.info().last_exit.as_deref(), Some(reason));
            assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]), "{fail:?} is survived");
            root.shutdown(LONG).await;
        });
    }
}

#[test]
fn delays_double_with_every_failure_in_a_row() {
    paused(async {
        let (root, log, port) = one().await;
        for fail in [Fail::Panic, Fail::Error, Fail::Timer] {
            port.tell(fail).unwrap();
        }
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]), "all three were handled");
        let expected =
            ["0 -a panic: handler", "0 ~a 100", "100 +a", "100 -a error: no more", "100 ~a 200", "300 +a"];
        assert_eq!(log.take_timed()[..6], expected);
        sleep(ms(20)).await;
        assert_eq!(log.take_timed(), ["310 -a panic: timer", "310 ~a 400"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_long_run_makes_the_next_failure_the_first_again() {
    paused(async {
        let (root, log, port) = one().await;
        port.tell(Fail::Panic).unwrap();
        port.tell(Fail::Panic).unwrap();
        sleep(Duration::from_secs(70)).await;
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        let delays: Vec<String> = log.take().into_iter().filter(|line| line.starts_with('~')).collect();
        assert_eq!(delays, ["~a 100", "~a 200", "~a 100"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_start_that_panics_is_tried_again_and_keeps_the_queue() {
    paused(async {
        let (tree, log) = tree();
        let habit = Habit::default();
        *habit.failing_starts.lock() = 2;
        let (a, port) = puppet_with("a", &log, habit);
        port.tell(Number(1)).unwrap();
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        assert_eq!(port.ask(Number(2), LONG).await, Ok(vec![1, 2]));
        let expected = [
            "0 -a panic: start",
            "0 ~a 100",
            "0 +root",
            "100 -a panic: start",
            "100 ~a 200",
            "300 +a",
            "300 saw 1",
        ];
        assert_eq!(log.take_timed()[..7], expected);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_factory_that_panics_twice_is_tried_a_third_time_at_first_start_and_at_restart() {
    paused(async {
        let (tree, log) = tree();
        let habit = Habit::default();
        *habit.failing_makes.lock() = 2;
        let failing = habit.failing_makes.clone();
        let (a, port) = puppet_with("a", &log, habit);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        let made = ["0 -a panic: make", "0 ~a 100", "0 +root", "100 -a panic: make", "100 ~a 200", "300 +a"];
        assert_eq!(log.take_timed()[..6], made);

        *failing.lock() = 2;
        port.tell(Fail::Error).unwrap();
        assert_eq!(port.ask(Number(2), LONG).await, Ok(vec![2]), "the old value is never used again");
        let ends: Vec<String> = log.take().into_iter().filter(|line| line.starts_with("-a")).collect();
        assert_eq!(ends, ["-a error: no more", "-a panic: make", "-a panic: make"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn the_asker_of_the_poison_message_hears_of_it_at_once() {
    paused(async {
        let (root, _log, port) = one().await;
        let start = Instant::now();
        assert_eq!(port.ask(Fail::Panic, LONG).await, Err(AskError::Lost));
        assert_eq!(start.elapsed(), Duration::ZERO);
        root.shutdown(LONG).await;
    });
}

#[test]
fn asks_during_a_long_backoff_time_out_and_are_skipped_afterwards() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let slow = Backoff { min: Duration::from_secs(30), ..steady() };
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.backoff(slow))).await;
        port.tell(Fail::Panic).unwrap();
        let start = Instant::now();
        assert_eq!(port.ask(Number(1), ms(250)).await, Err(AskError::Timeout));
        assert_eq!(start.elapsed(), ms(250));
        assert_eq!(port.ask(Number(2), LONG).await, Ok(vec![2]), "the abandoned ask was skipped");
        assert_eq!(port.info().dropped, 1);
        root.shutdown(LONG).await;
    });
}

/// A puppet with room for two that has just failed and is started again after half a minute.
async fn in_backoff(overflow: Overflow) -> (Root, Log, Port<Puppet>) {
    let (tree, log) = tree();
    let (a, port) = puppet_of("a", &log, Habit::default(), 2, overflow);
    let slow = Backoff { min: Duration::from_secs(30), max: Duration::from_secs(30), ..steady() };
    let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.backoff(slow))).await;
    port.tell(Fail::Panic).unwrap();
    sleep(ms(1)).await;
    assert_eq!(log.take(), ["+a", "+root", "-a panic: handler", "~a 30000"]);
    (root, log, port)
}

#[test]
fn what_comes_over_the_bound_during_a_backoff_goes_back_to_the_sender() {
    paused(async {
        let (root, log, port) = in_backoff(Overflow::Reject).await;
        assert_eq!([1, 2].map(|n| port.tell(Number(n))), [Ok(Sent::Queued), Ok(Sent::Queued)]);
        assert!(matches!(port.tell(Number(3)), Err(Refused::Full(Number(3)))));
        assert_eq!(port.ask(Number(4), LONG).await, Err(AskError::Full), "at once, not after the backoff");
        assert_eq!((port.info().depth, port.info().dropped), (2, 0));
        assert_eq!(port.tell_wait(Number(5), LONG).await, Ok(Sent::Queued), "who waits gets the first place");
        assert_eq!(port.ask(Number(6), LONG).await, Ok(vec![1, 2, 5, 6]));
        assert_eq!(log.take_timed()[..2], ["30000 +a", "30000 saw 1"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn what_comes_over_the_bound_during_a_backoff_takes_the_place_of_the_oldest() {
    paused(async {
        let (root, log, port) = in_backoff(Overflow::DropOldest).await;
        let sent: Vec<Sent> = (1..5).map(|n| port.tell(Number(n)).unwrap()).collect();
        assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::DroppedOldest, Sent::DroppedOldest]);
        assert_eq!(port.info().depth, 2);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(log.take_timed(), ["30000 +a", "30000 saw 3", "30000 saw 4"]);
        assert_eq!((port.info().depth, port.info().dropped), (0, 2));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_transient_child_is_restarted_after_a_failure_only() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let root =
            Root::start(tree, "root", SupSpec::one_for_one().child(a.restart(Restart::Transient))).await;
        log.take();
        port.tell(Fail::Error).unwrap();
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        port.tell(Fail::Stop).unwrap();
        sleep(ms(500)).await;
        assert_eq!(log.take(), ["-a error: no more", "~a 100", "+a", "saw 1", "-a normal"]);
        assert_eq!(root.tree().snapshot()[1].state, State::Finished, "its row stays");
        assert!(matches!(port.tell(Number(2)), Err(Refused::Closed(Number(2)))));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_temporary_child_is_never_restarted_and_leaves_the_tree() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let root =
            Root::start(tree, "root", SupSpec::one_for_one().child(a.restart(Restart::Temporary))).await;
        log.take();
        port.tell(Fail::Panic).unwrap();
        port.tell(Number(1)).unwrap();
        sleep(ms(500)).await;
        assert_eq!(log.take(), ["-a panic: handler", "xa"]);
        assert_eq!(port.info().dropped, 1, "what it left is counted");
        assert_eq!(root.tree().snapshot().len(), 1);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_flood_does_not_keep_other_actors_from_their_turn() {
    paused(async {
        let (tree, log) = tree();
        let (a, flooded) = puppet_of("a", &log, Habit::default(), 1000, Overflow::Reject);
        let (b, other) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a).child(b)).await;
        log.take();
        for number in 0..1000 {
            flooded.tell(Number(number)).unwrap();
        }
        other.tell(Number(1000)).unwrap();
        root.shutdown(LONG).await;
        let turn = log.take().iter().position(|line| line == "saw 1000").expect("it had its turn");
        assert!(turn < 200, "after {turn} messages of the flood");
    });
}
