//! What a slot answers by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::*;

fn slot() -> Slot {
    Slot::new(AgentId::new("a1"), AgentStatus::Pending, Some(KeyId::new("k1")), None)
}

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

#[test]
fn a_key_and_the_one_it_replaces_both_open_the_slot() {
    let slot = slot();
    slot.set_keys(Some(KeyId::new("k2")), Some(KeyId::new("k1")));
    assert!(slot.accepts(&KeyId::new("k1")) && slot.accepts(&KeyId::new("k2")));
    slot.set_keys(Some(KeyId::new("k2")), None);
    assert!(!slot.accepts(&KeyId::new("k1")));
}

#[tokio::test(start_paused = true)]
async fn a_parked_poll_wakes_when_a_command_is_queued() {
    let slot = Arc::new(slot());
    let poll = tokio::spawn({
        let slot = Arc::clone(&slot);
        async move { slot.wait_for_command(&KeyId::new("k1"), Duration::from_secs(50)).await }
    });
    tokio::task::yield_now().await;
    slot.set_queued(1);
    assert!(poll.await.unwrap());
    slot.set_queued(0);
    assert!(!slot.wait_for_command(&KeyId::new("k1"), Duration::from_secs(50)).await);
}

#[tokio::test(start_paused = true)]
async fn a_parked_poll_is_let_go_when_its_key_opens_the_slot_no_more() {
    let slot = slot();
    let keys = |current: &str, previous: Option<&str>| {
        slot.set_keys(Some(KeyId::new(current)), previous.map(KeyId::new));
    };
    let (long, key) = (Duration::from_secs(50), KeyId::new("k1"));
    let poll = slot.wait_for_command(&key, long);
    tokio::pin!(poll);
    assert!(futures_util::poll!(poll.as_mut()).is_pending());
    keys("k2", Some("k1"));
    assert!(futures_util::poll!(poll.as_mut()).is_pending(), "it still works beside the new one");
    keys("k2", None);
    assert!(futures_util::poll!(poll.as_mut()).is_ready());
}

#[test]
fn sequence_numbers_belong_to_one_session_and_never_go_back() {
    let slot = slot();
    slot.open_session("s1".into());
    slot.advance("s1", 5);
    slot.advance("s1", 3);
    assert_eq!(slot.next_seq("s1"), Some(5));
    slot.open_session("s2".into());
    assert_eq!((slot.next_seq("s1"), slot.next_seq("s2")), (None, Some(0)));
}

#[test]
fn two_hosts_that_take_turns_are_noticed() {
    let slot = slot();
    for turn in 0..6 {
        slot.touch_from(at(turn * 15), ip(1 + (turn % 2) as u8));
    }
    let peers = slot.two_hosts().unwrap().map(|source| source.peer);
    assert!(peers.contains(&ip(1)) && peers.contains(&ip(2)));
}

#[test]
fn two_hosts_behind_one_address_are_told_apart_by_their_names() {
    let slot = slot();
    for turn in 0..6 {
        let host = if turn % 2 == 0 { "web-1" } else { "web-2" };
        slot.registered_from(at(turn), ip(1), Some(host));
        slot.touch_from(at(turn), ip(1));
    }
    assert!(slot.two_hosts().is_some());
}

#[test]
fn a_host_that_moved_once_is_one_host() {
    let slot = slot();
    slot.registered_from(at(0), ip(1), Some("web-1"));
    slot.touch_from(at(30), ip(2));
    slot.touch_from(at(60), ip(2));
    assert_eq!(slot.two_hosts(), None);
    assert_eq!(slot.source().unwrap().peer, ip(2));
}

#[test]
fn turns_that_are_long_over_are_forgotten_and_new_ones_noticed_again() {
    let slot = slot();
    let turn = |turn: i64| slot.touch_from(at(turn * 15), ip(1 + (turn % 2) as u8));
    (0..6).for_each(turn);
    assert!(slot.two_hosts().is_some());
    // One of them went: its words say so after a while, and then nothing is left to say.
    for minute in 2..30 {
        slot.touch_from(at(minute * 60), ip(1));
    }
    assert_eq!(slot.two_hosts(), None);
    (200..206).for_each(turn);
    assert!(slot.two_hosts().is_some());
}

#[test]
fn a_native_agent_that_moves_is_one_host_wherever_it_speaks_from() {
    let slot = slot();
    slot.registered_from(at(0), ip(1), Some("web-1"));
    slot.open_session("s1".into());
    let far = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    for turn in 0..10 {
        let peer = if turn % 2 == 0 { ip(2) } else { far };
        slot.touch_from(at(turn), peer);
        assert_eq!(slot.source().map(|source| source.peer), Some(peer));
    }
    assert_eq!(slot.two_hosts(), None);
    assert_eq!(slot.last_seen(), Some(at(9)));
}
