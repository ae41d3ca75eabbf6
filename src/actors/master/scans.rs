//! Telling a host to look for pending updates now, or at what its connector wrote, and a RedFlag agent to ask more often or to restart its host.

use super::env::Env;
use super::error::MasterError;
use super::fleet::Work;
use super::requests::Dialect;
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::AgentId;
use crate::domain::update::RebootAsk;

/// Queues the command; an agent that was told and has not fetched it is not told twice.
pub async fn scan_now(env: &Env, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
    let slot = env.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let why_not = why_told_nothing(slot.status()).or(match slot.dialect() {
        Dialect::V2 => Some("it runs DockFlare's agent, which knows nothing of updates"),
        Dialect::Native | Dialect::RedFlag => None,
    });
    if let Some(reason) = why_not {
        return Err(MasterError::CannotScan { agent: env.directory.name_of(agent), reason });
    }
    let kind = CommandKind::ScanUpdates;
    env.fleet.ask(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
}

/// Queues the command that has an agent tell the last lines its connector wrote; its result holds them.
pub async fn ask_for_connector_log(env: &Env, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
    let slot = env.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let why_not = why_told_nothing(slot.status()).or(match slot.dialect() {
        Dialect::Native => None,
        Dialect::V2 => {
            Some("it runs DockFlare's agent, which tells no log; `docker logs` on its host shows it")
        }
        Dialect::RedFlag => Some("it runs RedFlag's agent, which has no connector"),
    });
    if let Some(reason) = why_not {
        return Err(MasterError::CannotTellLog { agent: env.directory.name_of(agent), reason });
    }
    let kind = CommandKind::ConnectorLog;
    env.fleet.ask(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
}

/// Queues the command that has a RedFlag agent check in every few seconds for so many minutes; for none, as often as before.
pub async fn set_heartbeat(
    env: &Env,
    agent: &AgentId,
    minutes: Option<u32>,
    by: &str,
) -> Result<Command, MasterError> {
    let slot = env.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    let why_not = why_told_nothing(slot.status()).or(match slot.dialect() {
        Dialect::RedFlag => None,
        Dialect::Native => Some("it is handed what waits for it at once"),
        Dialect::V2 => Some("it runs DockFlare's agent, which asks as often as it is set to"),
    });
    if let Some(reason) = why_not {
        return Err(MasterError::CannotHurry { agent: env.directory.name_of(agent), reason });
    }
    let kind = match minutes {
        Some(duration_minutes) => CommandKind::EnableHeartbeat { duration_minutes },
        None => CommandKind::DisableHeartbeat,
    };
    env.fleet.ask(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
}

/// Queues the command that has a RedFlag agent start its host anew. It does that at once and asks nobody, and what it is told is
/// not signed: so one person is enough only where one is for orders too, and nothing is installed meanwhile.
pub async fn restart(env: &Env, agent: &AgentId, ask: RebootAsk, by: &str) -> Result<Command, MasterError> {
    let slot = env.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
    if let Some(reason) = why_told_nothing(slot.status()) {
        return Err(MasterError::CannotPlan { agent: env.directory.name_of(agent), reason });
    }
    if let Some(reason) = env.settings.why_not_by_one("restart the host itself") {
        return Err(MasterError::CannotApprove(reason));
    }
    // Its agent hands the text on to `shutdown`, which takes what begins so for an option.
    if ask.message.starts_with('-') {
        let reason =
            "field `message` is not allowed: it begins with `-`, which `shutdown` takes for an option";
        return Err(MasterError::Invalid(reason.into()));
    }
    let kind = CommandKind::Reboot(ask);
    env.fleet.ask(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
}

/// Why an agent that stands so is told nothing, if it is not.
fn why_told_nothing(status: AgentStatus) -> Option<&'static str> {
    match status {
        AgentStatus::Enrolled => None,
        AgentStatus::Pending => Some("it waits for a person's yes: approve it first"),
        AgentStatus::Revoked | AgentStatus::Removed => Some("it is not heard"),
    }
}
