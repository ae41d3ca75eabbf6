//! Makes an actor panic, for tests of what its failure costs.

use actix::Message;

/// Makes the actor panic; see [`fails!`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fail;

/// Has supervised actors take [`Fail`].
macro_rules! fails {
    ($($actor:ty),+) => {
        $(impl ::actix::Handler<$crate::actors::supervision::fail::Fail> for $actor {
            type Result = ();

            fn handle(
                &mut self,
                _: $crate::actors::supervision::fail::Fail,
                _: &mut $crate::actors::supervision::Ctx<Self>,
            ) {
                panic!("on request");
            }
        })+
    };
}

pub(crate) use fails;
