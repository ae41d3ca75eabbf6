//! Routes: public names and the services behind them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::AccessAsk;
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
#[serde(from = "StoredService", into = "StoredService")]
pub struct Service {
    /// Hostname and path.
    pub key: RouteKey,
    /// Where requests go, such as `http://app:8080`.
    pub service: String,
    /// Options towards it.
    pub origin_request: OriginRequest,
    /// Zone the labels name.
    pub zone_name: Option<String>,
    /// What it asks of Cloudflare Access.
    pub access: AccessAsk,
}

/// A service as it is written down.
#[derive(Serialize, Deserialize)]
struct StoredService {
    #[serde(flatten)]
    key: RouteKey,
    service: String,
    #[serde(default)]
    origin_request: OriginRequest,
    #[serde(default)]
    zone_name: Option<String>,
    /// True if somebody is to be kept out. An older release knows no more than that, and holds such a route back: so it
    /// does after a step back to it, too.
    #[serde(default)]
    has_access_labels: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<AccessAsk>,
}

impl From<StoredService> for Service {
    fn from(stored: StoredService) -> Self {
        let StoredService { key, service, origin_request, zone_name, has_access_labels, access } = stored;
        let access = access.unwrap_or_else(|| AccessAsk::of_old_record(has_access_labels));
        Self { key, service, origin_request, zone_name, access }
    }
}

impl From<Service> for StoredService {
    fn from(service: Service) -> Self {
        let Service { key, service, origin_request, zone_name, access } = service;
        let has_access_labels = access.keeps_out();
        let access = (!access.is_plain()).then_some(access);
        Self { key, service, origin_request, zone_name, has_access_labels, access }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::id::GroupId;
    use super::*;

    fn stored(more: serde_json::Value) -> serde_json::Value {
        let mut stored = json!({"hostname": "a.example.com", "path": "", "service": "http://a"});
        stored.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stored
    }

    #[test]
    fn what_an_older_release_wrote_of_protection_waits_until_it_is_known() {
        for (more, access) in [
            (json!({}), AccessAsk::Nothing),
            (json!({"has_access_labels": false}), AccessAsk::Nothing),
            (json!({"has_access_labels": true}), AccessAsk::Unreadable { reasons: vec![] }),
            (json!({"has_access_labels": true, "access": {"kind": "inherit"}}), AccessAsk::Inherit),
        ] {
            let read: Service = serde_json::from_value(stored(more.clone())).unwrap();
            assert_eq!(read.access, access, "{more}");
        }
    }

    #[test]
    fn an_older_release_reads_whether_somebody_is_to_be_kept_out() {
        let staff = AccessAsk::Groups { groups: vec![GroupId::new("staff")] };
        for (access, is_held_back) in [
            (AccessAsk::Nothing, false),
            (AccessAsk::Public, false),
            (AccessAsk::Inherit, true),
            (staff, true),
        ] {
            let read: Service = serde_json::from_value(stored(json!({}))).unwrap();
            let service = Service { access, ..read };
            let written = serde_json::to_value(&service).unwrap();
            assert_eq!(written["has_access_labels"], is_held_back, "{written}");
            assert_eq!(serde_json::from_value::<Service>(written).unwrap(), service);
        }
    }
}
