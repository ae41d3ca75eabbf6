//! What an agent says of itself and of its commands beside its reports.

use actix::prelude::*;

use super::agents::{listed, may_change, version_of_text};
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::update_logs::{UpdateLogRow, next_place};
use crate::db::{Assumption, RowChange};
use crate::domain::event::{AgentEvent, Stream};
use crate::domain::id::AgentId;

/// Notes the version that an agent says when it checks in.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct NoteVersion {
    /// Which agent.
    pub agent: AgentId,
    /// What it says.
    pub version: String,
}

/// Keeps what an agent says of a command; its place is filled in here.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct KeepLog(pub Box<UpdateLogRow>);

impl Handler<NoteVersion> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: NoteVersion, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { note_version(&env, &ask).await })
    }
}

impl Handler<KeepLog> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, KeepLog(log): KeepLog, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { keep_log(&env, *log).await })
    }
}

async fn note_version(env: &Env, ask: &NoteVersion) -> Result<(), MasterError> {
    commit(env, async || {
        let stream = Stream::agent(&ask.agent);
        let end = expected(env, &stream).await?;
        let row = listed(env, &ask.agent).await?;
        let version = version_of_text(Some(&ask.version));
        let mut batch = env.batch(format!("agent:{}", ask.agent));
        if version.is_some() && version != row.version && may_change(env, &stream).await? {
            let event = AgentEvent::Updated { agent_id: row.id, display_name: row.display_name, version };
            batch = batch.append(stream, end, vec![event]);
        }
        Ok(Decision { batch, answer: () })
    })
    .await
}

async fn keep_log(env: &Env, log: UpdateLogRow) -> Result<(), MasterError> {
    commit(env, async || {
        let place = next_place(&env.db, &log.agent_id).await?;
        let batch = env
            .batch(format!("agent:{}", log.agent_id))
            .assume(Assumption::IsListed { agent_id: log.agent_id.clone() })
            .row(RowChange::PutUpdateLog(UpdateLogRow { place, ..log.clone() }));
        Ok(Decision { batch, answer: () })
    })
    .await
}
