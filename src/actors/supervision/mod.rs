//! Supervised actors on actix; knows nothing of the product.
//!
//! An actor here is an ordinary actix actor with another context, [`Ctx`]. What that buys: a panic, an
//! error or a hang anywhere in it ends one *run*, and its supervisor starts the next with a fresh value from
//! the factory. Its address and what waits in its mailbox stay. Others reach it through a [`Port`] only.
//!
//! # An actor in ten lines
//!
//! ```
//! use actix::prelude::*;
//! use lightship::actors::supervision::{supervised, Ctx};
//!
//! struct Greeter { greeted: u32 }
//! impl Actor for Greeter { type Context = Ctx<Self>; }
//! supervised!(Greeter);
//!
//! #[derive(Message)]
//! #[rtype(result = "u32")]
//! struct Greet(String);
//! impl Handler<Greet> for Greeter {
//!     type Result = MessageResult<Greet>;
//!     fn handle(&mut self, Greet(name): Greet, ctx: &mut Ctx<Self>) -> Self::Result {
//!         if name.is_empty() { ctx.fail("nobody to greet") }    // ends this run; the next starts at 0
//!         self.greeted += 1;
//!         MessageResult(self.greeted)
//!     }
//! }
//!
//! # use lightship::actors::supervision::{ChildSpec, Overflow, Root, SupSpec, Tree};
//! # use lightship::{chance::Chance, clock::Clock};
//! # use std::time::Duration;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # tokio::task::LocalSet::new().block_on(&runtime, async {
//! // Its place in a tree: a mailbox of 64 messages, and what happens to the 65th.
//! let (greeter, port) = ChildSpec::actor("greeter", 64, Overflow::Reject, || Greeter { greeted: 0 });
//! let tree = Tree::new(Clock::system(), Chance::system(), |event| println!("{event:?}"));
//! let root = Root::start(tree, "demo", SupSpec::one_for_one().child(greeter)).await;
//!
//! assert_eq!(port.ask(Greet("Ada".into()), Duration::from_secs(5)).await, Ok(1));
//! assert_eq!(root.tree().snapshot()[1].path, "demo/greeter");
//! root.shutdown(Duration::from_secs(20)).await;
//! # });
//! ```
//!
//! In a program, `select!` over [`Root::gave_up`] (exit with a non-zero code) and the stop signal
//! ([`Root::shutdown`]).
//!
//! # What a handler returns
//!
//! | it | returns |
//! | --- | --- |
//! | awaits nothing | the value, or `MessageResult` |
//! | awaits, and nothing else may happen to the actor meanwhile | `AtomicResponse` |
//! | awaits while other messages are handled | `ResponseActFuture`, or `ctx.spawn` and a message to itself |
//!
//! Never `ResponseFuture` and never `tokio::spawn`: they run outside of the actor, where a panic is silent.
//! A handler's future that passes its deadline ([`ChildSpec::deadline`]) is dropped and the run ends with
//! [`Exit::Stuck`]. A handler that blocks its thread stops every actor of the arbiter; nothing but the
//! [`Watchdog`] can do something about that. An actor that awaits an answer from another one that awaits
//! one from it gets nowhere: `tell` forward, `ask` from outside.
//!
//! # What becomes of messages
//!
//! | message | fate |
//! | --- | --- |
//! | the one being handled when the run ends | lost, the asker hears [`AskError::Lost`] at once; never retried, it may be the reason |
//! | queued, or sent while the actor is down | kept for the next run, in order |
//! | over the bound | as the [`Overflow`] policy says: returned, or dropped and counted |
//! | timers and futures of the run | dropped with it |
//! | queued when the actor ends for good | handled within the grace, or dropped and counted; later ones are `Closed` |
//!
//! Deadlines of asks include the time in the mailbox, and an ask whose asker has left is skipped.
//!
//! **Epochs.** What the last run asked for may be answered to the next one. Messages that can be stale carry
//! a number that the run picked (a session, a counter kept in the database), and the handler ignores others:
//! `if answer.epoch != self.epoch { return }`.
//!
//! # Supervisors
//!
//! Children start in order, each after the one before is up, and stop in reverse order. After a failure:
//! [`SupSpec::one_for_one`] restarts the child, [`SupSpec::one_for_all`] all of them,
//! [`SupSpec::rest_for_one`] it and those after it. Delays double from [`Backoff::min`] and start over after
//! [`Backoff::reset_after`] up. More failures than [`SupSpec::intensity`] allows: the supervisor stops its
//! children and fails itself, with the reasons, up to the root, which gives up.
//!
//! For many children that come and go use [`SupSpec::per_child`] and a [`SupervisorHandle`]: failures count
//! per child, a child over the limit is removed ([`SupSpec::when_given_up`]), and a slow stop delays nobody.
//!
//! # Stopping
//!
//! Told to end for good, an actor handles what is queued, then `stopping` is called. To flush something
//! asynchronously, return `Running::Continue` once while [`Ctx::is_stopping`], spawn the flush and call
//! `ctx.stop()` at its end. What takes longer than its [`ChildSpec::grace`] is killed. After a failure no hook
//! is given time, and `Drop` must not rely on one.
//!
//! # Rules
//!
//! 1. The factory is quick and pure; open things in `started` and `ctx.spawn`, and `ctx.fail` if they fail.
//! 2. What must survive a restart lies in the configuration, the database, or a message that is sent again.
//! 3. A service that is away is a state with its own retry, not a failure: else every outage escalates.
//! 4. `tokio::time::Instant` for time spans, [`Ctx::clock`] for the time of day, [`Ctx::chance`] for chance.
//! 5. Who tells an actor one kind of message holds an [`Inlet`] of it ([`Port::inlet`]), not its port: then neither
//!    file need know the other, and actors that tell one another form no circle.
//! 6. Keep a subtree on one arbiter ([`ChildSpec::on`] on its supervisor): a message across costs eight times as much.

mod ctx;
mod envelope;
mod exit;
mod futures;
mod handle;
mod here;
mod inlet;
mod metrics;
mod node;
mod order;
mod panics;
mod policy;
mod port;
mod root;
mod runner;
mod snapshot;
mod spec;
mod supervisor;
mod tree;
mod watchdog;

pub use self::ctx::Ctx;
pub use self::envelope::Parcel;
pub use self::exit::Exit;
pub use self::handle::{AddError, RemoveError, SupervisorHandle};
pub use self::inlet::Inlet;
pub use self::panics::install_panic_hook;
pub use self::policy::{Backoff, Overflow, Restart, Strategy};
pub use self::port::{AskError, Port, Refused, Sent, Supervise};
pub use self::root::Root;
pub use self::snapshot::{Info, Kind, State};
pub use self::spec::{ChildSpec, SupSpec};
pub use self::tree::{Change, Tree, TreeEvent};
pub use self::watchdog::{BLOCKED_EXIT_CODE, Blocked, WatchLimits, Watchdog};
pub use crate::supervised;

/// Makes an actor fit for supervision: after a failure it is rebuilt by its factory, and it takes its
/// messages through its [`Port`] only.
///
/// `supervised!(Reporter)`, or with parameters `supervised!(<T: Docker> Watcher<T>)`.
#[macro_export]
macro_rules! supervised {
    (<$($param:ident : $bound:path),+ $(,)?> $actor:ty) => {
        $crate::supervised!(@impl [$($param: $bound),+] $actor);
    };
    ($actor:ty) => {
        $crate::supervised!(@impl [] $actor);
    };
    (@impl [$($params:tt)*] $actor:ty) => {
        impl<$($params)*> ::actix::Supervised for $actor {
            fn restarting(&mut self, ctx: &mut $crate::actors::supervision::Ctx<Self>) {
                *self = ctx.rebuild();
            }
        }

        impl<$($params)*> ::actix::Handler<$crate::actors::supervision::Parcel<$actor>> for $actor {
            type Result = ();

            fn handle(
                &mut self,
                parcel: $crate::actors::supervision::Parcel<$actor>,
                ctx: &mut $crate::actors::supervision::Ctx<Self>,
            ) {
                parcel.run(self, ctx);
            }
        }
    };
}

#[cfg(test)]
pub mod fail;
#[cfg(test)]
pub mod logged;
#[cfg(test)]
mod tests;
