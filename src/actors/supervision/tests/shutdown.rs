//! Stopping: reverse order, drained queues, flushes, and what does not stop in time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::*;
use super::support::*;

#[test]
fn shutdown_goes_in_reverse_with_drain_flush_and_kill_after_the_grace() {
    paused(async {
        let (tree, log) = tree();
        let (a, _) = puppet("a", &log);
        let flush = Habit { flush: Some(ms(300)), ..Habit::default() };
        let (b, drained) = puppet_with("b", &log, flush);
        let endless = Habit { flush: Some(LONG), ..Habit::default() };
        let (c, _) = puppet_with("c", &log, endless);
        let spec = SupSpec::one_for_one().child(a).child(b).child(c.grace(ms(120)));
        let root = Root::start(tree, "root", spec).await;
        log.take();
        for number in 1..4 {
            drained.tell(Number(number)).unwrap();
        }
        root.shutdown(LONG).await;
        let lines = log.take_timed();
        assert_eq!(lines[..3], ["0 saw 1", "0 saw 2", "0 saw 3"]);
        assert_eq!(lines[3..5], ["120 -c killed", "120 xc"]);
        assert_eq!(lines[5..8], ["420 root/b flushed", "420 -b shutdown", "420 xb"]);
        assert_eq!(lines[8..], ["420 -a shutdown", "420 xa", "420 -root shutdown"]);
    });
}

#[test]
fn what_is_queued_is_handled_before_the_end_and_nothing_enters_meanwhile() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(100)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        for number in 1..4 {
            port.tell(Number(number)).unwrap();
        }
        let late = port.clone();
        let sender = tokio::task::spawn_local(async move {
            sleep(ms(150)).await;
            late.tell(Number(9)).map_err(Refused::into_inner)
        });
        root.shutdown(LONG).await;
        assert_eq!(sender.await.unwrap(), Err(Number(9)));
        assert_eq!((port.info().handled, port.info().dropped), (3, 0));
    });
}

#[test]
fn what_the_grace_does_not_suffice_for_is_dropped_and_counted() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(100)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.grace(ms(150)))).await;
        log.take();
        for number in 1..6 {
            port.tell(Number(number)).unwrap();
        }
        let asked = port.clone();
        let asked = tokio::task::spawn_local(async move { asked.ask(Number(6), LONG).await });
        sleep(ms(1)).await;
        root.shutdown(LONG).await;
        assert_eq!(log.take()[..2], ["saw 1", "-a killed"]);
        assert_eq!(port.info().dropped, 4, "3 to 6; the second was being handled");
        assert_eq!(asked.await.unwrap(), Err(AskError::Lost));
        assert_eq!(port.ask(Number(7), LONG).await, Err(AskError::Closed));
    });
}

#[test]
fn a_shutdown_over_its_limit_kills_what_is_left() {
    paused(async {
        let (tree, log) = tree();
        let slow = || Habit { flush: Some(LONG), ..Habit::default() };
        let (a, _) = puppet_with("a", &log, slow());
        let (b, _) = puppet_with("b", &log, slow());
        let sub = SupSpec::one_for_one().child(a.grace(LONG)).child(b.grace(LONG));
        let spec = SupSpec::one_for_one().child(ChildSpec::supervisor("sub", sub));
        let root = Root::start(tree, "root", spec).await;
        log.take();
        let start = Instant::now();
        root.shutdown(ms(500)).await;
        assert_eq!(start.elapsed(), ms(500));
        let lines = log.take();
        assert!(
            lines.contains(&"-sub/a killed".into()) && lines.contains(&"-sub/b killed".into()),
            "{lines:?}"
        );
        assert!(root.tree().snapshot().is_empty());
    });
}

#[test]
fn a_shutdown_during_a_backoff_does_not_wait_for_it() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let slow = Backoff { min: Duration::from_secs(100), max: LONG, ..steady() };
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.backoff(slow))).await;
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        port.tell(Number(1)).unwrap();
        let start = Instant::now();
        root.shutdown(LONG).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(port.info().dropped, 1);
    });
}

#[test]
fn a_failure_gives_the_actor_no_time_to_flush() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { flush: Some(ms(300)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        log.take();
        port.tell(Fail::Error).unwrap();
        sleep(ms(1000)).await;
        assert_eq!(log.take_timed(), ["0 -a error: no more", "0 ~a 100", "100 +a"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_failure_while_stopping_is_reported_and_not_restarted() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        log.take();
        port.tell(Fail::Panic).unwrap();
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["-a panic: handler", "xa", "-root shutdown"]);
    });
}

#[test]
fn an_actor_that_panics_when_dropped_does_not_take_the_tree_along() {
    struct Spiteful;
    impl actix::Actor for Spiteful {
        type Context = Ctx<Self>;
    }
    supervised!(Spiteful);
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    paused(async {
        let (tree, log) = tree();
        let (a, _port) = ChildSpec::actor("a", 1, Overflow::Reject, || Spiteful);
        let (b, _) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(b).child(a)).await;
        log.take();
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["-a shutdown", "xa", "-b shutdown", "xb", "-root shutdown"]);
    });
}
