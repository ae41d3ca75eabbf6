//! How the tunnel is, in the words the master is told.

use chrono::{DateTime, Utc};

use super::look::{SeenContainer, SeenContainers};
use crate::domain::agent_tunnel::RunState;
use crate::domain::tunnel::{TunnelHealth, TunnelReport, UNREADABLE};
use crate::state_dir::{DesiredState, TunnelState};

/// Says how the tunnel is. `trouble` is why something could not be done or has to wait.
pub(super) fn report(
    state: &TunnelState,
    sight: &SeenContainers,
    trouble: Option<String>,
    now: DateTime<Utc>,
) -> TunnelReport {
    let is_wanted = state.desired_state == DesiredState::Running;
    let runs = |seen: &&SeenContainer| seen.details.state == RunState::Running;
    // During a replacement, the one that serves is the one that counts.
    let (main, next) = (sight.main.as_ref(), sight.next.as_ref());
    let shown = main.filter(runs).or(next.filter(runs)).or(main).filter(|_| is_wanted);
    let (health, reason) = match shown {
        None if is_wanted => {
            (TunnelHealth::Failed, trouble.or_else(|| Some("its container is missing".into())))
        }
        None => (TunnelHealth::Stopped, trouble),
        Some(seen) => state_of(seen, trouble),
    };
    let status = shown.map(|seen| seen.status.clone()).unwrap_or_default();
    TunnelReport {
        health,
        tunnel_id: state.id.clone(),
        name: state.name.clone(),
        version: status.version,
        reason,
        ready_connections: status.ready_connections,
        connector_id: status.connector_id,
        config_version: status.config_version,
        networks: shown.map(|seen| seen.details.networks.keys().cloned().collect()),
        observed_at: Some(now),
    }
}

fn state_of(seen: &SeenContainer, trouble: Option<String>) -> (TunnelHealth, Option<String>) {
    let words = || seen.last_words.clone();
    match (seen.details.state, seen.status.is_ready) {
        (RunState::Running, Some(true)) => (TunnelHealth::Running, trouble),
        (RunState::Running, Some(false)) => (
            TunnelHealth::Degraded,
            trouble.or_else(words).or_else(|| Some("it has no connection to the edge".into())),
        ),
        (RunState::Running, None) => {
            (TunnelHealth::Unknown, trouble.or_else(words).or_else(|| Some(UNREADABLE.into())))
        }
        (RunState::Restarting, _) => (TunnelHealth::Restarting, trouble.or_else(words)),
        (state, _) => {
            let how = match state {
                RunState::Paused => "its container is paused".to_owned(),
                RunState::Created => "its container was not started yet".to_owned(),
                RunState::Dead => "its container could not be removed".to_owned(),
                _ => match seen.details.exit_code {
                    Some(code) => format!("its container ended with code {code}"),
                    None => "its container ended".to_owned(),
                },
            };
            (TunnelHealth::Failed, trouble.or(Some(how)))
        }
    }
}

#[cfg(test)]
mod tests;
