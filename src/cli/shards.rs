//! The threads that the fleet's shards live on: one arbiter each, all known to the watchdog.

use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

use crate::actors::supervision::Watchdog;

/// With fewer, one blocked agent would hold up every other one.
const MIN: usize = 2;
/// With more, a large machine pays memory for threads that sleep: agents' actors compute little.
const MAX: usize = 8;
/// How long the threads may take to end once nothing lives on them; one that is blocked is left behind.
const END_TIME: Duration = Duration::from_secs(3);

/// Arbiters of the fleet.
pub(super) struct Shards(Vec<Arbiter>);

impl Shards {
    /// Starts as many threads as this machine runs side by side, within bounds.
    pub(super) fn start(watchdog: &Watchdog) -> Self {
        let parallel = std::thread::available_parallelism().map_or(MIN, usize::from);
        let arbiters: Vec<_> = (0..parallel.clamp(MIN, MAX)).map(|_| Arbiter::new()).collect();
        for (shard, arbiter) in arbiters.iter().enumerate() {
            // As the shard's supervisor is called in the tree.
            watchdog.watch(format!("master/fleet/{shard}"), &arbiter.handle());
        }
        Self(arbiters)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The way to each of them.
    pub(super) fn handles(&self) -> Vec<ArbiterHandle> {
        self.0.iter().map(Arbiter::handle).collect()
    }

    /// Ends the threads; called after the tree is stopped.
    pub(super) async fn end(self) {
        let (done, ended) = oneshot::channel();
        let join = move || {
            for arbiter in &self.0 {
                arbiter.stop();
            }
            for arbiter in self.0 {
                // One that panicked has ended too.
                let _ = arbiter.join();
            }
            let _ = done.send(());
        };
        // On a thread of its own: a runtime that is dropped waits for its blocking tasks, however long they take.
        let joining = std::thread::Builder::new().name("shards-end".into()).spawn(join);
        if joining.is_err() || tokio::time::timeout(END_TIME, ended).await.is_err() {
            tracing::warn!("a thread of the fleet did not end and is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;
    use crate::actors::supervision::WatchLimits;

    /// Long enough for anything that happens at all.
    const LONG: Duration = Duration::from_secs(20);

    fn thread_of(arbiter: &ArbiterHandle) -> Option<ThreadId> {
        let (tell, told) = mpsc::channel();
        arbiter.spawn_fn(move || {
            let _ = tell.send(std::thread::current().id());
        });
        told.recv_timeout(LONG).ok()
    }

    #[test]
    fn every_shard_has_a_thread_of_its_own_that_ends_with_it() {
        actix_rt::System::new().block_on(async {
            let watchdog = Watchdog::start(WatchLimits::default(), |_| {}).unwrap();
            let shards = Shards::start(&watchdog);
            let handles = shards.handles();
            assert!((MIN..=MAX).contains(&shards.count()));
            let mut threads = vec![std::thread::current().id()];
            for arbiter in &handles {
                let thread = thread_of(arbiter).expect("the shard answers");
                assert!(!threads.contains(&thread));
                threads.push(thread);
            }
            shards.end().await;
            assert!(handles.iter().all(|arbiter| thread_of(arbiter).is_none()));
        });
    }

    #[test]
    fn a_shard_that_blocks_is_named_by_the_watchdog() {
        let limits = WatchLimits {
            check_every: Duration::from_millis(20),
            name_after: Duration::from_millis(200),
            act_after: LONG,
        };
        actix_rt::System::new().block_on(async {
            let watchdog = Watchdog::start(limits, |_| {}).unwrap();
            let shards = Shards::start(&watchdog);
            let (release, released) = mpsc::channel::<()>();
            shards.handles()[1].spawn_fn(move || {
                let _ = released.recv();
            });
            let named = tokio::time::timeout(LONG, async {
                // Another one may be starved for a moment on a busy machine.
                while !watchdog.blocked().iter().any(|blocked| blocked.arbiter == "master/fleet/1") {
                    tokio::time::sleep(limits.check_every).await;
                }
            });
            assert!(named.await.is_ok());
            drop(release);
            shards.end().await;
        });
    }
}
