//! An inlet is its port, for one kind of message.

use super::super::*;
use super::support::*;

#[test]
fn what_is_told_through_an_inlet_arrives_in_order_with_what_the_port_is_told() {
    paused(async {
        let log = Log::new();
        let (spec, port) = puppet_of("a", &log, Habit::default(), 4, Overflow::Reject);
        let inlet: Inlet<Number> = port.inlet();
        assert_eq!(inlet.tell(Number(1)), Ok(Sent::Queued));
        assert_eq!(port.tell(Number(2)), Ok(Sent::Queued));
        assert_eq!(inlet.clone().tell_wait(Number(3), LONG).await, Ok(Sent::Queued));
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        root.shutdown(LONG).await;
        assert_eq!(log.take(), ["saw 1", "saw 2", "saw 3"]);
    });
}

#[test]
fn an_inlet_shares_the_bound_of_its_port_and_says_what_became_of_the_message() {
    paused(async {
        let log = Log::new();
        let (_spec, port) = puppet_of("a", &log, Habit::default(), 2, Overflow::Reject);
        let inlet: Inlet<Number> = port.inlet();
        port.tell(Number(1)).unwrap();
        inlet.tell(Number(2)).unwrap();
        assert_eq!(inlet.tell(Number(3)), Err(Refused::Full(Number(3))), "the sender gets it back");
        assert_eq!(inlet.tell_wait(Number(4), ms(5)).await, Err(Refused::Full(Number(4))));
        assert_eq!(port.info().depth, 2);

        let (_spec, port) = puppet_of("b", &log, Habit::default(), 1, Overflow::DropNewest);
        let inlet: Inlet<Number> = port.inlet();
        assert_eq!(
            [inlet.tell(Number(1)), inlet.tell(Number(2))],
            [Ok(Sent::Queued), Ok(Sent::DroppedNewest)]
        );

        let (_spec, port) = puppet_of("c", &log, Habit::default(), 1, Overflow::DropOldest);
        let inlet: Inlet<Number> = port.inlet();
        assert_eq!(
            [inlet.tell(Number(1)), inlet.tell(Number(2))],
            [Ok(Sent::Queued), Ok(Sent::DroppedOldest)]
        );
    });
}

#[test]
fn an_inlet_stays_valid_while_the_actor_restarts_and_says_when_it_has_ended() {
    paused(async {
        let log = Log::new();
        let (spec, port) = puppet_of("a", &log, Habit::default(), 8, Overflow::Reject);
        let inlet: Inlet<Number> = port.inlet();
        let root = Root::start(tree().0, "root", SupSpec::one_for_one().child(spec)).await;
        port.tell(Fail::Panic).unwrap();
        inlet.tell(Number(1)).unwrap();
        log.until("saw 1").await;
        root.shutdown(LONG).await;
        assert_eq!(inlet.tell(Number(2)), Err(Refused::Closed(Number(2))));
        assert_eq!(inlet.tell_wait(Number(3), LONG).await, Err(Refused::Closed(Number(3))));
    });
}
