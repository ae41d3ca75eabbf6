//! Telling a host to look for pending updates now.

use super::env::Env;
use super::error::MasterError;
use super::fleet::Work;
use super::requests::Dialect;
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::AgentId;

/// Queues the command; an agent that was told and has not fetched it is not told twice.
pub async fn scan_now(env: &Env, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
    let slot = env.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let cannot = |reason| Err(MasterError::CannotScan { agent: env.directory.name_of(agent), reason });
    match slot.status() {
        AgentStatus::Enrolled => {}
        AgentStatus::Pending => return cannot("it waits for a person's yes: approve it first"),
        AgentStatus::Revoked | AgentStatus::Removed => return cannot("it is not heard"),
    }
    if slot.dialect() == Dialect::V2 {
        return cannot("it runs DockFlare's agent, which knows nothing of updates");
    }
    let kind = CommandKind::ScanUpdates;
    env.fleet.ask(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
}
