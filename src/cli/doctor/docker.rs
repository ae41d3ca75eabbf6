//! The Docker Engine, the connector, and who else drives containers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use secrecy::ExposeSecret;

use super::patient::Patient;
use crate::cli::{agent_half, values};
use crate::docker::{BollardDocker, ContainerDetails, Docker, DockerError, METRICS_PORT};
use crate::domain::agent_tunnel::{AGENT_LABEL, RunState};
use crate::domain::doctor::connector::{Container, Facts, Network};
use crate::domain::doctor::{Check, drivers};
use crate::domain::tunnel::CONTAINER_NAME;
use crate::state_dir::{DesiredState, TunnelState};

/// Networks that every Engine has.
const ENGINES_OWN: [&str; 4] = ["host", "none", "bridge", "default"];

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    let docker = match values::engine(&patient.settings) {
        Ok(address) => BollardDocker::at(address, patient.io.clone()),
        Err(error) => {
            let way_out = "set DOCKER_HOST to `unix:///path` or `tcp://host:port`, or leave it empty";
            return vec![Check::problem("Docker Engine", error.to_string(), way_out)];
        }
    };
    let engine = docker.look().await;
    let is_there = engine.versions.is_ok();
    let mut checks = engine.judge();
    if is_there {
        let (connector, others) = tokio::join!(connector(patient, &docker), others(patient, &docker));
        checks.extend(connector.judge());
        checks.extend(others);
    }
    checks
}

async fn connector(patient: &Patient, docker: &BollardDocker) -> Facts {
    let network = &patient.settings.tunnel.network;
    let state = match docker.network_name(network).await {
        _ if ENGINES_OWN.contains(&network.as_str()) => Network::There,
        Ok(Some(_)) => Network::There,
        Ok(None) => Network::Missing,
        Err(error) => Network::Unknown(error.to_string()),
    };
    let wants =
        |tunnel: &TunnelState| tunnel.token.is_some() && tunnel.desired_state == DesiredState::Running;
    Facts {
        network: (network.clone(), state),
        container: container(docker).await.map_err(|error| error.to_string()),
        own_agent: own_agent(patient),
        wants_tunnel: read(&patient.tunnel).map(|tunnel| tunnel.is_some_and(wants)),
    }
}

/// What a file of the state directory holds, or why it cannot be read.
fn read<T>(file: &Result<Option<T>, String>) -> Result<Option<&T>, String> {
    file.as_ref().map(Option::as_ref).map_err(Clone::clone)
}

fn own_agent(patient: &Patient) -> Result<Option<String>, String> {
    read(&patient.agent).map(|agent| agent.map(ToString::to_string))
}

async fn container(docker: &BollardDocker) -> Result<Option<Container>, DockerError> {
    let Some(details) = docker.find_container(CONTAINER_NAME).await? else { return Ok(None) };
    let connections = match metrics_address(&details) {
        Some(at) => {
            let status = docker.read_connector(at).await;
            status.ready_connections.or(status.is_ready.filter(|is_ready| !is_ready).map(|_| 0))
        }
        None => None,
    };
    let last_words = match details.state {
        RunState::Running | RunState::Paused => None,
        _ => docker.last_log_lines(&details.id).await.ok().and_then(|lines| lines.into_iter().next_back()),
    };
    Ok(Some(Container {
        agent: details.labels.get(AGENT_LABEL).cloned(),
        state: details.state,
        restarts: details.restarts,
        network: details.network.clone(),
        hosts: docker.hosts_of(CONTAINER_NAME).await?,
        connections,
        last_words,
    }))
}

/// Where a running connector tells how it is.
fn metrics_address(details: &ContainerDetails) -> Option<SocketAddr> {
    if details.state != RunState::Running {
        return None;
    }
    let of_network = details.addresses.values().flatten().next().copied();
    let address = if details.network == "host" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { of_network };
    Some(SocketAddr::new(address?, METRICS_PORT))
}

async fn others(patient: &Patient, docker: &BollardDocker) -> Vec<Check> {
    let token = |tunnel: &TunnelState| {
        tunnel.id.clone().or_else(|| drivers::tunnel_of(tunnel.token.as_ref()?.expose_secret()))
    };
    let own = drivers::Own {
        agent: own_agent(patient),
        tunnel: read(&patient.tunnel).map(|tunnel| tunnel.and_then(token)),
        container: agent_half::own_container(),
    };
    match docker.list_drivers().await {
        Ok(running) => drivers::judge(&running, &own),
        Err(error) => vec![Check::not_checked(
            "Others that drive containers",
            error.to_string(),
            "put right the way to the Engine first",
        )],
    }
}
