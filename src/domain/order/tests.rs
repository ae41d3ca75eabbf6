use super::*;
use crate::domain::update::{Kind, Operation, PlannedChange, Wanted};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-01-31T12:00:00Z")
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn pinned(seed: u8) -> PinnedKeys {
    PinnedKeys::only(key(seed).public())
}

fn offer(seed: u8, endorsed: Vec<Endorsement>) -> KeyOffer {
    KeyOffer { key: key(seed).public(), endorsed }
}

fn order() -> Order {
    let change = PlannedChange {
        kind: Kind::Apt,
        name: "bash".into(),
        arch: "amd64".into(),
        operation: Operation::Upgrade,
        from: Some("1.0".into()),
        to: Some("1.1".into()),
        digest: Some("aa".into()),
    };
    Order {
        id: CommandId::new("c-1"),
        agent: AgentId::new("a1"),
        number: 5,
        changes: Changes::new(vec![change]).unwrap(),
        ask: PlanAsk::install(Wanted::Named(vec!["apt:bash".into()])),
        by: "ann".into(),
        issued_at: now(),
        expires_at: at("2026-02-01T12:00:00Z"),
    }
}

#[test]
fn a_signed_order_is_read_as_it_was_decided() {
    let opened = order().sign(&key(1)).open(&pinned(1), now()).unwrap();
    assert_eq!(opened, order());
    assert_eq!(opened.check(&AgentId::new("a1"), now(), 4), Ok(()));
}

#[test]
fn whatever_is_altered_on_the_way_is_noticed() {
    let signed = order().sign(&key(1));
    let with = |change: fn(&mut SignedOrder)| {
        let mut other = signed.clone();
        change(&mut other);
        other.open(&pinned(1), now()).unwrap_err()
    };
    assert_eq!(with(|o| o.content = o.content.replace("1.1", "1.2")), OrderFault::Altered);
    assert_eq!(with(|o| o.content = o.content.replace("a1", "a2")), OrderFault::Altered);
    assert_eq!(with(|o| o.content.push(' ')), OrderFault::Altered);
    assert_eq!(with(|o| o.signature = String::new()), OrderFault::Altered);
    assert_eq!(with(|o| o.signature = "00".repeat(64)), OrderFault::Altered);
    assert!(matches!(with(|o| o.key = key(2).public().fingerprint()), OrderFault::OtherKey { .. }));
}

#[test]
fn what_another_master_signed_is_refused_also_under_the_name_of_ours() {
    let mut signed = order().sign(&key(2));
    let fault = signed.open(&pinned(1), now()).unwrap_err();
    assert!(
        matches!(&fault, OrderFault::OtherKey { key: named, .. } if *named == key(2).public().fingerprint())
    );
    signed.key = key(1).public().fingerprint();
    assert_eq!(signed.open(&pinned(1), now()), Err(OrderFault::Altered));
    assert_eq!(signed.open(&PinnedKeys::default(), now()), Err(OrderFault::NoKey));
}

#[test]
fn an_order_is_for_one_agent_in_time_and_once_and_never_after_a_later_one() {
    let (order, a1) = (order(), AgentId::new("a1"));
    assert_eq!(order.check(&AgentId::new("a2"), now(), 0), Err(OrderFault::Foreign(a1.clone())));
    assert_eq!(order.check(&a1, order.expires_at, 0), Err(OrderFault::Expired(order.expires_at)));
    for last in [5, 6] {
        assert_eq!(order.check(&a1, now(), last), Err(OrderFault::Used { number: 5, last }));
    }
}

#[test]
fn what_is_signed_for_one_purpose_is_good_for_no_other() {
    let endorsement = key(1).endorse(&key(2).public());
    let order = SignedOrder {
        content: String::new(),
        signature: endorsement.signature,
        key: key(1).public().fingerprint(),
    };
    assert_eq!(order.open(&pinned(1), now()), Err(OrderFault::Altered));
}

#[test]
fn a_host_pins_the_first_key_and_follows_exchanges_that_the_pinned_one_signed() {
    let mut keys = PinnedKeys::default();
    assert_eq!(keys.offer(&offer(1, vec![]), now()), Offered::First);
    assert_eq!(keys.offer(&offer(1, vec![]), now()), Offered::Same);
    assert_eq!(keys.offer(&offer(2, vec![]), now()), Offered::Refused);
    let forged = Endorsement { from: key(1).public(), ..key(3).endorse(&key(2).public()) };
    assert_eq!(keys.offer(&offer(2, vec![forged]), now()), Offered::Refused);
    assert_eq!(keys, pinned(1));

    let steps = vec![key(1).endorse(&key(2).public()), key(2).endorse(&key(3).public())];
    assert_eq!(keys.offer(&offer(3, steps), now()), Offered::Exchanged);
    assert_eq!(keys.present(), Some(&key(3).public()));
    let old = order().sign(&key(1));
    assert!(old.open(&keys, now()).is_ok(), "it was signed before the exchange");
    assert!(matches!(old.open(&keys, now() + OVERLAP), Err(OrderFault::OtherKey { .. })));
    assert_eq!(serde_json::from_value::<PinnedKeys>(serde_json::to_value(&keys).unwrap()).unwrap(), keys);
}

#[test]
fn a_fingerprint_is_made_of_groups_that_people_can_compare() {
    let fingerprint = key(1).public().fingerprint();
    let text = fingerprint.to_string();
    assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [4; 8]);
    assert_eq!(Fingerprint::parse(&format!(" {} ", text.to_uppercase())), Some(fingerprint));
    assert_eq!(Fingerprint::parse(&text[1..]), None);
    assert_ne!(key(1).public().fingerprint(), key(2).public().fingerprint());
}
