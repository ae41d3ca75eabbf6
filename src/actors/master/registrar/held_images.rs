//! Letting go of an image that failed on a host.

use actix::prelude::*;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::failed_images::held_among;
use crate::domain::event::{AdminEvent, Stream};

/// Lets an image go that is held: it may be tried again.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct LetImageGo {
    /// Its digest, as plans name it.
    pub digest: String,
    /// Who asks.
    pub by: String,
}

impl Handler<LetImageGo> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, LetImageGo { digest, by }: LetImageGo, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(async move |env| {
            commit(&env, async || {
                let end = expected(&env, &Stream::admin()).await?;
                if held_among(&env.db, std::slice::from_ref(&digest)).await?.is_empty() {
                    return Err(MasterError::ImageNotHeld);
                }
                let event = AdminEvent::ImageLetGo { digest: digest.clone() };
                Ok(Decision { batch: env.batch(&by).append(Stream::admin(), end, vec![event]), answer: () })
            })
            .await
        })
    }
}
