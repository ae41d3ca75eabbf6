//! Random trees under random failures: whatever happens, the rules hold.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::sleep;

use super::super::{Backoff, ChildSpec, Info, Port, Root, State, Strategy as Group, SupSpec};
use super::support::*;

#[derive(Clone, Debug)]
enum Shape {
    Leaf,
    Group(Group, usize, Vec<Shape>),
}

fn strategy() -> impl Strategy<Value = Group> {
    prop_oneof![Just(Group::OneForOne), Just(Group::OneForAll), Just(Group::RestForOne)]
}

fn shape() -> impl Strategy<Value = Shape> {
    let group = |inner| {
        (strategy(), 0_usize..6, prop::collection::vec(inner, 1..4))
            .prop_map(|(strategy, restarts, children)| Shape::Group(strategy, restarts, children))
    };
    let inner = Just(Shape::Leaf).prop_recursive(3, 16, 4, group);
    (strategy(), 2_usize..8, prop::collection::vec(inner, 1..4))
        .prop_map(|(strategy, restarts, children)| Shape::Group(strategy, restarts, children))
}

/// What is done to the tree, one after the other.
#[derive(Clone, Debug)]
struct Blow {
    leaf: prop::sample::Index,
    fail: Fail,
    pause_ms: u64,
}

fn blow() -> impl Strategy<Value = Blow> {
    let fail = prop_oneof![
        Just(Fail::Panic),
        Just(Fail::Error),
        Just(Fail::Future),
        Just(Fail::Timer),
        Just(Fail::AfterAwait),
        Just(Fail::Stop),
    ];
    (any::<prop::sample::Index>(), fail, 0_u64..400).prop_map(|(leaf, fail, pause_ms)| Blow {
        leaf,
        fail,
        pause_ms,
    })
}

fn build(shape: &Shape, log: &Log, ports: &mut Vec<Port<Puppet>>) -> SupSpec {
    let Shape::Group(strategy, restarts, children) = shape else { unreachable!("the top is a group") };
    let spec = match strategy {
        Group::OneForOne => SupSpec::one_for_one(),
        Group::OneForAll => SupSpec::one_for_all(),
        Group::RestForOne => SupSpec::rest_for_one(),
    };
    let mut spec = spec.intensity(*restarts, Duration::from_secs(5));
    for (number, child) in children.iter().enumerate() {
        let child = match child {
            Shape::Leaf => {
                let (child, port) = puppet(&format!("n{number}"), log);
                ports.push(port);
                child.backoff(Backoff { jitter: 0.3, ..steady() })
            }
            group => ChildSpec::supervisor(format!("n{number}"), build(group, log, ports)).backoff(steady()),
        };
        spec = spec.child(child);
    }
    spec
}

/// Checks what every order of events must obey: nobody starts twice, no child outlives its supervisor, and
/// at the end siblings leave in reverse.
fn check(lines: &[String]) {
    let mut running: HashMap<&str, bool> = HashMap::new();
    let mut left: HashMap<&str, &str> = HashMap::new();
    for line in lines {
        if let Some(path) = line.strip_prefix('+') {
            assert_ne!(running.insert(path, true), Some(true), "{path} started twice: {lines:#?}");
        } else if let Some((path, _)) = line.strip_prefix('-').and_then(|rest| rest.split_once(' ')) {
            running.insert(path, false);
            let is_below = |other: &str| path == "root" || other.starts_with(&format!("{path}/"));
            let orphan = running.iter().find(|(other, runs)| **runs && is_below(other));
            assert_eq!(orphan, None, "a child outlived its supervisor: {lines:#?}");
        } else if let Some(path) = line.strip_prefix('x') {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("root", path));
            let before = left.insert(parent, name);
            assert!(before.is_none_or(|before| before > name), "{before:?} left before {path}: {lines:#?}");
        }
    }
}

fn survive(shape: &Shape, blows: &[Blow], seed: u64) -> Vec<String> {
    paused(async {
        let (tree, log) = seeded_tree(seed);
        let mut ports = Vec::new();
        let root = Root::start(tree.clone(), "root", build(shape, &log, &mut ports)).await;
        for blow in blows {
            if !ports.is_empty() {
                let _ = blow.leaf.get(&ports).tell(blow.fail);
            }
            sleep(ms(blow.pause_ms)).await;
        }
        // Quiet: longer than any delay that can still be under way.
        sleep(Duration::from_secs(900)).await;
        let lines = log.take_timed();
        let gave_up = lines.iter().any(|line| line.contains(" !"));
        if gave_up {
            assert!(tree.snapshot().is_empty(), "a tree that gave up is empty: {lines:#?}");
            assert!(ports.iter().all(|port| port.tell(Nothing).is_err()));
        } else {
            let down: Vec<Info> =
                tree.snapshot().into_iter().filter(|row| row.state != State::Running).collect();
            assert!(down.is_empty(), "{down:#?}\n{lines:#?}");
            for port in &ports {
                port.ask(Number(1), LONG).await.expect("every actor answers");
            }
        }
        root.shutdown(LONG).await;
        assert!(tree.snapshot().is_empty());
        let ended = log.take_timed();
        let bare: Vec<String> =
            lines.iter().chain(&ended).map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        check(&bare);
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn after_quiet_all_run_or_the_root_gave_up(
        shape in shape(),
        blows in prop::collection::vec(blow(), 0..20),
        seed in any::<u64>(),
    ) {
        let first = survive(&shape, &blows, seed);
        prop_assert_eq!(first, survive(&shape, &blows, seed), "and it repeats from its seed");
    }
}
