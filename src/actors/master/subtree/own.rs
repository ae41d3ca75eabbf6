//! What every actor of one agent holds.

use std::sync::Arc;

use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::slot::Slot;
use crate::db::Assumption;
use crate::domain::agent::AgentStatus;
use crate::domain::id::AgentId;

/// What every actor of one agent holds.
#[derive(Clone)]
pub struct Own {
    /// Services and ports.
    pub env: Env,
    /// Whose actors these are.
    pub agent: AgentId,
}

impl Own {
    /// Returns the agent's slot; a removed agent's may be gone, and one that is back has another.
    pub fn slot(&self) -> Option<Arc<Slot>> {
        self.env.directory.slot(&self.agent)
    }

    /// The same, and fails if there is none.
    pub fn known_slot(&self) -> Result<Arc<Slot>, MasterError> {
        self.slot().ok_or_else(|| MasterError::AgentNotFound(self.agent.clone()))
    }

    /// Has a batch refused if anybody decided about the agent since its stream ended at `version`.
    pub fn stands_at(&self, version: u64) -> Assumption {
        Assumption::StandsAt { agent_id: self.agent.clone(), version }
    }

    /// True if the agent was taken off the list.
    pub fn is_removed(&self) -> bool {
        self.slot().is_none_or(|slot| slot.status() == AgentStatus::Removed)
    }
}
