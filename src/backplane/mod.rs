//! What masters tell each other in passing: presence, wake-ups, pending ids, caches, counters, leases.
//!
//! Only what can be rebuilt is kept here. Whoever loses it asks the database or waits for the next heartbeat;
//! nothing that was answered with success depends on it. Everything is bounded in number, size and time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;

use crate::domain::id::{AgentId, CommandId};

mod expiring;
mod memory;

#[cfg(test)]
mod contract;

pub use memory::{Limits, MemoryBackplane};

/// Why the backplane did not do what was asked. The caller goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackplaneError {
    /// Something has as many entries as it may have, and none may be dropped.
    #[error("the backplane holds {limit} {what} already; try again when some have ended")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How many are kept.
        limit: usize,
    },
    /// A key or a value is too large.
    #[error("{what} has {size_bytes} bytes; at most {limit_bytes} are kept")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size_bytes: usize,
        /// The bound.
        limit_bytes: usize,
    },
    /// The server behind it does not answer.
    #[error("the backplane does not answer: {0}")]
    Unavailable(String),
}

/// What every backplane does.
#[async_trait]
pub trait Backplane: Send + Sync {
    /// Notes when agents were last heard; forgotten after `ttl` without another note. An earlier time than the
    /// noted one is ignored.
    async fn note_presence(
        &self,
        seen: &[(AgentId, DateTime<Utc>)],
        ttl: Duration,
    ) -> Result<(), BackplaneError>;

    /// Returns when an agent was last heard by any master.
    async fn presence(&self, agent: &AgentId) -> Result<Option<DateTime<Utc>>, BackplaneError>;

    /// Tells every listener that an agent has something to fetch.
    async fn wake(&self, agent: &AgentId) -> Result<(), BackplaneError>;

    /// Hears wake-ups from now on.
    async fn wakes(&self) -> Result<Wakes, BackplaneError>;

    /// Stores which commands wait for an agent; an empty list forgets it.
    async fn set_pending(&self, agent: &AgentId, commands: &[CommandId]) -> Result<(), BackplaneError>;

    /// Returns which commands wait for an agent; none means that nobody knows and the database has to be asked.
    async fn pending(&self, agent: &AgentId) -> Result<Option<Vec<CommandId>>, BackplaneError>;

    /// Keeps a value for `ttl`.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), BackplaneError>;

    /// Returns a kept value.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BackplaneError>;

    /// Forgets a kept value.
    async fn forget(&self, key: &str) -> Result<(), BackplaneError>;

    /// Adds `by` to a counter and returns it. The first addition opens a window; the counter ends with it.
    async fn count(&self, key: &str, by: u64, window: Duration) -> Result<u64, BackplaneError>;

    /// Takes a lease, or prolongs it if `holder` has it already. False if another holder has it.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, BackplaneError>;

    /// Gives a lease back. False if `holder` does not have it.
    async fn release(&self, name: &str, holder: &str) -> Result<bool, BackplaneError>;
}

/// A backplane that parts of the master share.
pub type SharedBackplane = Arc<dyn Backplane>;

/// A wake-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// This agent has something to fetch.
    Agent(AgentId),
    /// Some wake-ups were missed: look at every agent that waits.
    Resync,
}

/// A stream of wake-ups. A listener that falls behind is told so instead of holding the others up.
#[derive(Debug)]
pub struct Wakes(broadcast::Receiver<AgentId>);

impl Wakes {
    /// Wraps what a backplane sends.
    pub(crate) fn new(receiver: broadcast::Receiver<AgentId>) -> Self {
        Self(receiver)
    }

    /// Waits for the next wake-up; none once the backplane is gone. Nothing is lost if the caller stops waiting.
    pub async fn next(&mut self) -> Option<Wake> {
        match self.0.recv().await {
            Ok(agent) => Some(Wake::Agent(agent)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Wake::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
