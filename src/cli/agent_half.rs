//! Builds the agent's tree for `agent` and `standalone`, and serves its state over `agent.sock`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use secrecy::SecretString;

use super::agent_hands::hands;
use super::desk_lookup::DeskLookup;
use super::host_look::look_at_host;
use super::run::Start;
use super::scan::images;
use super::values::AgentValues;
use crate::actors::agent::link::CurrentLink;
use crate::actors::agent::tree::{AgentParts, AgentPorts, AgentSettings, agent};
use crate::actors::supervision::SupSpec;
use crate::clock::Clock;
use crate::config::Settings;
use crate::docker::Docker;
use crate::state_dir::StateDir;
use crate::uplink::Uplink;

/// How long an actor may take to say how it is.
const STATUS_TIME: Duration = Duration::from_secs(2);

/// Describes the supervisor `agent` of this host.
pub(super) fn describe(
    start: &Start,
    master_url: &str,
    key: SecretString,
) -> anyhow::Result<(SupSpec, AgentPorts)> {
    let settings = &start.loaded.settings;
    let AgentValues { docker, uplink } = AgentValues::read(settings, master_url, key, start.io.clone())?;
    let docker: Arc<dyn Docker> = Arc::new(docker);
    let (uplink, link): (Arc<dyn Uplink>, _) = (Arc::new(uplink), CurrentLink::default());
    let desk = DeskLookup::new(Arc::clone(&uplink), link.clone());
    let hands = hands(settings, &start.state_dir, &start.io)?;
    let parts = AgentParts {
        settings: agent_settings(settings),
        docker: Arc::clone(&docker),
        uplink,
        state: StateDir::open(&start.state_dir, start.io.clone())?,
        link,
        look: look_at_host(
            start.state_dir.clone(),
            Arc::clone(&docker),
            settings.updates.check_packages,
            images(settings, &start.state_dir, &Clock::system(), start.io.clone())?
                .asking_first(Arc::new(desk)),
            Arc::clone(&hands),
            start.io.clone(),
        ),
        hands,
    };
    Ok(agent(parts))
}

/// An agent without a name of its own goes by its host's.
fn agent_settings(settings: &Settings) -> AgentSettings {
    let mut settings = settings.clone();
    let host = host_name();
    settings.agent.display_name = settings.agent.display_name.or_else(|| host.clone());
    AgentSettings::new(&settings, host)
}

/// The machine's own name, or the one that somebody gave this container.
fn host_name() -> Option<String> {
    let is_container = std::path::Path::new("/.dockerenv").exists();
    kernel_host_name().filter(|name| !(is_container && is_made_up(name)))
}

/// The beginning of the id of the container that this runs in, if it runs in one that nobody named.
pub(super) fn own_container() -> Option<String> {
    let is_container = std::path::Path::new("/.dockerenv").exists();
    kernel_host_name().filter(|name| is_container && is_made_up(name))
}

/// The Docker Engine names a container by its id, which is another one after every upgrade.
fn is_made_up(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What the kernel calls this machine or container.
pub(super) fn kernel_host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Serves `/healthz` and `/status` over `agent.sock`, for this user and root.
pub(super) fn serve_status(start: &Start, ports: AgentPorts) -> anyhow::Result<ServerHandle> {
    let path = start.state_dir.join("agent.sock");
    // Left by an agent that was killed; the lock of the state directory says that no other one runs.
    let _ = std::fs::remove_file(&path);
    let socket = UnixListener::bind(&path).with_context(|| {
        format!("cannot listen on `{}`; is the state directory writable?", path.display())
    })?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(ports.clone()))
            .route("/healthz", web::get().to(health))
            .route("/status", web::get().to(status))
    })
    .workers(1)
    .disable_signals()
    .listen_uds(socket)?
    .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}

/// Alive means that every actor answers; what they wait for is in `/status`.
async fn health(ports: web::Data<AgentPorts>) -> HttpResponse {
    let status = ports.status(STATUS_TIME).await;
    let silent = [
        ("reporter", status.reporter.is_none()),
        ("tunnel", status.tunnel.is_none()),
        ("updates", status.updates.is_none()),
        ("installer", status.installer.is_none()),
        ("docker", status.docker.is_none()),
        ("command_poller", status.command_poller.is_none()),
    ];
    let silent: Vec<_> = silent.iter().filter(|(_, is_silent)| *is_silent).map(|(name, _)| *name).collect();
    if silent.is_empty() {
        HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
    } else {
        HttpResponse::ServiceUnavailable().json(serde_json::json!({ "status": "error", "silent": silent }))
    }
}

async fn status(ports: web::Data<AgentPorts>) -> HttpResponse {
    HttpResponse::Ok().json(ports.status(STATUS_TIME).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_docker_made_up_is_told_from_a_given_one() {
        for (name, made_up) in [
            ("4f2a9c01be77", true),
            ("edge-1", false),
            ("vm", false),
            ("decafbad", false),
            ("4F2A9C01BE77", false),
        ] {
            assert_eq!(is_made_up(name), made_up, "{name}");
        }
    }
}
