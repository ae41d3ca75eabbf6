//! What every backplane has to do, whatever is behind it. An implementation calls [`run`] from a test of its own.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Backplane, Wake};
use crate::domain::id::{AgentId, CommandId};

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(600);

/// Checks an implementation: `make` gives an empty one, `pass` lets time go by.
pub(super) async fn run<B: Backplane>(make: impl AsyncFn() -> B, pass: impl AsyncFn(Duration)) {
    presence_moves_forward_and_ends(&make().await, &pass).await;
    wakes_reach_every_listener(&make().await).await;
    pending_ids_are_known_or_not(&make().await).await;
    values_end(&make().await, &pass).await;
    counters_end_with_their_window(&make().await, &pass).await;
    leases_have_one_holder(&make().await, &pass).await;
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name)
}

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

async fn presence_moves_forward_and_ends(backplane: &impl Backplane, pass: &impl AsyncFn(Duration)) {
    assert_eq!(backplane.presence(&agent("a")).await.unwrap(), None);
    let both = [(agent("a"), at(100)), (agent("b"), at(7))];
    backplane.note_presence(&both, SHORT).await.unwrap();
    backplane.note_presence(&[(agent("a"), at(90))], LONG).await.unwrap();
    assert_eq!(backplane.presence(&agent("a")).await.unwrap(), Some(at(100)));
    assert_eq!(backplane.presence(&agent("b")).await.unwrap(), Some(at(7)));

    pass(SHORT).await;

    assert_eq!(backplane.presence(&agent("a")).await.unwrap(), Some(at(100)), "noted again for longer");
    assert_eq!(backplane.presence(&agent("b")).await.unwrap(), None);
}

async fn wakes_reach_every_listener(backplane: &impl Backplane) {
    backplane.wake(&agent("nobody listens")).await.unwrap();
    let mut first = backplane.wakes().await.unwrap();
    let mut second = backplane.wakes().await.unwrap();

    backplane.wake(&agent("a")).await.unwrap();
    backplane.wake(&agent("b")).await.unwrap();

    for listener in [&mut first, &mut second] {
        assert_eq!(listener.next().await, Some(Wake::Agent(agent("a"))));
        assert_eq!(listener.next().await, Some(Wake::Agent(agent("b"))));
    }
}

async fn pending_ids_are_known_or_not(backplane: &impl Backplane) {
    let commands = [CommandId::new("c1"), CommandId::new("c2")];
    assert_eq!(backplane.pending(&agent("a")).await.unwrap(), None);

    backplane.set_pending(&agent("a"), &commands).await.unwrap();
    assert_eq!(backplane.pending(&agent("a")).await.unwrap(), Some(commands.to_vec()));
    assert_eq!(backplane.pending(&agent("b")).await.unwrap(), None);

    backplane.set_pending(&agent("a"), &[]).await.unwrap();
    assert_eq!(backplane.pending(&agent("a")).await.unwrap(), None);
}

async fn values_end(backplane: &impl Backplane, pass: &impl AsyncFn(Duration)) {
    backplane.put("zones", Bytes::from_static(b"one"), LONG).await.unwrap();
    backplane.put("zones", Bytes::from_static(b"two"), SHORT).await.unwrap();
    backplane.put("other", Bytes::new(), LONG).await.unwrap();
    assert_eq!(backplane.get("zones").await.unwrap(), Some(Bytes::from_static(b"two")));
    assert_eq!(backplane.get("other").await.unwrap(), Some(Bytes::new()));

    pass(SHORT).await;
    assert_eq!(backplane.get("zones").await.unwrap(), None);
    backplane.forget("other").await.unwrap();
    backplane.forget("never there").await.unwrap();
    assert_eq!(backplane.get("other").await.unwrap(), None);
}

async fn counters_end_with_their_window(backplane: &impl Backplane, pass: &impl AsyncFn(Duration)) {
    assert_eq!(backplane.count("sign-in 10.0.0.1", 1, SHORT).await.unwrap(), 1);
    assert_eq!(backplane.count("sign-in 10.0.0.1", 2, LONG).await.unwrap(), 3);
    assert_eq!(backplane.count("sign-in 10.0.0.2", 1, SHORT).await.unwrap(), 1);

    pass(SHORT).await;

    assert_eq!(
        backplane.count("sign-in 10.0.0.1", 1, SHORT).await.unwrap(),
        1,
        "the first addition set the end"
    );
}

async fn leases_have_one_holder(backplane: &impl Backplane, pass: &impl AsyncFn(Duration)) {
    assert!(backplane.lease("account", "me", SHORT).await.unwrap());
    assert!(!backplane.lease("account", "you", LONG).await.unwrap());
    assert!(!backplane.release("account", "you").await.unwrap());
    assert!(backplane.lease("other", "you", LONG).await.unwrap());
    assert!(backplane.lease("account", "me", LONG).await.unwrap(), "the holder may prolong it");

    pass(SHORT).await;
    assert!(!backplane.lease("account", "you", LONG).await.unwrap(), "it was prolonged");

    assert!(backplane.release("account", "me").await.unwrap());
    assert!(!backplane.release("account", "me").await.unwrap());
    assert!(backplane.lease("account", "you", SHORT).await.unwrap());
    pass(SHORT).await;
    assert!(backplane.lease("account", "me", SHORT).await.unwrap(), "nobody gave it back, but it ended");
}
