//! Which hostnames agents and keys are limited to.

use actix::prelude::*;

use super::agents::listed;
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::domain::event::{AgentEvent, Stream};
use crate::domain::id::AgentId;
use crate::domain::limits::parse_patterns;

/// Limits an agent to hostnames, beside what its key permits.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct LimitAgent {
    /// Which agent.
    pub agent: AgentId,
    /// Hostnames that it may claim, as they were written; none: any.
    pub hostname_patterns: Vec<String>,
    /// Who asks.
    pub by: String,
}

impl Handler<LimitAgent> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: LimitAgent, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { limit(&env, &ask).await })
    }
}

/// Reads patterns that a person wrote.
pub(super) fn patterns(texts: &[String]) -> Result<Vec<String>, MasterError> {
    parse_patterns(texts).map_err(|error| MasterError::Invalid(error.to_string()))
}

async fn limit(env: &Env, ask: &LimitAgent) -> Result<(), MasterError> {
    let hostname_patterns = patterns(&ask.hostname_patterns)?;
    commit(env, async || {
        let stream = Stream::agent(&ask.agent);
        let end = expected(env, &stream).await?;
        let row = listed(env, &ask.agent).await?;
        let mut batch = env.batch(&ask.by);
        if row.hostname_patterns != hostname_patterns {
            let hostname_patterns = hostname_patterns.clone();
            batch =
                batch.append(stream, end, vec![AgentEvent::Limited { agent_id: row.id, hostname_patterns }]);
        }
        Ok(Decision { batch, answer: () })
    })
    .await
}
