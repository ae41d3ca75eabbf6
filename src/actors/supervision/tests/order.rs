//! Who is stopped and started with whom, and in which order.

use tokio::time::sleep;

use super::super::*;
use super::support::*;

/// Lets `b` of `a`, `b`, `c` panic and returns what happened, bare of reasons.
fn restart_b(spec: SupSpec) -> Vec<String> {
    paused(async {
        let (tree, log) = tree();
        let (a, _) = puppet("a", &log);
        let (b, port) = puppet("b", &log);
        let (c, _) = puppet("c", &log);
        let root = Root::start(tree, "root", spec.child(a).child(b).child(c)).await;
        assert_eq!(log.take(), ["+a", "+b", "+c", "+root"], "started in order, the parent last");
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1000)).await;
        let lines = log.take_timed();
        root.shutdown(LONG).await;
        lines
    })
}

#[test]
fn one_for_one_restarts_the_failed_child_alone() {
    let lines = restart_b(SupSpec::one_for_one());
    assert_eq!(lines, ["0 -b panic: handler", "0 ~b 100", "100 +b"]);
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let lines = restart_b(SupSpec::one_for_all());
    let stopped = ["0 -b panic: handler", "0 ~b 100", "0 -c shutdown", "0 -a shutdown"];
    assert_eq!(lines[..4], stopped);
    assert_eq!(lines[4..], ["100 +a", "100 +b", "100 +c"]);
}

#[test]
fn rest_for_one_takes_those_that_started_later_along() {
    let lines = restart_b(SupSpec::rest_for_one());
    assert_eq!(lines, ["0 -b panic: handler", "0 ~b 100", "0 -c shutdown", "100 +b", "100 +c"]);
}

#[test]
fn messages_of_siblings_wait_for_their_next_run() {
    paused(async {
        let (tree, log) = tree();
        let (a, sibling) = puppet("a", &log);
        let (b, port) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_all().child(a).child(b)).await;
        sibling.ask(Number(1), LONG).await.unwrap();
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        sibling.tell(Number(2)).unwrap();
        sleep(ms(50)).await;
        assert_eq!(sibling.info().depth, 1);
        assert_eq!(sibling.ask(Number(3), LONG).await, Ok(vec![2, 3]), "a fresh state saw both");
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_sibling_may_finish_the_answer_it_is_at_before_it_is_restarted() {
    paused(async {
        let (tree, log) = tree();
        let (a, sibling) = puppet_with("a", &log, Habit { slow: Some(ms(40)), ..Habit::default() });
        let (b, port) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_all().child(a).child(b)).await;
        log.take();
        let asked = tokio::task::spawn_local(async move {
            let first = sibling.ask(Number(1), LONG);
            let second = sibling.ask(Number(2), LONG);
            tokio::join!(first, second)
        });
        sleep(ms(10)).await;
        port.tell(Fail::Panic).unwrap();
        assert_eq!(asked.await.unwrap(), (Ok(vec![1]), Ok(vec![2])));
        let lines = log.take_timed();
        assert_eq!(lines[..4], ["10 -b panic: handler", "10 ~b 100", "40 saw 1", "40 -a shutdown"]);
        assert_eq!(lines[4..], ["110 +a", "110 +b", "150 saw 2"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_failure_while_the_group_starts_restarts_the_group_again() {
    paused(async {
        let (tree, log) = tree();
        let (a, _) = puppet("a", &log);
        let habit = Habit::default();
        let failing = habit.failing_starts.clone();
        let (b, port) = puppet_with("b", &log, habit);
        let (c, _) = puppet("c", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_all().child(a).child(b).child(c)).await;
        log.take();
        *failing.lock() = 1;
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1000)).await;
        let lines = log.take_timed();
        assert_eq!(lines[4..8], ["100 +a", "100 -b panic: start", "100 ~b 200", "100 -a shutdown"]);
        assert_eq!(lines[8..], ["300 +a", "300 +b", "300 +c"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn two_failures_at_once_in_a_group_are_one_restart() {
    paused(async {
        let (tree, log) = tree();
        let (a, first) = puppet("a", &log);
        let (b, second) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_all().child(a).child(b)).await;
        log.take();
        first.tell(Fail::Panic).unwrap();
        second.tell(Fail::Panic).unwrap();
        sleep(ms(1000)).await;
        let lines = log.take_timed();
        assert_eq!(lines, ["0 -a panic: handler", "0 ~a 100", "0 -b panic: handler", "100 +a", "100 +b"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn an_earlier_childs_failure_widens_a_restart_under_way() {
    paused(async {
        let (tree, log) = tree();
        let (a, first) = puppet("a", &log);
        let (b, second) = puppet("b", &log);
        let (c, _) = puppet("c", &log);
        let root = Root::start(tree, "root", SupSpec::rest_for_one().child(a).child(b).child(c)).await;
        log.take();
        second.tell(Fail::Panic).unwrap();
        sleep(ms(50)).await;
        first.tell(Fail::Error).unwrap();
        sleep(ms(1000)).await;
        let lines = log.take_timed();
        assert_eq!(lines[..3], ["0 -b panic: handler", "0 ~b 100", "0 -c shutdown"]);
        assert_eq!(lines[3..], ["50 -a error: no more", "50 ~a 100", "150 +a", "150 +b", "150 +c"]);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_start_that_fails_in_a_group_does_not_keep_the_parent_waiting() {
    paused(async {
        let (tree, log) = tree();
        let habit = Habit::default();
        *habit.failing_starts.lock() = 1;
        let (a, _) = puppet_with("a", &log, habit);
        let (b, _) = puppet("b", &log);
        let sub = ChildSpec::supervisor("sub", SupSpec::one_for_all().child(a));
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(sub).child(b)).await;
        sleep(ms(200)).await;
        let lines = log.take_timed();
        assert_eq!(lines[..2], ["0 -sub/a panic: start", "0 ~sub/a 100"]);
        assert_eq!(lines[2..], ["0 +sub", "0 +b", "0 +root", "100 +sub/a"]);
        root.shutdown(LONG).await;
    });
}
