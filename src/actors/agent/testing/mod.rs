//! What tests of the agent's actors share: moved time, a master that answers as told, an Engine
//! in memory, an agent without one, a message that makes an actor fail.

mod engine;
mod hands;
mod host;
mod master;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::task::LocalSet;

use crate::actors::agent::command_poller::CommandPoller;
use crate::actors::agent::docker_watcher::DockerWatcher;
use crate::actors::agent::reporter::Reporter;
use crate::actors::agent::tunnel_supervisor::TunnelSupervisor;
use crate::actors::supervision::fail::fails;
use crate::domain::container::Container;
use crate::domain::id::{CommandId, ContainerId};
use crate::protocol::command::AgentCommand;
use crate::protocol::v3::DeliveredCommand;

pub use crate::actors::supervision::fail::Fail;
pub use engine::FakeEngine;
pub use hands::FakeHands;
pub use host::TestAgent;
pub use master::*;

fails!(Reporter, TunnelSupervisor, DockerWatcher, CommandPoller);

/// Long enough for anything under moved time.
pub const LONG: Duration = Duration::from_secs(24 * 3600);

/// Runs a test on one thread under moved time.
pub fn paused<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

pub fn container(id: &str) -> Container {
    let labels = [("dockflare.enable".to_owned(), "true".to_owned())].into();
    let (id, name) = (ContainerId::new(id), format!("app-{id}"));
    Container { id, name, labels, image: None, status: None, networks: None }
}

/// A command as a native master hands it over, good for an hour.
pub fn delivered(id: &str, form: Value) -> DeliveredCommand {
    let issued_at = at("2026-01-31T12:00:00Z");
    DeliveredCommand {
        id: CommandId::new(id),
        attempt: 1,
        lease_secs: 30,
        issued_at,
        expires_at: issued_at + TimeDelta::hours(1),
        command: AgentCommand::read(form.as_object().expect("a form")),
    }
}
