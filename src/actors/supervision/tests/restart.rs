//! What is caught, what survives a restart, and what does not.

use super::super::*;
use super::support::*;

#[test]
fn a_panicking_handler_is_restarted_with_fresh_state_and_the_queue_it_left() {
    quiet_panics();
    paused(async {
        let (tree, log) = tree();
        let (a, port) = puppet("a", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));

        port.tell(Fail::Panic).unwrap();
        port.tell(Number(2)).unwrap();
        port.tell(Number(3)).unwrap();

        assert_eq!(port.ask(Number(4), LONG).await, Ok(vec![2, 3, 4]));
        let expected = ["0 +a", "0 +root", "0 saw 1", "0 -a panic: handler", "0 ~a 100", "100 +a"];
        assert_eq!(log.take_timed()[..6], expected);
        assert_eq!(port.info().restarts, 1);
        root.shutdown(LONG).await;
        assert!(matches!(port.tell(Number(5)), Err(Refused::Closed(Number(5)))));
    });
}
