//! The tunnel of a host: what is wanted, and how it is.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::TunnelId;

/// The one name of the container that runs `cloudflared` for us.
pub const CONTAINER_NAME: &str = "dockflare-agent-tunnel";
/// Why a tunnel's state is unknown although nothing is wrong: on some networks nobody can ask the connector.
pub const UNREADABLE: &str = "its readiness cannot be read";

/// Why a tunnel's state is unknown to an agent that is told to leave the connector to somebody else.
pub const ELSEWHERE: &str = "somebody else runs its connector";

/// How the tunnel's connector is, as its agent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelHealth {
    /// The container runs and is ready.
    Running,
    /// The container runs, but it has no connection to the edge.
    Degraded,
    /// The container runs; its readiness cannot be read.
    Unknown,
    /// The Engine is starting it again after it ended; `reason` has its last words.
    Restarting,
    /// It could not be started or repaired yet; `reason` says why.
    Failed,
    /// No tunnel is wanted, and none runs.
    Stopped,
}

impl TunnelHealth {
    /// True if its connector should have a connection to the edge and has none: the tunnel itself may be gone.
    pub fn is_cut_off(self) -> bool {
        matches!(self, Self::Degraded | Self::Restarting | Self::Failed)
    }
}

impl TunnelReport {
    /// True if it says that this is about the tunnel `id`, called `name`.
    pub fn names(&self, id: &TunnelId, name: Option<&str>) -> bool {
        match (&self.tunnel_id, self.name.as_deref()) {
            (Some(own), _) => own == id,
            (None, own) => own.is_some() && own == name,
        }
    }

    /// Returns a digest, so that one equal to the last is known without reading; never 0. When the agent looked is not
    /// worth writing down.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Self { observed_at: None, ..self.clone() }.hash(&mut hasher);
        hasher.finish().max(1)
    }

    /// True if this is about the tunnel `id`, called `name`: an agent may run another one still, and one that cannot say
    /// which it runs has its word taken.
    pub fn is_about(&self, id: &TunnelId, name: Option<&str>) -> bool {
        match (&self.tunnel_id, self.name.as_deref(), name) {
            (Some(own), _, _) => own == id,
            (None, Some(own), Some(name)) => own == name,
            (None, _, _) => true,
        }
    }
}

/// State of the tunnel as the agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TunnelReport {
    /// How it is.
    pub health: TunnelHealth,
    /// The tunnel it serves, if the agent knows it.
    #[serde(default)]
    pub tunnel_id: Option<TunnelId>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Version of `cloudflared`; null if it cannot be read.
    #[serde(default)]
    pub version: Option<String>,
    /// Why it is not running, in words for a person.
    #[serde(default)]
    pub reason: Option<String>,
    /// Connections to the edge, if known.
    #[serde(default)]
    pub ready_connections: Option<u32>,
    /// The connector's id as Cloudflare lists it, if known.
    #[serde(default)]
    pub connector_id: Option<String>,
    /// Version of the configuration in force; -1 before the first one.
    #[serde(default)]
    pub config_version: Option<i64>,
    /// Names of the networks that its container is on; null if there is none, and from agents that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<String>>,
    /// When the agent looked, by its own clock.
    #[serde(default)]
    pub observed_at: Option<DateTime<Utc>>,
}
