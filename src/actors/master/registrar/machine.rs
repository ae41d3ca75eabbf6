//! An agent speaks from another machine: one that a person said yes to waits for a person again. Nothing that it published
//! is touched, whichever of the two machines is the right one.

use actix::prelude::*;

use super::agents::listed;
use super::{Decision, Registrar, commit};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::TakeOtherMachine;
use crate::actors::supervision::Ctx;
use crate::db::{self, Assumption, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::delivery::Dialect;
use crate::domain::event::{AgentEvent, Stream};
use crate::domain::host::Host;
use crate::domain::id::AgentId;
use crate::domain::machine::{OtherMachine, with_known_id};

impl Handler<TakeOtherMachine> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: TakeOtherMachine, _: &mut Ctx<Self>) -> Self::Result {
        let TakeOtherMachine { agent, host, part } = ask;
        self.decide(move |env| async move {
            part.finish(take(&env, &agent, &host).await);
            Ok(())
        })
    }
}

async fn take(env: &Env, agent: &AgentId, host: &Host) -> Result<(), MasterError> {
    commit(env, async || {
        let stream = Stream::agent(agent);
        let version = db::events::stream_version(&env.db, &stream).await?;
        let row = listed(env, agent).await?;
        let known = db::updates::find_host(&env.db, agent).await?.map(|row| row.host);
        let dialect = env.directory.slot(agent).map_or(Dialect::V2, |slot| slot.dialect());
        let other = known.as_ref().and_then(|known| OtherMachine::between(known, host, dialect));
        let mut batch = env.batch(format!("agent:{agent}"));
        if let Some(seen) = other.filter(|_| row.status == AgentStatus::Enrolled) {
            tracing::warn!(agent.id = %agent, "the agent {}", seen.words());
            let changed = AgentEvent::MachineChanged { agent_id: agent.clone(), seen };
            batch = batch.append(stream, Expected::Version(version), vec![changed]);
        } else {
            // A person who says yes meanwhile says it to the machine that was known.
            batch = batch.assume(Assumption::StandsAt { agent_id: agent.clone(), version });
        }
        let host = Box::new(with_known_id(host.clone(), known.as_ref()));
        Ok(Decision { batch: batch.row(RowChange::PutHost { agent_id: agent.clone(), host }), answer: () })
    })
    .await
}
