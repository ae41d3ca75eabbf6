//! The mailbox bound and what happens over it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::*;
use super::support::*;

/// A puppet that is not started, so that its mailbox only fills.
fn unstarted(cap: usize, overflow: Overflow) -> (ChildSpec, Port<Puppet>, Log) {
    let log = Log::new();
    let (spec, port) = puppet_of("a", &log, Habit::default(), cap, overflow);
    (spec, port, log)
}

#[test]
fn the_bound_is_exact_however_many_clones_send() {
    paused(async {
        let (_spec, port, _log) = unstarted(4, Overflow::Reject);
        let sent = (0..1000).filter(|n| port.clone().tell(Number(*n)).is_ok()).count();
        assert_eq!(sent, 4);
        assert_eq!((port.info().depth, port.info().cap), (4, 4));
        assert!(matches!(port.tell(Number(7)), Err(Refused::Full(Number(7)))), "the sender gets it back");
        assert_eq!(port.ask(Number(8), LONG).await, Err(AskError::Full));
    });
}

#[test]
fn the_bound_is_exact_with_many_threads() {
    let (_spec, port, _log) = paused(async { unstarted(100, Overflow::Reject) });
    let sent: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let port = port.clone();
                scope.spawn(move || (0..1000).filter(|n| port.tell(Number(*n)).is_ok()).count())
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!(sent, 100);
}

#[test]
fn drop_newest_drops_what_comes_over_the_bound() {
    paused(async {
        let (spec, port, log) = unstarted(2, Overflow::DropNewest);
        let sent: Vec<Sent> = (1..4).map(|n| port.tell(Number(n)).unwrap()).collect();
        assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::DroppedNewest]);
        assert_eq!(port.info().dropped, 1);
        assert_eq!(port.ask(Number(9), LONG).await, Err(AskError::Full));
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["saw 1", "saw 2"]);
    });
}

#[test]
fn drop_oldest_keeps_the_newest_in_order() {
    paused(async {
        let (spec, port, log) = unstarted(2, Overflow::DropOldest);
        let sent: Vec<Sent> = (1..5).map(|n| port.tell(Number(n)).unwrap()).collect();
        assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::DroppedOldest, Sent::DroppedOldest]);
        assert_eq!(port.info().depth, 2);
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["saw 3", "saw 4"]);
        assert_eq!((port.info().dropped, port.info().depth, port.info().handled), (2, 0, 2));
    });
}

#[test]
fn drop_oldest_holds_at_most_twice_the_bound_and_then_drops_the_newest() {
    paused(async {
        let (spec, port, log) = unstarted(3, Overflow::DropOldest);
        let sent: Vec<Sent> = (1..9).map(|n| port.tell(Number(n)).unwrap()).collect();
        assert_eq!(sent[3..6], [Sent::DroppedOldest; 3], "three may wait to give way");
        assert_eq!(sent[6..], [Sent::DroppedNewest; 2]);
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        sleep(ms(1)).await;
        assert_eq!(port.tell(Number(9)), Ok(Sent::Queued), "the bound is whole again");
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["saw 4", "saw 5", "saw 6", "saw 9"]);
        assert_eq!(port.info().dropped, 5);
    });
}

#[test]
fn the_asker_that_gives_way_to_a_newer_message_hears_of_it() {
    paused(async {
        let (spec, port, _log) = unstarted(1, Overflow::DropOldest);
        let asker = port.clone();
        let asked = tokio::task::spawn_local(async move { asker.ask(Number(1), LONG).await });
        tokio::task::yield_now().await;
        port.tell(Number(2)).unwrap();
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        assert_eq!(asked.await.unwrap(), Err(AskError::Lost));
        root.shutdown(LONG).await;
    });
}

#[test]
fn tell_wait_waits_for_room_and_gives_up_at_its_limit() {
    paused(async {
        let (tree, log) = tree();
        let habit = Habit { slow: Some(ms(100)), ..Habit::default() };
        let (a, port) = puppet_of("a", &log, habit, 1, Overflow::Reject);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        port.tell(Number(1)).unwrap();
        sleep(ms(1)).await;
        port.tell(Number(2)).unwrap();

        let start = Instant::now();
        assert!(matches!(port.tell_wait(Number(3), ms(50)).await, Err(Refused::Full(Number(3)))));
        assert_eq!(start.elapsed(), ms(50));
        assert_eq!(port.tell_wait(Number(4), LONG).await, Ok(Sent::Queued));
        assert_eq!(start.elapsed(), ms(99), "as soon as the first was handled");
        root.shutdown(LONG).await;
        assert!(matches!(port.tell_wait(Number(5), LONG).await, Err(Refused::Closed(Number(5)))));
    });
}

#[test]
fn who_waits_for_room_when_the_actor_ends_gets_the_message_back() {
    paused(async {
        let (spec, port, _log) = unstarted(1, Overflow::Reject);
        port.tell(Number(1)).unwrap();
        let sender = port.clone();
        let waiting = tokio::task::spawn_local(async move { sender.tell_wait(Number(2), LONG).await });
        tokio::task::yield_now().await;
        drop(spec);
        assert!(matches!(waiting.await.unwrap(), Err(Refused::Closed(Number(2)))));
        assert_eq!(port.info().dropped, 1);
    });
}

#[test]
fn depth_counts_what_waits_not_what_is_being_handled() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(100)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        for number in 0..3 {
            port.tell(Number(number)).unwrap();
        }
        assert_eq!(port.info().depth, 3);
        sleep(ms(1)).await;
        assert_eq!(port.info().depth, 2);
        sleep(Duration::from_secs(1)).await;
        assert_eq!((port.info().depth, port.info().handled), (0, 3));
        root.shutdown(LONG).await;
    });
}

#[test]
fn an_actor_is_idle_only_once_its_last_answer_is_done() {
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet_with("a", &log, Habit { slow: Some(ms(100)), ..Habit::default() });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        assert!(port.is_idle());
        port.tell(Number(1)).unwrap();
        assert!(!port.is_idle(), "it waits");
        sleep(ms(50)).await;
        assert_eq!(port.info().depth, 0);
        assert!(!port.is_idle(), "it is being handled");
        sleep(ms(100)).await;
        assert!(port.is_idle());
        root.shutdown(LONG).await;
    });
}

/// Ports may go anywhere, whatever the actor holds.
#[test]
fn a_port_is_send_and_sync_even_if_its_actor_is_not() {
    struct Local(#[expect(dead_code, reason = "only its type matters")] std::rc::Rc<()>);
    impl actix::Actor for Local {
        type Context = Ctx<Self>;
    }
    supervised!(Local);
    fn anywhere<T: Send + Sync + Clone>() {}
    anywhere::<Port<Local>>();
    anywhere::<SupervisorHandle>();
    anywhere::<Tree>();
}
