//! Moves the names of an agent to the tunnel that it was given, once the connector of that one is seen.

use actix::prelude::*;

use super::agents::listed;
use super::enrolment::nothing_said;
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::FinishMove;
use crate::actors::supervision::Ctx;
use crate::domain::event::{AgentEvent, Stream};

impl Handler<FinishMove> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: FinishMove, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { finish(&env, &ask).await })
    }
}

async fn finish(env: &Env, ask: &FinishMove) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::agent(&ask.agent)).await?;
        let row = listed(env, &ask.agent).await?;
        let mut batch = env.batch(&ask.by);
        let (Some(from), Some(to)) = (row.moving_from, row.tunnel_id) else {
            return Ok(Decision { batch, answer: () });
        };
        // Meanwhile it may have been given yet another one.
        if ask.seen.as_ref().is_some_and(|seen| *seen != to) {
            return Ok(Decision { batch, answer: () });
        }
        let event = AgentEvent::Moved { agent_id: row.id, from, to };
        batch = batch.append(Stream::agent(&ask.agent), end, vec![event]);
        batch.rows.extend(nothing_said(env, &ask.agent).await?);
        Ok(Decision { batch, answer: () })
    })
    .await
}
