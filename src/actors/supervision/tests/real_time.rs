//! What needs real threads: other arbiters, blocked ones, and the watchdog.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use parking_lot::Mutex;

use super::super::logged::Logged;
use super::super::*;
use super::support::*;

/// Runs a test on an actix system, in real time.
fn real<F: Future>(test: F) -> F::Output {
    quiet_panics();
    System::new().block_on(test)
}

/// Waits until `is_so`, and says what for if it does not come.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "`{what}` did not come");
        tokio::time::sleep(ms(5)).await;
    }
}

/// Blocks its thread until the other end of the channel is dropped.
struct Blocker(Arc<Mutex<mpsc::Receiver<()>>>);

impl Actor for Blocker {
    type Context = Ctx<Self>;
}

supervised!(Blocker);

#[derive(Message)]
#[rtype(result = "()")]
struct Block;

impl Handler<Block> for Blocker {
    type Result = ();

    fn handle(&mut self, _: Block, _: &mut Ctx<Self>) {
        let _ = self.0.lock().recv();
    }
}

fn blocker(name: &str) -> (ChildSpec, Port<Blocker>, mpsc::Sender<()>) {
    let (release, blocked) = mpsc::channel();
    let blocked = Arc::new(Mutex::new(blocked));
    let (spec, port) = ChildSpec::actor(name, 8, Overflow::Reject, move || Blocker(blocked.clone()));
    (spec, port, release)
}

#[test]
fn a_child_on_another_arbiter_panics_and_its_sibling_here_restarts_with_it() {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let (a, here) = puppet("a", &log);
        let (b, there) = puppet("b", &log);
        let quick = Backoff { min: ms(20), ..steady() };
        let spec = SupSpec::one_for_all().child(a).child(b.on(arbiter.handle()).backoff(quick));
        let root = Root::start(tree, "root", spec).await;
        assert_eq!(there.ask(Number(1), LONG).await, Ok(vec![1]));
        log.take();
        there.tell(Fail::Panic).unwrap();
        log.until("+b").await;
        assert_eq!(log.take(), ["-b panic: handler", "~b 20", "-a shutdown", "+a", "+b"]);
        assert_eq!(here.ask(Number(2), LONG).await, Ok(vec![2]));
        assert_eq!(there.ask(Number(3), LONG).await, Ok(vec![3]));
        root.shutdown(Duration::from_secs(10)).await;
        arbiter.stop();
    });
}

#[test]
fn a_child_whose_thread_is_blocked_is_left_behind_and_the_shutdown_goes_on() {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let (a, _) = puppet("a", &log);
        let (b, port, release) = blocker("b");
        let spec = SupSpec::one_for_one().child(a).child(b.on(arbiter.handle()).grace(ms(50)));
        let root = Root::start(tree.clone(), "root", spec).await;
        port.tell(Block).unwrap();
        until("blocked", || port.info().handled == 1).await;
        log.take();
        let start = Instant::now();
        root.shutdown(Duration::from_secs(20)).await;
        assert!((ms(1000)..Duration::from_secs(5)).contains(&start.elapsed()), "{:?}", start.elapsed());
        let lines = log.take();
        assert_eq!(lines[..2], ["-b stuck: its thread does not come back", "?b"]);
        assert_eq!(lines[2..], ["-a shutdown", "xa", "-root shutdown"]);
        let rows = tree.snapshot();
        assert_eq!((&*rows[0].path, rows[0].state), ("root/b", State::LeftBehind));
        drop(release);
        arbiter.stop();
    });
}

#[test]
fn a_child_left_behind_works_again_once_its_thread_comes_back() {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let (a, poison) = puppet("a", &log);
        let (b, port, release) = blocker("b");
        let quick = Backoff { min: ms(10), ..steady() };
        let spec = SupSpec::one_for_all().child(a.backoff(quick)).child(b.on(arbiter.handle()).grace(ms(20)));
        let root = Root::start(tree, "root", spec).await;
        port.tell(Block).unwrap();
        until("blocked", || port.info().handled == 1).await;
        poison.tell(Fail::Panic).unwrap();
        log.until("?b").await;
        assert_eq!(poison.ask(Number(1), LONG).await, Ok(vec![1]), "the sibling does not wait for it");
        drop(release);
        until("running", || port.info().state == State::Running).await;
        assert_eq!(port.ask(Block, Duration::from_secs(10)).await, Ok(()));
        root.shutdown(Duration::from_secs(10)).await;
        arbiter.stop();
    });
}

#[test]
fn a_child_whose_arbiter_ends_is_noticed_and_escalates() {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let (a, _) = puppet("a", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.on(arbiter.handle()))).await;
        arbiter.stop();
        let reason = root.gave_up().await;
        assert!(reason.contains("`root/a` cannot be restarted: error: its thread has ended"), "{reason}");
        root.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_wide_supervisor_on_another_arbiter_takes_children_from_here() {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let wide = SupSpec::one_for_one().per_child();
        let (wide, handle) = ChildSpec::supervisor_with_handle("wide", wide);
        let spec = SupSpec::one_for_one().child(wide.on(arbiter.handle()));
        let root = Root::start(tree, "root", spec).await;
        for number in 0..50 {
            let (child, port) = puppet(&format!("c{number}"), &log);
            handle.add(child).await.unwrap();
            assert_eq!(port.ask(Number(number), Duration::from_secs(10)).await, Ok(vec![number]));
        }
        let names: Vec<String> = (0..25).map(|number| format!("c{number}")).collect();
        let removals = names.iter().map(|name| handle.remove(name));
        assert!(futures_util::future::join_all(removals).await.iter().all(Result::is_ok));
        assert_eq!(root.tree().snapshot().len(), 27);
        root.shutdown(Duration::from_secs(20)).await;
        assert!(root.tree().snapshot().is_empty());
        arbiter.stop();
    });
}

/// Sends from four threads to an actor that keeps failing, and counts what becomes of the messages.
fn account_for(overflow: Overflow) {
    real(async {
        let (tree, log) = tree();
        let arbiter = Arbiter::new();
        let (a, port) = puppet_of("a", &log, Habit::default(), 64, overflow);
        let quick = Backoff { min: Duration::ZERO, ..steady() };
        let spec = SupSpec::one_for_one().intensity(usize::MAX - 1, LONG);
        let spec = spec.child(a.on(arbiter.handle()).backoff(quick));
        let root = Root::start(tree, "root", spec).await;
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let port = port.clone();
                std::thread::spawn(move || {
                    let tell = |n| {
                        if n % 500 == 0 { port.tell(Fail::Panic).is_ok() } else { port.tell(Nothing).is_ok() }
                    };
                    (0..5000).filter(|n| tell(*n)).count() as u64
                })
            })
            .collect();
        until("sent", || senders.iter().all(std::thread::JoinHandle::is_finished)).await;
        let taken: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        root.shutdown(Duration::from_secs(20)).await;
        let info = port.info();
        assert_eq!(info.handled + info.dropped, taken, "{info:?}");
        assert_eq!(info.depth, 0);
        arbiter.stop();
    });
}

#[test]
fn every_message_taken_is_handled_or_counted_as_dropped() {
    for overflow in [Overflow::Reject, Overflow::DropNewest, Overflow::DropOldest] {
        account_for(overflow);
    }
}

#[test]
fn the_watchdog_names_a_blocked_arbiter_and_its_actor_and_acts_once() {
    let (acted, actions) = mpsc::channel();
    real(async move {
        let limits = WatchLimits { check_every: ms(20), name_after: ms(200), act_after: ms(600) };
        let watchdog = Watchdog::start(limits, move |blocked| {
            let _ = acted.send(blocked.clone());
        })
        .unwrap();
        let (tree, _log) = tree();
        let (bad, good) = (Arbiter::new(), Arbiter::new());
        watchdog.watch("bad", &bad.handle());
        watchdog.watch("good", &good.handle());
        watchdog.watch_here("main");
        let (a, port, release) = blocker("a");
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(a.on(bad.handle()))).await;
        tokio::time::sleep(ms(400)).await;
        assert!(watchdog.blocked().is_empty(), "nobody is blocked yet");

        port.tell(Block).unwrap();
        until("named", || !watchdog.blocked().is_empty()).await;
        let named = watchdog.blocked().remove(0);
        assert_eq!((&*named.arbiter, named.actor.as_deref()), ("bad", Some("root/a")));
        assert_eq!(watchdog.blocked().len(), 1, "the other arbiters are fine");

        let action = Mutex::new(None);
        until("acted", || {
            if let Ok(blocked) = actions.try_recv() {
                *action.lock() = Some(blocked);
            }
            action.lock().is_some()
        })
        .await;
        assert!(action.lock().take().unwrap().silent >= limits.act_after);
        drop(release);
        until("free", || watchdog.blocked().is_empty()).await;
        assert!(actions.try_recv().is_err(), "once per blockage");
        root.shutdown(Duration::from_secs(10)).await;
        bad.stop();
        good.stop();
    });
}

#[test]
fn a_panic_is_logged_with_the_path_of_its_actor() {
    let logger = |writer| {
        let wanted = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        wanted.with_writer(writer).finish()
    };
    let text = Logged::during(logger, || {
        paused(async {
            let (tree, log) = tree();
            let (a, port) = puppet("a", &log);
            let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
            port.tell(Fail::Panic).unwrap();
            port.ask(Number(1), LONG).await.unwrap();
            root.shutdown(LONG).await;
        });
    });
    let panic = text.lines().find(|line| line.contains("actor panicked: handler")).expect("the hook's line");
    assert!(panic.contains(r#"message{actor="root/a" kind="Fail"}"#), "in the span of the message: {panic}");
    assert!(panic.contains(r#"actor="root/a""#) && panic.contains("support.rs:"), "{panic}");
    assert!(text.contains("actor failed: panic: handler"), "{text}");
}
