//! Too many failures, from the child to the root and out.

use std::time::Duration;

use tokio::time::sleep;

use super::super::*;
use super::support::*;

const TEN_SECS: Duration = Duration::from_secs(10);

#[test]
fn too_many_failures_climb_to_the_root_and_out() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let (sibling, _) = puppet("sibling", &log);
        let (other, _) = puppet("other", &log);
        let sub = SupSpec::one_for_one().intensity(2, TEN_SECS).child(sibling).child(a);
        let later = Backoff { min: ms(1000), ..steady() };
        let sub = ChildSpec::supervisor("sub", sub).backoff(later);
        let spec = SupSpec::one_for_one().intensity(1, Duration::from_secs(60)).child(other).child(sub);
        let root = Root::start(tree, "root", spec).await;
        log.take();

        for _ in 0..6 {
            port.tell(Fail::Panic).unwrap();
        }
        let reason = root.gave_up().await;

        let lines = log.take_timed();
        let first = ["0 -sub/a panic: handler", "0 ~sub/a 100", "100 +sub/a", "100 -sub/a panic: handler"];
        assert_eq!(lines[..4], first);
        assert_eq!(lines[4..7], ["100 ~sub/a 200", "300 +sub/a", "300 -sub/a panic: handler"]);
        assert_eq!(lines[7..9], ["300 ^sub", "300 -sub/sibling shutdown"], "the third in ten seconds");
        assert!(lines[9].starts_with("300 -sub escalated: "), "{}", lines[9]);
        let whole = ["300 ~sub 1000", "1300 +sub/sibling", "1300 +sub/a", "1300 +sub"];
        assert_eq!(lines[10..14], whole, "restarted as a whole, in order");
        let second =
            lines.iter().position(|line| line == "1600 ^sub").expect("a clean record at the restart");
        assert_eq!(lines[second + 1], "1600 -sub/sibling shutdown");
        assert_eq!(lines[second + 3..second + 5], ["1600 ^root", "1600 -other shutdown"]);
        assert_eq!(lines[second + 6], "1600 !root", "{lines:?}");

        for part in ["`root/sub`", "`root/sub/a`", "panic: handler", "2 failures in 60s", "3 failures in 10s"]
        {
            assert!(reason.contains(part), "`{part}` is missing in: {reason}");
        }
        root.shutdown(LONG).await;
        assert!(matches!(port.tell(Number(1)), Err(Refused::Closed(_))), "the tree is over");
        assert!(root.tree().snapshot().is_empty());
    });
}

#[test]
fn failures_spread_over_more_than_the_period_do_not_escalate() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let spec = SupSpec::one_for_one().intensity(1, TEN_SECS).child(a);
        let root = Root::start(tree, "root", spec).await;
        for _ in 0..5 {
            port.tell(Fail::Panic).unwrap();
            sleep(Duration::from_secs(11)).await;
        }
        assert_eq!(port.info().restarts, 5);
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_wall_clock_that_jumps_neither_adds_failures_to_a_period_nor_takes_them_out() {
    paused(async {
        for hours in [6, -6] {
            // given: failures far apart, with jumps that would bring them together
            let (tree, log) = tree();
            let (a, port) = puppet("a", &log);
            let spec = SupSpec::one_for_one().intensity(1, TEN_SECS).child(a);
            let root = Root::start(tree, "root", spec).await;
            for _ in 0..4 {
                port.tell(Fail::Panic).unwrap();
                sleep(Duration::from_secs(11)).await;
                root.tree().clock().jump(chrono::TimeDelta::hours(hours));
            }
            assert_eq!(port.info().restarts, 4);
            // and failures close together, with jumps that would take them apart
            port.tell(Fail::Panic).unwrap();
            sleep(Duration::from_secs(1)).await;
            root.tree().clock().jump(chrono::TimeDelta::hours(hours));
            port.tell(Fail::Panic).unwrap();
            assert!(root.gave_up().await.contains("2 failures in 10s"));
            root.shutdown(LONG).await;
        }
    });
}

#[test]
fn the_queue_survives_an_escalation_of_the_subtree() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let sub = ChildSpec::supervisor("sub", SupSpec::one_for_one().intensity(0, TEN_SECS).child(a));
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(sub.backoff(steady()))).await;
        port.tell(Fail::Panic).unwrap();
        port.tell(Number(1)).unwrap();
        assert_eq!(port.ask(Number(2), LONG).await, Ok(vec![1, 2]));
        assert!(log.take().contains(&"^sub".into()));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_wide_supervisor_gives_up_the_child_and_spares_the_others() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let (b, other) = puppet("b", &log);
        let given = log.clone();
        let wide = SupSpec::one_for_one()
            .per_child()
            .intensity(1, TEN_SECS)
            .when_given_up(move |name, reason| given.write(format!("given up {name}: {reason}")))
            .child(a)
            .child(b);
        let root = Root::start(tree, "root", wide).await;
        log.take();
        other.tell(Fail::Panic).unwrap();
        port.tell(Fail::Panic).unwrap();
        port.tell(Fail::Error).unwrap();
        sleep(Duration::from_secs(1)).await;

        let lines = log.take();
        let reason = "2 failures in 10s, the last of `root/a`: error: no more";
        assert!(lines.contains(&format!("given up a: {reason}")), "{lines:?}");
        assert!(matches!(port.tell(Number(1)), Err(Refused::Closed(_))));
        assert_eq!(other.ask(Number(2), LONG).await, Ok(vec![2]), "its own single failure was restarted");
        assert_eq!(root.tree().snapshot().len(), 2);

        let (again, port) = puppet("a", &log);
        root.add("root", again).await.unwrap();
        assert_eq!(port.ask(Number(3), LONG).await, Ok(vec![3]), "the name is free again");
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_root_that_escalates_at_its_first_start_gives_up() {
    paused(async {
        let (tree, log) = tree();
        let habit = Habit::default();
        *habit.failing_starts.lock() = u32::MAX;
        let (a, _) = puppet_with("a", &log, habit);
        let root = Root::start(tree, "root", SupSpec::one_for_one().intensity(3, LONG).child(a)).await;
        let reason = root.gave_up().await;
        assert!(reason.contains("4 failures"), "{reason}");
        root.shutdown(LONG).await;
    });
}
