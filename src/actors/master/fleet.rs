//! The way to an agent's actors: which shard, and what happens when it is full.

use std::sync::{Arc, OnceLock};

use super::error::MasterError;
use super::work::{ToAgent, Work};
use crate::actors::supervision::Inlet;
use crate::domain::id::AgentId;
use crate::domain::shard::shard_of;

/// The shards' routers. Filled once all ports are made: actors of the fleet hold it before it is complete.
#[derive(Clone, Default)]
pub struct Fleet(Arc<OnceLock<Vec<Inlet<ToAgent>>>>);

impl Fleet {
    /// Completes the fleet; only the first time counts.
    pub fn complete(&self, routers: Vec<Inlet<ToAgent>>) {
        if self.0.set(routers).is_err() {
            tracing::warn!("the fleet was completed twice");
        }
    }

    /// Sends work to an agent's actors; refused if the shard has no room.
    pub fn send(&self, agent: &AgentId, work: Work) -> Result<(), MasterError> {
        let routers = self.0.get().filter(|routers| !routers.is_empty()).ok_or(MasterError::Busy)?;
        let router = &routers[shard_of(agent, routers.len())];
        router.tell(ToAgent { agent: agent.clone(), work }).map(drop).map_err(|_| MasterError::Busy)
    }

    /// Sends work that nobody waits for: a timer or the next report repeats it if it is lost.
    pub fn nudge(&self, agent: &AgentId, work: Work) {
        if self.send(agent, work).is_err() {
            tracing::debug!(%agent, "the fleet has no room for a nudge");
        }
    }
}
