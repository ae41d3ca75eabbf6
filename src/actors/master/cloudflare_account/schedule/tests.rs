//! Turns, comparisons and looks by the clock.

use super::*;

const MILLI: Duration = Duration::from_millis(1);
const ANY: fn(&TunnelId) -> bool = |_| true;

fn id(name: &str) -> TunnelId {
    TunnelId::new(name)
}

fn begun(turn: &mut Turn, now: Instant) {
    assert_eq!(turn.next(now), Next::Begin(Order::CHANGE));
    turn.begin(now);
}

#[test]
fn the_first_change_goes_at_once_and_the_next_ones_together() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.wake(Order::CHANGE);
    begun(&mut turn, now);
    turn.end(now + 20 * MILLI, Order::CHANGE, Ending::Done, 0.5);

    turn.wake(Order::CHANGE);
    turn.wake(Order::CHANGE);

    assert_eq!(turn.next(now + 30 * MILLI), Next::At(now + COALESCE));
    begun(&mut turn, now + COALESCE);
    assert_eq!(turn.next(now + COALESCE), Next::Rest);
}

#[test]
fn a_change_during_a_pass_gets_a_pass_of_its_own() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.wake(Order::CHANGE);
    begun(&mut turn, now);
    turn.wake(Order::CHANGE);
    assert_eq!(turn.next(now + 500 * MILLI), Next::Rest);
    turn.end(now + 500 * MILLI, Order::CHANGE, Ending::Done, 0.5);
    assert_eq!(turn.next(now + 500 * MILLI), Next::Begin(Order::CHANGE));
}

#[test]
fn failures_wait_longer_and_longer_and_a_success_forgets_them() {
    let (mut turn, mut now) = (Turn::default(), Instant::now());
    let mut waits = Vec::new();
    turn.wake(Order::CHANGE);
    for _ in 0..9 {
        turn.begin(now);
        turn.end(now, Order::CHANGE, Ending::Failed(None), 1.0);
        let Next::At(at) = turn.next(now) else { panic!("waits") };
        waits.push((at - now).as_millis());
        now = at;
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    turn.begin(now);
    turn.end(now, Order::AGAIN, Ending::Done, 1.0);
    assert!(!turn.is_failing() && !turn.is_busy());
}

#[test]
fn what_cloudflare_asks_for_is_waited_for() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.end(now, Order::CHANGE, Ending::Failed(Some(Duration::from_secs(7))), 1.0);
    turn.wake(Order::CHANGE);
    assert_eq!(turn.next(now), Next::At(now + Duration::from_secs(7) + FIRST_RETRY));
}

#[test]
fn a_refusal_is_looked_at_again_after_minutes_or_on_order() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.end(now, Order::CHANGE, Ending::Refused, 1.0);
    assert_eq!(turn.next(now + MILLI), Next::At(now + REFUSED_RETRY));
    turn.wake(Order::AGAIN);
    turn.forgive();
    assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::AGAIN));
}

#[test]
fn an_order_during_a_pass_that_fails_is_carried_out_without_a_wait() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.forgive();
    turn.wake(Order::AGAIN);
    turn.end(now + COALESCE, Order::CHANGE, Ending::Failed(None), 1.0);
    assert!(!turn.is_backing_off(now + COALESCE));
    assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::AGAIN));
}

#[test]
fn a_change_after_a_refusal_goes_at_once() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.end(now, Order::CHANGE, Ending::Refused, 1.0);
    turn.wake(Order::CHANGE);
    assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::CHANGE));
}

#[test]
fn a_change_during_a_pass_that_is_refused_goes_at_once() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.wake(Order::CHANGE);
    turn.end(now + MILLI, Order::CHANGE, Ending::Refused, 1.0);
    assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::CHANGE));
    // What was refused is tried again after it.
    turn.begin(now + COALESCE);
    turn.end(now + COALESCE, Order::CHANGE, Ending::Refused, 1.0);
    assert_eq!(turn.next(now + COALESCE + MILLI), Next::At(now + COALESCE + REFUSED_RETRY));
}

#[test]
fn a_comparison_in_the_background_makes_way_and_leaves_its_return_to_its_queue() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.wake(Order::COMPARISON);
    turn.begin(now);
    assert!(turn.wake(Order::CHANGE));
    turn.end(now + 300 * MILLI, Order::COMPARISON, Ending::Interrupted, 0.0);
    assert_eq!(turn.next(now + 300 * MILLI), Next::Begin(Order::CHANGE));
}

#[test]
fn what_waits_for_its_turn_goes_on_then_and_is_no_failure() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.end(now + COALESCE, Order::CHANGE, Ending::PutOff(MILLI), 1.0);
    assert!(!turn.is_failing());
    assert_eq!(turn.next(now + COALESCE + MILLI), Next::Begin(Order::AGAIN));
}

#[test]
fn a_comparison_that_failed_leaves_its_return_to_its_queue() {
    let (mut turn, now) = (Turn::default(), Instant::now());
    turn.begin(now);
    turn.end(now, Order::COMPARISON, Ending::Failed(None), 0.0);
    assert!(!turn.is_busy() && !turn.is_failing());
}

fn loaded(names: &[&str]) -> Comparisons {
    let mut comparisons = Comparisons::default();
    comparisons.add(names.iter().map(|name| id(name)));
    comparisons
}

#[test]
fn one_after_the_other_is_compared_and_each_once_a_round() {
    let mut comparisons = loaded(&["a", "b"]);
    assert_eq!(comparisons.next(ANY), Some(id("a")));
    assert_eq!(comparisons.next(ANY), None, "one at a time");
    comparisons.add([id("a"), id("b")]);
    assert_eq!(comparisons.left(), 2, "the round before is not over");
    comparisons.ended(&id("a"), Order::COMPARISON, Ending::Done);
    assert_eq!(comparisons.next(ANY), Some(id("b")));
    comparisons.ended(&id("b"), Order::COMPARISON, Ending::Refused);
    assert_eq!((comparisons.next(ANY), comparisons.left()), (None, 0));
}

#[test]
fn what_is_asked_for_is_compared_before_the_others_and_not_twice_at_the_same_time() {
    let mut comparisons = loaded(&["a", "b"]);
    comparisons.add_first(id("b"));
    assert_eq!((comparisons.next(ANY), comparisons.left()), (Some(id("b")), 2));
    comparisons.add_first(id("b"));
    assert_eq!(comparisons.left(), 2);
}

#[test]
fn a_tunnel_that_is_at_work_holds_nobody_up() {
    let mut comparisons = loaded(&["busy", "b"]);
    let is_at_rest = |tunnel: &TunnelId| *tunnel != id("busy");
    assert_eq!(comparisons.next(is_at_rest), Some(id("b")));
    comparisons.ended(&id("b"), Order::COMPARISON, Ending::Done);
    assert_eq!((comparisons.next(is_at_rest), comparisons.left()), (None, 1));
    assert_eq!(comparisons.next(ANY), Some(id("busy")));
}

#[test]
fn a_comparison_that_made_way_or_was_taken_along_by_a_change_is_made_again() {
    for (order, ending) in [
        (Order::COMPARISON, Ending::Interrupted),
        (Order::CHANGE, Ending::Done),
        (Order::AGAIN, Ending::Failed(None)),
    ] {
        let mut comparisons = loaded(&["a"]);
        comparisons.next(ANY);
        assert_eq!(comparisons.ended(&id("a"), order, ending), None);
        assert_eq!(comparisons.next(ANY), Some(id("a")), "{order:?}");
    }
}

#[test]
fn failures_pause_longer_and_longer_and_a_success_forgets_them() {
    let mut comparisons = loaded(&["a"]);
    let fail = |comparisons: &mut Comparisons| {
        comparisons.next(ANY);
        comparisons.ended(&id("a"), Order::COMPARISON, Ending::Failed(None)).unwrap().as_secs()
    };
    assert_eq!([(); 6].map(|()| fail(&mut comparisons)), [5, 10, 20, 40, 60, 60]);
    comparisons.next(ANY);
    comparisons.ended(&id("a"), Order::COMPARISON, Ending::Done);
    comparisons.add([id("a")]);
    assert_eq!(fail(&mut comparisons), 5);
}

#[test]
fn a_pass_that_was_no_comparison_changes_nothing() {
    let mut comparisons = loaded(&["a"]);
    assert_eq!(comparisons.ended(&id("b"), Order::CHANGE, Ending::Done), None);
    assert_eq!(comparisons.left(), 1);
}

#[test]
fn a_tunnel_that_never_connects_is_compared_at_once_and_then_every_three_minutes() {
    let began = Instant::now();
    let (mut last, mut compared) = (None, Vec::new());
    for now in (0..600).step_by(10).map(|secs| began + Duration::from_secs(secs)) {
        if let Some(at) = next_comparison(last, now) {
            last = Some(at);
            compared.push((at - began).as_secs());
        }
    }
    assert_eq!(compared, [0, 180, 360, 540, 720]);
}

#[test]
fn one_tunnel_after_the_other_is_looked_at_when_it_is_due_and_once() {
    let (mut looks, now) = (ConnectorLooks::default(), Instant::now());
    let later = now + LOOKED_AT_AGAIN;
    looks.add(id("late"), later);
    looks.add(id("soon"), now);
    looks.add(id("soon"), later);

    assert_eq!(looks.next(now), NextLook::Look(id("soon")));
    assert_eq!(looks.next(now), NextLook::Rest, "one at a time");
    looks.is_running = false;
    assert_eq!(looks.next(now), NextLook::At(later));
    looks.add(id("late"), now);
    assert_eq!(looks.next(now), NextLook::Look(id("late")));
    looks.is_running = false;
    assert_eq!(looks.next(later), NextLook::Rest);
}

#[test]
fn a_connector_that_is_not_there_is_looked_for_a_few_times_more() {
    let mut looks = ConnectorLooks::default();
    let waits = [(); 5].map(|()| looks.missed(&id("t")).map(|wait| wait.as_secs()));
    assert_eq!(waits, [Some(5), Some(10), Some(20), None, None]);
}
