//! When the host is looked at, under moved time.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::*;
use crate::actors::agent::testing::*;
use crate::actors::supervision::{ChildSpec, Overflow, Port, Root, SupSpec, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::domain::update::{Finding, Findings, Kind, Standing};

type End = oneshot::Sender<Result<Seen, String>>;

/// A host whose looks end when the test says so.
#[derive(Clone, Default)]
struct Looks {
    begun: Arc<Mutex<Vec<(tokio::time::Duration, bool)>>>,
    ends: Arc<Mutex<Vec<End>>>,
    told: Arc<AtomicUsize>,
}

fn seen(pending: usize) -> Seen {
    let items = (0..pending).map(|n| Finding::new(format!("p{n}"), Standing::Newer)).collect();
    let findings = vec![Findings::new(Kind::Apt, items)];
    let scan = HostScan::new(at("2026-01-31T12:00:00Z"), findings);
    Seen { scan: Arc::new(scan), host: Box::default() }
}

impl Looks {
    async fn start(&self) -> (Root, Port<UpdateScanner>) {
        let begin = tokio::time::Instant::now();
        let (looks, told) = (self.clone(), Arc::clone(&self.told));
        let parts = ScannerParts {
            look: Arc::new(move |by_person| {
                let (end, ended) = oneshot::channel();
                looks.begun.lock().push((begin.elapsed(), by_person));
                looks.ends.lock().push(end);
                Box::pin(async move { ended.await.unwrap_or_else(|_| Err("left".into())) })
            }),
            interval: secs(300),
            tell_reporter: Arc::new(move |_| {
                told.fetch_add(1, Ordering::Relaxed);
                true
            }),
        };
        let make = move || UpdateScanner::new(parts.clone());
        let (spec, port) = ChildSpec::actor("updates", 16, Overflow::Reject, make);
        let tree = Tree::new(Clock::moved(at("2026-01-31T12:00:00Z")), Chance::seeded(7), |_| {});
        (Root::start(tree, "agent", SupSpec::one_for_one().child(spec)).await, port)
    }

    /// Lets time pass until `count` looks were begun.
    async fn until(&self, count: usize) {
        for _ in 0..2_000 {
            if self.begun.lock().len() >= count {
                return;
            }
            tokio::time::sleep(secs(1)).await;
        }
        panic!("{:?}", self.begun.lock());
    }

    fn end(&self, outcome: Result<Seen, String>) {
        self.ends.lock().remove(0).send(outcome).expect("somebody waits for it");
    }

    fn begun(&self) -> Vec<bool> {
        self.begun.lock().iter().map(|(_, by_person)| *by_person).collect()
    }
}

fn asked(port: &Port<UpdateScanner>) -> oneshot::Receiver<Result<String, String>> {
    let (sender, answer) = oneshot::channel();
    let done: Looked = Box::new(move |words| drop(sender.send(words)));
    assert!(port.tell(ScanNow { done }).is_ok());
    answer
}

#[test]
fn the_host_is_looked_at_soon_and_then_every_few_minutes() {
    paused(async {
        let looks = Looks::default();
        let (_root, _port) = looks.start().await;
        for count in 1..=4 {
            looks.until(count).await;
            looks.end(Ok(seen(count)));
        }
        let times: Vec<u64> = looks.begun.lock().iter().map(|(at, _)| at.as_secs()).collect();
        assert!(times[0] <= 5, "{times:?}");
        for pair in times.windows(2) {
            assert!((265..=335).contains(&(pair[1] - pair[0])), "{times:?}");
        }
        assert_eq!(looks.told.load(Ordering::Relaxed), 3, "the fourth is not looked at yet");
    });
}

#[test]
fn who_asks_while_a_look_is_under_way_gets_the_next_one() {
    paused(async {
        let looks = Looks::default();
        let (_root, port) = looks.start().await;
        looks.until(1).await;
        // given: a look that may have passed what is asked about
        let (mut first, mut second) = (asked(&port), asked(&port));
        tokio::time::sleep(secs(5)).await;
        // when it ends
        looks.end(Ok(seen(1)));
        looks.until(2).await;
        // then: one more is made for both, and they hear of that one
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        looks.end(Ok(seen(2)));
        assert_eq!(first.await.unwrap().unwrap(), "apt: 2 pending");
        assert_eq!(second.await.unwrap().unwrap(), "apt: 2 pending");
        assert_eq!(looks.begun(), [false, true]);
    });
}

#[test]
fn a_look_that_fails_or_never_ends_is_told_and_the_next_one_comes() {
    paused(async {
        let looks = Looks::default();
        let (_root, port) = looks.start().await;
        looks.until(1).await;
        looks.end(Err("the disk is gone".into()));
        let answer = asked(&port);
        looks.until(2).await;
        // when nobody ever ends it
        let words = answer.await.unwrap().unwrap_err();
        assert!(words.contains("20 min"), "{words}");
        let status = port.ask(GetStatus, secs(1)).await.unwrap();
        assert!(status.problem.unwrap().contains("20 min"));
        looks.until(3).await;
    });
}

#[test]
fn a_container_that_starts_brings_the_next_look_near_and_a_hundred_bring_one() {
    paused(async {
        let looks = Looks::default();
        let (_root, port) = looks.start().await;
        looks.until(1).await;
        looks.end(Ok(seen(0)));
        tokio::time::sleep(secs(10)).await;
        for _ in 0..100 {
            // A full mailbox holds one already.
            let _ = port.tell(ImagesChanged);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = tokio::time::Instant::now();
        looks.until(2).await;
        assert!(before.elapsed() < secs(30));
        looks.end(Ok(seen(0)));
        tokio::time::sleep(secs(60)).await;
        assert_eq!(looks.begun().len(), 2);
    });
}
