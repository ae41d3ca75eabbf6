//! What every actor of one agent holds, and how it runs an operation: one at a time, on what the actor works with, answered
//! to who waits.

use std::sync::Arc;

use actix::prelude::*;

use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
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

    /// True if a person said yes to the agent.
    pub fn is_enrolled(&self) -> bool {
        self.slot().is_some_and(|slot| slot.status() == AgentStatus::Enrolled)
    }

    /// True if the agent was taken off the list.
    pub fn is_removed(&self) -> bool {
        self.slot().is_none_or(|slot| slot.status() == AgentStatus::Removed)
    }
}

/// Runs one operation on the actor's `tool`; the next message waits for its end.
///
/// The tool is away while the operation runs, and lost with it if that fails: the next run of the actor reads again
/// what it has to know.
pub fn run<A, T, R>(
    actor: &mut A,
    tool: fn(&mut A) -> &mut Option<Box<T>>,
    operation: impl AsyncFnOnce(&mut T) -> Result<R, MasterError> + 'static,
    answer: impl FnOnce(Result<R, MasterError>, &mut A) + 'static,
) -> AtomicResponse<A, ()>
where
    A: Actor,
    T: 'static,
    R: 'static,
{
    let taken = tool(actor).take();
    let running = async move {
        let mut taken = taken?;
        let result = operation(&mut taken).await;
        Some((taken, result))
    };
    AtomicResponse::new(Box::pin(running.into_actor(actor).map(move |done, actor, _| {
        // Cannot be away: operations run one at a time. If it were, the answer is dropped: try again.
        if let Some((taken, result)) = done {
            *tool(actor) = Some(taken);
            answer(result, actor);
        }
    })))
}

/// Answers whoever still waits; what was done stays done if nobody does.
pub fn to<T>(reply: Reply<T>) -> impl FnOnce(Result<T, MasterError>) {
    move |result| drop(reply.send(result))
}

/// Logs what went wrong where nobody waits.
pub fn log<T>(what: &'static str) -> impl FnOnce(Result<T, MasterError>) {
    move |result| {
        if let Err(error) = result {
            tracing::warn!(%error, what, "what is known of an agent could not be brought up to date");
        }
    }
}
