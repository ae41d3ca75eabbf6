//! Routes: public names and the services behind them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::{AgentId, ContainerId};

/// What tells two routes apart: hostname and normalised path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteKey {
    /// Lower case, no trailing dot; may start with `*.`.
    pub hostname: String,
    /// Empty, or `/` and more, without a slash at the end.
    pub path: String,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.hostname, self.path)
    }
}

/// Options towards the service, named as Cloudflare names them. Unset ones are left out on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OriginRequest {
    /// Accept any certificate of the service.
    #[serde(rename = "noTLSVerify", skip_serializing_if = "Option::is_none")]
    pub no_tls_verify: Option<bool>,
    /// Name expected in the service's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_server_name: Option<String>,
    /// `Host` header sent to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_host_header: Option<String>,
    /// Speak HTTP/2 to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2_origin: Option<bool>,
    /// Send no chunked bodies to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_chunked_encoding: Option<bool>,
    /// Use the request's host name as the TLS server name.
    #[serde(rename = "matchSNItoHost", skip_serializing_if = "Option::is_none")]
    pub match_sni_to_host: Option<bool>,
}

/// What one set of labels asks for: the route without its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Hostname and path.
    #[serde(flatten)]
    pub key: RouteKey,
    /// Where requests go, such as `http://app:8080`.
    pub service: String,
    /// Options towards it.
    #[serde(default)]
    pub origin_request: OriginRequest,
    /// Zone the labels name.
    #[serde(default)]
    pub zone_name: Option<String>,
    /// True if its container has any `access.*` label: its protection is not built yet, so it is held back.
    #[serde(default)]
    pub has_access_labels: bool,
}

/// Where a route stands by decision of its owner. What Cloudflare made of it is a separate matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RouteState {
    /// Its container runs.
    Active,
    /// Its container is gone; ingress and DNS stay until `due_at`.
    PendingDeletion {
        /// End of the grace period, master time.
        due_at: DateTime<Utc>,
        /// True if the removal guard holds it after that, until a person confirms.
        held: bool,
        /// True if the Engine said itself that the container ended.
        #[serde(default)]
        explained: bool,
    },
}

/// Why a route was withdrawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// Its container was missing from a list: what the removal guard counts.
    #[default]
    Missing,
    /// The Engine said itself that its container ended.
    Explained,
    /// A person confirmed it.
    Confirmed,
    /// Its agent was removed.
    AgentRemoved,
    /// Its container runs on another host now, which has the name.
    Moved {
        /// Whose host that is.
        to: AgentId,
    },
}

impl Release {
    /// True for what no event of the Engine and no person explains.
    pub fn is_unexplained(&self) -> bool {
        *self == Self::Missing
    }
}

/// A claimed route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Who holds it.
    pub agent_id: AgentId,
    /// The container's name: it survives a re-creation, its id does not.
    pub container_name: String,
    /// The container that was last seen with it.
    pub container_id: ContainerId,
    /// What its labels ask for.
    #[serde(flatten)]
    pub spec: Service,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RouteState,
}
