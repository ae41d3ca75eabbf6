//! Thousands of children.

use std::time::Duration;

use tokio::time::Instant;

use super::super::*;
use super::support::*;

/// A wide supervisor with `count` puppets.
async fn crowd(count: u32) -> (Root, Log, SupervisorHandle, Vec<Port<Puppet>>) {
    let (tree, log) = tree();
    let (spec, handle) = ChildSpec::supervisor_with_handle("wide", SupSpec::one_for_one().per_child());
    let root = Root::start(tree, "root", SupSpec::one_for_one().child(spec)).await;
    let mut ports = Vec::new();
    for number in 0..count {
        let (spec, port) = puppet(&format!("c{number}"), &log);
        handle.add(spec).await.unwrap();
        ports.push(port);
    }
    (root, log, handle, ports)
}

#[test]
fn thousands_of_children_fail_at_once_and_all_come_back() {
    paused(async {
        let (root, log, _handle, ports) = crowd(5000).await;
        log.take();
        let start = Instant::now();
        for port in &ports {
            port.tell(Fail::Panic).unwrap();
        }
        for (number, port) in (0..).zip(&ports) {
            assert_eq!(port.ask(Number(number), LONG).await, Ok(vec![number]));
        }
        assert_eq!(start.elapsed(), ms(100), "side by side, after one delay");
        let restarts = log.take().iter().filter(|line| line.starts_with('+')).count();
        assert_eq!(restarts, 5000);
        root.shutdown(LONG).await;
        assert!(root.tree().snapshot().is_empty());
    });
}

#[test]
fn half_of_a_crowd_is_removed_while_the_other_half_works() {
    paused(async {
        let (root, _log, handle, ports) = crowd(2000).await;
        let names: Vec<String> = (0..2000).step_by(2).map(|number| format!("c{number}")).collect();
        let removals = names.iter().map(|name| handle.remove(name));
        assert!(futures_util::future::join_all(removals).await.iter().all(Result::is_ok));
        for (number, port) in ports.iter().enumerate() {
            let answer = port.ask(Number(1), LONG).await;
            assert_eq!(answer.is_ok(), number % 2 == 1, "{number}");
        }
        assert_eq!(root.tree().snapshot().len(), 1002);
        root.shutdown(LONG).await;
    });
}

/// Bytes this process has in memory that are its own.
fn private_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).expect("a figure").parse::<u64>().expect("a number") * 1024
}

#[test]
fn an_idle_subtree_of_five_actors_costs_at_most_25_kib() {
    const SUBTREES: u64 = 2000;
    paused(async {
        let (tree, log) = tree();
        let (spec, handle) = ChildSpec::supervisor_with_handle("wide", SupSpec::one_for_one().per_child());
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(spec)).await;
        let mut ports = Vec::new();
        // Other tests of the process allocate too: the smallest growth of three rounds is this one's.
        let mut least = u64::MAX;
        for round in 0..3 {
            let before = private_bytes();
            for number in 0..SUBTREES {
                let mut sub = SupSpec::one_for_all();
                for name in ["ingester", "containers", "tunnel", "commands", "updates"] {
                    let (spec, port) = puppet(name, &log);
                    sub = sub.child(spec);
                    ports.push(port);
                }
                handle.add(ChildSpec::supervisor(format!("agent-{round}-{number}"), sub)).await.unwrap();
            }
            least = least.min(private_bytes().saturating_sub(before) / SUBTREES);
        }
        log.take();
        println!("{least} bytes per subtree");
        assert!(least <= 25 * 1024, "{least} bytes per subtree");
        let row_time = std::time::Instant::now();
        assert_eq!(root.tree().snapshot().len(), 2 + 3 * 2000 * 6);
        assert!(row_time.elapsed() < Duration::from_secs(2), "{:?} for a snapshot", row_time.elapsed());
        root.shutdown(LONG).await;
    });
}
