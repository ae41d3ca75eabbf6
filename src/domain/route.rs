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
    /// Seconds that a connection to the service may take to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<u32>,
    /// Seconds that TLS may take to be agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_timeout: Option<u32>,
    /// Seconds between the signs of life of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_keep_alive: Option<u32>,
    /// Seconds after which a connection that nobody uses is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_timeout: Option<u32>,
    /// Most connections that are kept although nobody uses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_connections: Option<u32>,
    /// Do not try IPv4 and IPv6 side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_happy_eyeballs: Option<bool>,
    /// File where the connector runs, with the authorities that may sign the service's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pool: Option<String>,
    /// `socks`: the connector speaks SOCKS to the service's clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_type: Option<String>,
    /// What the connector checks of each request's Access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessCheck>,
}

/// What the connector checks of the token that Cloudflare Access puts on a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessCheck {
    /// Refuse requests without a good one.
    pub required: bool,
    /// The team that has to have given it out.
    pub team_name: String,
    /// The applications for which it has to be: one of these.
    pub aud_tag: Vec<String>,
}

impl OriginRequest {
    /// Takes up what is set in `other`.
    pub fn take_from(&mut self, other: Self) {
        let own = std::mem::take(self);
        *self = Self {
            no_tls_verify: other.no_tls_verify.or(own.no_tls_verify),
            origin_server_name: other.origin_server_name.or(own.origin_server_name),
            http_host_header: other.http_host_header.or(own.http_host_header),
            http2_origin: other.http2_origin.or(own.http2_origin),
            disable_chunked_encoding: other.disable_chunked_encoding.or(own.disable_chunked_encoding),
            match_sni_to_host: other.match_sni_to_host.or(own.match_sni_to_host),
            connect_timeout: other.connect_timeout.or(own.connect_timeout),
            tls_timeout: other.tls_timeout.or(own.tls_timeout),
            tcp_keep_alive: other.tcp_keep_alive.or(own.tcp_keep_alive),
            keep_alive_timeout: other.keep_alive_timeout.or(own.keep_alive_timeout),
            keep_alive_connections: other.keep_alive_connections.or(own.keep_alive_connections),
            no_happy_eyeballs: other.no_happy_eyeballs.or(own.no_happy_eyeballs),
            ca_pool: other.ca_pool.or(own.ca_pool),
            proxy_type: other.proxy_type.or(own.proxy_type),
            access: other.access.or(own.access),
        };
    }
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
    /// A person handed the name over to a rule of his own.
    TakenOver,
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
