//! Supervised actors on actix; knows nothing of the product.

mod ctx;
mod envelope;
mod exit;
mod futures;
mod handle;
mod here;
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

pub use self::ctx::Ctx;
pub use self::envelope::Work;
pub use self::exit::Exit;
pub use self::handle::{AddError, RemoveError, SupervisorHandle};
pub use self::panics::install_panic_hook;
pub use self::policy::{Backoff, Overflow, Restart, Strategy};
pub use self::port::{AskError, Port, Refused, Sent, Supervise};
pub use self::root::Root;
pub use self::snapshot::{Info, Kind, State};
pub use self::spec::{ChildSpec, SupSpec};
pub use self::tree::{Change, Tree, TreeEvent};
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

        impl<$($params)*> ::actix::Handler<$crate::actors::supervision::Work<$actor>> for $actor {
            type Result = ();

            fn handle(
                &mut self,
                work: $crate::actors::supervision::Work<$actor>,
                ctx: &mut $crate::actors::supervision::Ctx<Self>,
            ) {
                work.run(self, ctx);
            }
        }
    };
}

#[cfg(test)]
mod tests;
