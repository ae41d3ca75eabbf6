//! Children added and removed at run time.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::{Instant, sleep};

use super::super::*;
use super::support::*;

/// A wide supervisor `root/wide` and the handle to it.
async fn wide() -> (Root, Log, SupervisorHandle) {
    let (tree, log) = tree();
    let (spec, handle) = ChildSpec::supervisor_with_handle("wide", SupSpec::one_for_one().per_child());
    let root = Root::start(tree, "root", SupSpec::one_for_one().child(spec)).await;
    log.take();
    (root, log, handle)
}

#[test]
fn a_child_is_added_used_and_removed() {
    paused(async {
        let (root, log, handle) = wide().await;
        let (a, port) = puppet("a", &log);
        handle.add(a).await.unwrap();
        port.tell(Number(1)).unwrap();
        handle.remove("a").await.unwrap();
        assert_eq!(log.take(), ["+wide/a", "saw 1", "-wide/a shutdown", "xwide/a"]);
        assert!(matches!(port.tell(Number(2)), Err(Refused::Closed(_))));
        assert_eq!(handle.remove("a").await, Err(RemoveError::NotFound("a".into())));
        root.shutdown(LONG).await;
    });
}

#[test]
fn the_root_adds_and_removes_by_path() {
    paused(async {
        let (root, log, _handle) = wide().await;
        let (a, _) = puppet("a", &log);
        root.add("root/wide", a).await.unwrap();
        assert_eq!(root.tree().snapshot_under("root/wide").len(), 2);
        root.remove("root/wide/a").await.unwrap();
        assert_eq!(root.tree().snapshot_under("root/wide").len(), 1);

        let (b, _) = puppet("b", &log);
        let no_supervisor = AddError::NoSupervisor("root/none".into());
        assert_eq!(root.add("root/none", b).await, Err(no_supervisor));
        assert_eq!(root.remove("root").await, Err(RemoveError::NotFound("root".into())));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_name_is_taken_until_its_child_is_gone() {
    paused(async {
        let (root, log, handle) = wide().await;
        let (a, _) = puppet_with("a", &log, Habit { flush: Some(ms(100)), ..Habit::default() });
        let (same, _) = puppet("a", &log);
        let (again, _) = puppet("a", &log);
        handle.add(a).await.unwrap();
        handle.remove_later("a");
        assert_eq!(handle.add(same).await, Err(AddError::NameTaken("a".into())), "it is still stopping");
        handle.remove("a").await.unwrap();
        assert_eq!(handle.add(again).await, Ok(()));
        root.shutdown(LONG).await;
    });
}

#[test]
fn slow_removals_run_side_by_side_and_hold_up_nobody() {
    paused(async {
        let (root, log, handle) = wide().await;
        let slow = || Habit { flush: Some(ms(3000)), ..Habit::default() };
        for name in ["a", "b", "c"] {
            handle.add(puppet_with(name, &log, slow()).0).await.unwrap();
        }
        let (d, port) = puppet("d", &log);
        handle.add(d).await.unwrap();

        let start = Instant::now();
        let removals = ["a", "b", "c"].map(|name| handle.remove(name));
        let meanwhile = async {
            port.tell(Fail::Panic).unwrap();
            port.ask(Number(1), LONG).await.unwrap();
            let restarted = start.elapsed();
            handle.add(puppet("e", &log).0).await.unwrap();
            (restarted, start.elapsed())
        };
        let (removed, meanwhile) = tokio::join!(futures_util::future::join_all(removals), meanwhile);
        assert!(removed.iter().all(Result::is_ok));
        assert_eq!(start.elapsed(), ms(3000), "not nine seconds");
        assert_eq!(meanwhile, (ms(100), ms(100)));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_wide_supervisor_stops_its_children_side_by_side() {
    paused(async {
        let (root, log, handle) = wide().await;
        for number in 0..20 {
            let habit = Habit { flush: Some(ms(2000)), ..Habit::default() };
            handle.add(puppet_with(&format!("c{number}"), &log, habit).0).await.unwrap();
        }
        let start = Instant::now();
        root.shutdown(LONG).await;
        assert_eq!(start.elapsed(), ms(2000));
    });
}

#[test]
fn a_child_in_backoff_is_removed_at_once() {
    paused(async {
        let (root, log, handle) = wide().await;
        let (a, port) = puppet("a", &log);
        handle.add(a).await.unwrap();
        port.tell(Fail::Panic).unwrap();
        sleep(ms(1)).await;
        log.take();
        handle.remove("a").await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(log.take(), ["xwide/a"], "it never started again");
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_child_whose_start_fails_is_added_and_backs_off() {
    paused(async {
        let (root, log, handle) = wide().await;
        let habit = Habit::default();
        *habit.failing_starts.lock() = 1;
        let (a, port) = puppet_with("a", &log, habit);
        assert_eq!(handle.add(a).await, Ok(()));
        assert_eq!(port.info().state, State::Backoff);
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        root.shutdown(LONG).await;
    });
}

#[test]
fn children_added_at_run_time_come_back_with_their_supervisor() {
    paused(async {
        let (tree, log) = tree();
        let spec = SupSpec::one_for_one().intensity(0, LONG);
        let (spec, handle) = ChildSpec::supervisor_with_handle("sub", spec);
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(spec.backoff(steady()))).await;
        let (a, port) = puppet("a", &log);
        handle.add(a).await.unwrap();
        port.tell(Fail::Panic).unwrap();
        sleep(ms(50)).await;
        let (b, other) = puppet("b", &log);
        handle.add(b).await.unwrap();
        assert_eq!(other.info().state, State::Stopped, "taken in while the supervisor is down");
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        assert_eq!(other.ask(Number(2), LONG).await, Ok(vec![2]));
        root.shutdown(LONG).await;
    });
}

#[test]
fn a_handle_works_before_the_start_and_says_so_after_the_end() {
    paused(async {
        let (tree, log) = tree();
        let (spec, handle) = ChildSpec::supervisor_with_handle("wide", SupSpec::one_for_one().per_child());
        let (a, port) = puppet("a", &log);
        let early = handle.clone();
        let added = tokio::task::spawn_local(async move { early.add(a).await });
        tokio::task::yield_now().await;
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(spec)).await;
        assert_eq!(added.await.unwrap(), Ok(()));
        assert_eq!(port.ask(Number(1), LONG).await, Ok(vec![1]));
        root.shutdown(LONG).await;
        assert_eq!(handle.add(puppet("b", &log).0).await, Err(AddError::Closed));
        assert_eq!(handle.remove("a").await, Err(RemoveError::Closed));
    });
}

#[test]
fn a_removal_from_a_group_leaves_the_others_running() {
    paused(async {
        let (tree, log) = tree();
        let (a, _) = puppet("a", &log);
        let (b, _) = puppet("b", &log);
        let root = Root::start(tree, "root", SupSpec::one_for_all().child(a).child(b)).await;
        log.take();
        root.remove("root/a").await.unwrap();
        root.add("root", puppet("c", &log).0).await.unwrap();
        assert_eq!(log.take(), ["-a shutdown", "xa", "+c"]);
        root.shutdown(LONG).await;
    });
}

/// An actor that keeps one subtree per name: what a shard does.
struct Keeper {
    handle: SupervisorHandle,
    log: Log,
}

impl Actor for Keeper {
    type Context = Ctx<Self>;
}

supervised!(Keeper);

#[derive(Message)]
#[rtype(result = "Option<Port<Puppet>>")]
enum Keep {
    Add(&'static str),
    Remove(&'static str),
}

impl Handler<Keep> for Keeper {
    type Result = AtomicResponse<Self, Option<Port<Puppet>>>;

    fn handle(&mut self, keep: Keep, _: &mut Ctx<Self>) -> Self::Result {
        let (handle, log) = (self.handle.clone(), self.log.clone());
        let work = async move {
            match keep {
                Keep::Add(name) => {
                    let (worker, port) = puppet("worker", &log);
                    let subtree = ChildSpec::supervisor(name, SupSpec::one_for_all().child(worker));
                    handle.add(subtree).await.unwrap();
                    Some(port)
                }
                Keep::Remove(name) => {
                    handle.remove(name).await.unwrap();
                    None
                }
            }
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

#[test]
fn an_actor_adds_and_removes_subtrees_from_its_handler() {
    paused(async {
        let (tree, log) = tree();
        let (wide, handle) = ChildSpec::supervisor_with_handle("wide", SupSpec::one_for_one().per_child());
        let sink = log.clone();
        let (keeper, port) = ChildSpec::actor("keeper", 8, Overflow::Reject, move || Keeper {
            handle: handle.clone(),
            log: sink.clone(),
        });
        let root = Root::start(tree, "root", SupSpec::one_for_one().child(wide).child(keeper)).await;
        let worker = port.ask(Keep::Add("one"), LONG).await.unwrap().unwrap();
        assert_eq!(worker.ask(Number(1), LONG).await, Ok(vec![1]));
        assert_eq!(worker.info().path, "root/wide/one/worker");
        assert!(port.ask(Keep::Remove("one"), LONG).await.unwrap().is_none());
        assert!(matches!(worker.tell(Number(2)), Err(Refused::Closed(_))));
        root.shutdown(LONG).await;
    });
}
