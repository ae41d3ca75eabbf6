//! The Engine's answers in our words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use chrono::{DateTime, Utc};
use futures_util::Stream;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::DockerError;
use crate::domain::agent_tunnel::{ConnectorOptions, RunState};
use crate::domain::id::ContainerId;
use crate::domain::networks::Networks;
use crate::io::Running;

/// The Engine at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The API version both sides speak, such as `1.41`.
    pub api_version: String,
    /// The Engine's clock; null where the socket proxy does not permit `INFO`.
    pub time: Option<DateTime<Utc>>,
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineAction {
    /// It runs now.
    Start,
    /// It was continued after a pause.
    Unpause,
    /// It has another name now.
    Rename,
    /// Its process ended.
    Die,
    /// It was stopped (after `die`).
    Stop,
    /// It was removed.
    Destroy,
    /// It was frozen; it still holds its place.
    Pause,
    /// It was sent a signal; whether it ends is another event.
    Kill,
    /// It was put on a network, or taken off one.
    Networks,
}

/// One event of a container, as the Engine tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// What happened.
    pub action: EngineAction,
    /// To which container (`Actor.ID`; where it is about its networks, the one that their event names).
    pub id: ContainerId,
    /// Its labels, with `name` and `image` among them (`Actor.Attributes`); none if it is about its networks.
    pub attributes: BTreeMap<String, String>,
    /// When, by the Engine's clock.
    pub at: Option<DateTime<Utc>>,
}

/// The stream of events; ends with an error or when the Engine hangs up. Dropping it unsubscribes.
pub struct Events {
    pub(super) items: mpsc::Receiver<Result<EngineEvent, DockerError>>,
    pub(super) _pump: Option<Running<()>>,
}

impl Events {
    /// A stream fed by hand; for tests of what reads one.
    pub fn from_channel(items: mpsc::Receiver<Result<EngineEvent, DockerError>>) -> Self {
        Self { items, _pump: None }
    }

    /// Returns the next event; `None` once the Engine hung up.
    pub async fn next(&mut self) -> Option<Result<EngineEvent, DockerError>> {
        self.items.recv().await
    }
}

impl Stream for Events {
    type Item = Result<EngineEvent, DockerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(cx)
    }
}

/// All that is known of one container, as far as we ask.
#[derive(Clone)]
pub struct ContainerDetails {
    /// The Engine's id.
    pub id: ContainerId,
    /// Name without the leading slash.
    pub name: String,
    /// The image as the container names it.
    pub image: String,
    /// The arguments given to the image's entry point.
    pub command: Vec<String>,
    /// `TUNNEL_TOKEN` of its environment.
    pub token: Option<SecretString>,
    /// `TUNNEL_METRICS` of its environment.
    pub metrics: Option<String>,
    /// The options of ours in its environment.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The network it was made for.
    pub network: String,
    /// The restart policy's name.
    pub restart_policy: String,
    /// The networks it is connected to, with its address there while it runs.
    pub addresses: BTreeMap<String, Option<IpAddr>>,
    /// The same, with the names that it goes by there.
    pub networks: Networks,
    /// Whether it runs.
    pub state: RunState,
    /// Exit code of the last end.
    pub exit_code: Option<i64>,
    /// The Engine's reason why it did not start, if it said one.
    pub error: Option<String>,
    /// How often the Engine started it again.
    pub restarts: u64,
}

impl fmt::Debug for ContainerDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerDetails")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("image", &self.image)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A container for `cloudflared` that is to be made.
#[derive(Debug, Clone)]
pub struct NewConnector {
    /// Its name.
    pub name: String,
    /// The image, with tag or digest.
    pub image: String,
    /// Arguments for the image's entry point.
    pub command: Vec<String>,
    /// The tunnel's token; travels in the environment.
    pub token: SecretString,
    /// The address that its metrics listener binds.
    pub metrics: String,
    /// Options of `cloudflared`; travel in the environment.
    pub options: ConnectorOptions,
    /// The network it joins.
    pub network: String,
    /// Our labels.
    pub labels: BTreeMap<String, String>,
}
