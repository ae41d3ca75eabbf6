//! The Docker Engine: what the agent asks of it, and nothing more.
//!
//! Everything here works through a socket proxy that opens `CONTAINERS, EVENTS, IMAGES, NETWORKS, INFO, PING,
//! VERSION, POST` and nothing else; so there is no `exec`. This module knows the Engine's words and time limits;
//! what is done with the answers is decided in `domain` and in the agent's actors.

mod address;
mod bollard;
mod connection;
mod connector;
mod containers;
mod convert;
mod error;
mod images;
mod probe;
mod request;
mod types;

use std::net::SocketAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::bollard::BollardDocker;
pub use address::{EngineAddress, Tls};
pub use connector::{ConnectorStatus, METRICS_PORT, read_metrics, read_ready};
pub use containers::EngineContainers;
pub use error::DockerError;
pub use images::{EngineImages, EngineLogin, LocalImage, UsedImage};
pub use types::{ContainerDetails, EngineAction, EngineEvent, EngineInfo, Events, NewConnector};

pub use crate::domain::agent_tunnel::RunState;
use crate::domain::container::Container;
use crate::domain::id::ContainerId;

/// A Docker Engine. Every call has a time limit and may fail while the Engine is away.
#[async_trait]
pub trait Docker: Send + Sync + 'static {
    /// Agrees on an API version with the Engine, anew, and says what it is talking to.
    async fn connect(&self) -> Result<EngineInfo, DockerError>;

    /// Subscribes to container events. Those since `since` (Engine time) that the Engine still holds come first.
    async fn watch(&self, since: DateTime<Utc>) -> Result<Events, DockerError>;

    /// Returns all containers that run or are paused, with all their labels, in one call.
    async fn list_running(&self) -> Result<Vec<Container>, DockerError>;

    /// Returns what the Engine knows of a container, by name or id.
    async fn find_container(&self, name: &str) -> Result<Option<ContainerDetails>, DockerError>;

    /// Creates (and does not start) a container that runs `cloudflared`.
    async fn create_connector(&self, new: &NewConnector) -> Result<ContainerId, DockerError>;

    /// Starts a container; one that runs already stays as it is.
    async fn start(&self, id: &ContainerId) -> Result<(), DockerError>;

    /// Stops a container within its own stop time; one that does not run, or is gone, stays so.
    async fn stop(&self, id: &ContainerId) -> Result<(), DockerError>;

    /// Removes a container, killing it if it runs; one that is gone stays gone.
    async fn remove(&self, id: &ContainerId) -> Result<(), DockerError>;

    /// Gives a container another name.
    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), DockerError>;

    /// Lets a paused container run again.
    async fn unpause(&self, id: &ContainerId) -> Result<(), DockerError>;

    /// Says whether the Engine has `image`.
    async fn has_image(&self, image: &str) -> Result<bool, DockerError>;

    /// Pulls `image`; takes minutes on a slow line.
    async fn pull_image(&self, image: &str) -> Result<(), DockerError>;

    /// Creates the bridge network `name` with `labels` unless it is there; returns true if it was created.
    async fn ensure_network(&self, name: &str, labels: &[(&str, &str)]) -> Result<bool, DockerError>;

    /// Returns the name of a network that may be given by its id; `None` if there is none.
    async fn network_name(&self, network: &str) -> Result<Option<String>, DockerError>;

    /// Returns the last lines that a container wrote, each cut to 300 characters.
    async fn last_log_lines(&self, id: &ContainerId) -> Result<Vec<String>, DockerError>;

    /// Asks a connector's metrics listener how it is; what cannot be reached is `None`, never an error.
    async fn read_connector(&self, at: SocketAddr) -> ConnectorStatus;
}
