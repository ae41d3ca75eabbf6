//! Looking: both containers under our names, and how the connectors in them are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::docker::{ConnectorStatus, ContainerDetails, Docker, DockerError, METRICS_PORT};
use crate::domain::agent_tunnel::{
    self, CONTAINER_NAME, Desired, NEXT_NAME, NextStep, Observed, RunState, TokenPrint,
};
use crate::domain::connector_log::{newest_within, telling_line};
use crate::domain::id::{AgentId, ContainerId};
use crate::protocol::v3::MESSAGE_LIMIT;

/// A new connector whose readiness nobody can read takes over after this. One that says that it is not ready never
/// does while another serves: its token may be for a tunnel that nobody can reach.
const UNREADABLE_LIMIT: Duration = Duration::from_secs(10);
/// Where the image's connector listens on all of its container's addresses unless it is told otherwise.
const IMAGE_PORTS: RangeInclusive<u16> = 20241..=20245;

/// A container and the connector in it.
#[derive(Debug, Clone)]
pub(super) struct SeenContainer {
    pub(super) details: ContainerDetails,
    pub(super) status: ConnectorStatus,
    /// The line of its log that tells, read only if it does not do well.
    pub(super) last_words: Option<String>,
}

/// What is there under our two names.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenContainers {
    pub(super) main: Option<SeenContainer>,
    pub(super) next: Option<SeenContainer>,
}

/// Looks at both names.
pub(super) async fn look(docker: &dyn Docker) -> Result<SeenContainers, DockerError> {
    let (main, next) = futures_util::try_join!(see(docker, CONTAINER_NAME), see(docker, NEXT_NAME))?;
    Ok(SeenContainers { main, next })
}

/// Returns the name of a network that was written by its id, as containers list it; `None` if it is a name already, or
/// there is no such network yet.
pub(super) async fn name_of_network(
    docker: &dyn Docker,
    written: &str,
) -> Result<Option<String>, DockerError> {
    let may_be_id = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_hexdigit());
    if may_be_id { docker.network_name(written).await } else { Ok(None) }
}

async fn see(docker: &dyn Docker, name: &str) -> Result<Option<SeenContainer>, DockerError> {
    let Some(details) = docker.find_container(name).await? else { return Ok(None) };
    let status = match details.state {
        RunState::Running => ask(docker, &details).await,
        _ => ConnectorStatus::default(),
    };
    let does_well =
        details.state == RunState::Running && (status.is_ready == Some(true) || details.restarts == 0);
    let last_words = match does_well {
        true => None,
        // The reason is a courtesy; a container that went away meanwhile has none.
        false => last_words(docker, &details).await,
    };
    Ok(Some(SeenContainer { details, status, last_words }))
}

/// Asks the connector how it is, on every port that it may have taken.
async fn ask(docker: &dyn Docker, details: &ContainerDetails) -> ConnectorStatus {
    let asked = metrics_listeners(details).into_iter().map(|at| docker.read_connector(at));
    let answers = futures_util::future::join_all(asked).await;
    answers.into_iter().find(|answer| answer.is_ready.is_some()).unwrap_or_default()
}

/// Where the connector's metrics listener can be asked, if it has an address of its own. One that was not told where
/// to listen, as those of a DockFlare agent, takes the first free one of its image's ports.
fn metrics_listeners(details: &ContainerDetails) -> Vec<SocketAddr> {
    let on_its_network = details.addresses.get(&details.network).copied().flatten();
    let anywhere = || details.addresses.values().flatten().next().copied();
    let Some(address): Option<IpAddr> = on_its_network.or_else(anywhere) else { return Vec::new() };
    let ports = match details.metrics.as_deref() {
        None => IMAGE_PORTS.collect(),
        Some(metrics) => match metrics.strip_prefix("0.0.0.0:") {
            Some(port) => vec![port.parse().unwrap_or(METRICS_PORT)],
            None => Vec::new(),
        },
    };
    ports.into_iter().map(|port| SocketAddr::new(address, port)).collect()
}

/// The line of its log that tells, without its token.
async fn last_words(docker: &dyn Docker, details: &ContainerDetails) -> Option<String> {
    let lines = docker.last_log_lines(&details.id).await.unwrap_or_default();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    telling_line(&lines).map(|line| without_token(line.to_owned(), details))
}

/// The last lines that the connector wrote which runs here, as many as a result has room for.
pub(super) async fn last_lines(docker: &dyn Docker) -> Result<String, String> {
    let found = docker.find_container(CONTAINER_NAME).await.map_err(|error| error.to_string())?;
    let details = found.ok_or_else(|| {
        format!("no container `{CONTAINER_NAME}` is on this host: a connector that the agent does not run has its log elsewhere")
    })?;
    let lines = docker.last_log_lines(&details.id).await.map_err(|error| error.to_string())?;
    let lines: Vec<String> = lines.into_iter().map(|line| without_token(line, &details)).collect();
    let kept = newest_within(&lines, MESSAGE_LIMIT);
    if kept.is_empty() { Err("the connector wrote nothing yet".into()) } else { Ok(kept) }
}

fn without_token(line: String, details: &ContainerDetails) -> String {
    match &details.token {
        Some(token) if !token.expose_secret().is_empty() => line.replace(token.expose_secret(), "(token)"),
        _ => line,
    }
}

/// A connector that ends at once, as one with a bad token does, has ended after this.
const PROOF: Duration = Duration::from_secs(2);

/// Remembers since when containers are seen running, and which of them ever said how they are.
#[derive(Debug, Default)]
pub(super) struct Settling(HashMap<ContainerId, Known>);

#[derive(Debug)]
struct Known {
    since: Instant,
    /// It said once whether it is ready, so that a question without an answer later says nothing.
    has_answered: bool,
}

impl Settling {
    /// Brings the memory up to date with what is there now.
    pub(super) fn note(&mut self, sight: &SeenContainers, now: Instant) {
        let running: Vec<&SeenContainer> = [&sight.main, &sight.next]
            .into_iter()
            .flatten()
            .filter(|seen| seen.details.state == RunState::Running)
            .collect();
        self.0.retain(|id, _| running.iter().any(|seen| seen.details.id == *id));
        for seen in running {
            let known = Known { since: now, has_answered: false };
            let known = self.0.entry(seen.details.id.clone()).or_insert(known);
            known.has_answered |= seen.status.is_ready.is_some();
        }
    }

    /// True if it may take over from one that serves.
    fn has_settled(&self, seen: &SeenContainer, now: Instant) -> bool {
        let is_unreadable = || self.0.get(&seen.details.id).is_some_and(|known| !known.has_answered);
        match seen.status.is_ready {
            Some(is_ready) => is_ready,
            None => is_unreadable() && self.runs_for(seen, UNREADABLE_LIMIT, now),
        }
    }

    /// True if a connector did more than being started: it answers, or it did not end at once.
    pub(super) fn is_proven(&self, seen: &SeenContainer, now: Instant) -> bool {
        seen.status.is_ready.is_some() || self.runs_for(seen, PROOF, now)
    }

    fn runs_for(&self, seen: &SeenContainer, time: Duration, now: Instant) -> bool {
        self.0.get(&seen.details.id).is_some_and(|known| now.duration_since(known.since) >= time)
    }

    /// Returns what the next step is decided by.
    pub(super) fn observed(&self, seen: &SeenContainer, now: Instant) -> Observed {
        let details = &seen.details;
        Observed {
            id: details.id.clone(),
            image: details.image.clone(),
            command: details.command.clone(),
            token: details.token.as_ref().map(|token| TokenPrint::of(token.expose_secret())),
            metrics: details.metrics.clone(),
            options: details.options.clone(),
            network: details.network.clone(),
            is_connected: details.addresses.contains_key(&details.network),
            restart_policy: details.restart_policy.clone(),
            labels: details.labels.clone(),
            state: details.state,
            has_settled: self.has_settled(seen, now),
            last_words: seen.last_words.clone(),
        }
    }
}

/// Decides the next step from what was seen.
pub(super) fn next_step(
    agent: &AgentId,
    desired: &Desired,
    sight: &SeenContainers,
    settling: &Settling,
    now: Instant,
) -> NextStep {
    let main = sight.main.as_ref().map(|seen| settling.observed(seen, now));
    let next = sight.next.as_ref().map(|seen| settling.observed(seen, now));
    agent_tunnel::next_step(agent, desired, main.as_ref(), next.as_ref())
}
