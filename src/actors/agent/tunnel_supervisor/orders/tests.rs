//! Orders, what is kept of them, and who is answered.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::config::OnShutdown;
use crate::domain::id::TunnelId;
use crate::protocol::command::TunnelOrder;

type Answers = Arc<Mutex<Vec<(String, Option<bool>)>>>;

/// Gives an order. Returns true if there was something to keep, which is then kept.
fn give(orders: &mut Orders, answers: &Answers, id: &str, work: TunnelWork) -> bool {
    order(orders, answers, id, work);
    save(orders)
}

/// Gives an order and keeps nothing.
fn order(orders: &mut Orders, answers: &Answers, id: &str, work: TunnelWork) {
    let (answers, name) = (Arc::clone(answers), id.to_owned());
    let reply = TaskReply::new(move |outcome: Option<Outcome>| {
        answers.lock().push((name, outcome.map(|outcome| outcome.succeeded)));
    });
    orders.take(TunnelTask { id: CommandId::new(id), work, reply }, DateTime::UNIX_EPOCH);
}

fn save(orders: &mut Orders) -> bool {
    let state = orders.to_save();
    state.map(|state| orders.saved(state)).is_some()
}

fn start(token: Option<&str>) -> TunnelWork {
    let token = token.map(SecretString::from);
    TunnelWork::Start(TunnelOrder { tunnel_id: Some(TunnelId::new("t1")), tunnel_name: None, token })
}

fn restart() -> TunnelWork {
    TunnelWork::Restart { tunnel_id: TunnelId::new("t1"), tunnel_name: "n".into(), token: "a".into() }
}

fn settings(network: &str) -> TunnelSettings {
    TunnelSettings::new("cf:1", network, OnShutdown::Keep)
}

fn wanted(orders: &Orders) -> Wanted {
    match orders.desired(&settings("edge")) {
        Desired::Running(wanted) => *wanted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_order_again_changes_nothing_and_both_are_answered() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    assert!(give(&mut orders, &answers, "c1", start(Some("a"))), "to be kept");
    assert!(!give(&mut orders, &answers, "c2", start(None)), "what is absent stays as it is");

    orders.succeed("done", DateTime::UNIX_EPOCH);

    assert_eq!(*answers.lock(), [("c1".to_owned(), Some(true)), ("c2".to_owned(), Some(true))]);
    assert!(!orders.has_waiting());
}

#[test]
fn a_later_order_supersedes_one_that_was_not_carried_out() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("a")));
    give(&mut orders, &answers, "c2", TunnelWork::Stop);

    assert_eq!(*answers.lock(), [("c1".to_owned(), Some(false))]);
    assert_eq!(orders.desired(&settings("edge")), Desired::Stopped);
    orders.forget_tunnel();
    assert!(save(&mut orders), "token and id go");
    orders.forget_tunnel();
    assert!(!save(&mut orders));
}

#[test]
fn a_start_without_any_token_is_refused_and_wants_nothing() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    assert!(!give(&mut orders, &answers, "c1", start(None)));
    assert_eq!(*answers.lock(), [("c1".to_owned(), Some(false))]);
    assert_eq!(orders.desired(&settings("edge")), Desired::Unknown);
}

#[test]
fn only_a_restart_asks_for_a_container_of_its_own() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("a")));
    assert_eq!(wanted(&orders).made_for, None);
    give(&mut orders, &answers, "c2", restart());
    assert_eq!(wanted(&orders).made_for, Some(CommandId::new("c2")));
    give(&mut orders, &answers, "c3", start(Some("a")));
    assert_eq!(wanted(&orders).made_for, Some(CommandId::new("c2")), "its container will do");
}

#[test]
fn on_the_hosts_own_network_the_metrics_page_is_not_open_to_others() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("hidden-token")));
    for (network, metrics) in [("edge", "0.0.0.0:20241"), ("host", "127.0.0.1:0"), ("bridge", "127.0.0.1:0")]
    {
        let new = orders.new_connector(&AgentId::new("a"), &settings(network)).unwrap();
        assert_eq!(new.metrics, metrics, "{network}");
        assert!(!format!("{new:?}").contains("hidden-token"), "a token is never printed");
    }
}

#[test]
fn what_is_not_on_disk_is_not_acted_on() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("a")));
    let before = wanted(&orders);

    order(&mut orders, &answers, "c2", start(Some("b")));
    assert!(orders.is_held_up());
    assert_eq!(wanted(&orders), before, "what is kept is carried on with");

    assert!(save(&mut orders));
    assert!(!orders.is_held_up());
    assert_eq!(wanted(&orders).token, TokenPrint::of("b"));
}

#[test]
fn an_order_that_comes_while_another_is_written_is_written_after_it() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("a")));
    order(&mut orders, &answers, "c2", start(Some("b")));
    let under_way = orders.to_save().unwrap();
    order(&mut orders, &answers, "c3", start(Some("a")));

    orders.saved(under_way);

    assert!(orders.to_save().is_some(), "`b` is on disk, and `a` is wanted");
    assert_eq!(wanted(&orders).token, TokenPrint::of("a"));
    assert!(save(&mut orders) && orders.to_save().is_none());
}

#[test]
fn a_restart_with_the_same_token_needs_nothing_to_be_written() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    let named = |token: &str| {
        let order = TunnelOrder {
            tunnel_id: Some(TunnelId::new("t1")),
            tunnel_name: Some("n".into()),
            token: Some(token.into()),
        };
        TunnelWork::Start(order)
    };
    give(&mut orders, &answers, "c1", named("a"));

    assert!(!give(&mut orders, &answers, "c2", restart()));

    assert_eq!(wanted(&orders).made_for, Some(CommandId::new("c2")));
}

#[test]
fn an_order_that_is_not_on_disk_neither_fails_nor_succeeds_with_the_one_before_it() {
    let (mut orders, answers) = (Orders::default(), Answers::default());
    give(&mut orders, &answers, "c1", start(Some("a")));
    order(&mut orders, &answers, "c2", start(Some("b")));
    answers.lock().clear();

    orders.fail("the one before cannot be run", DateTime::UNIX_EPOCH);
    orders.succeed("the one before runs", DateTime::UNIX_EPOCH);
    assert!(orders.has_waiting() && answers.lock().is_empty());

    orders.fail_held_up("it cannot be kept", DateTime::UNIX_EPOCH);
    assert_eq!(*answers.lock(), [("c2".to_owned(), Some(false))]);
    assert!(orders.is_held_up(), "it stays wanted");
}
