//! Whether a connector finds the service that a route names, by what is known of the Engine's networks.
//!
//! A doubt is only told: the name may be known in a way that nobody sees from here. What nobody told is no ground for one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::host_access::{embedded, ip_of};
use super::origin::address;

/// Most networks of a connector that are kept.
const MAX_NETWORKS: usize = 64;
/// Longest name of a network that is kept, in bytes; the Engine's own tools make far shorter ones.
const MAX_NAME: usize = 255;
/// The network of the host itself, as the Engine calls it.
const HOST: &str = "host";
/// Names that every system knows as itself.
const OWN_NAMES: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

/// What is known of the networks that a connector is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector<'a> {
    /// These, by the word of its agent.
    On(&'a BTreeSet<String>),
    /// Its agent speaks DockFlare's dialect, which has no word for them.
    Untold,
    /// Nobody knows: it was not seen yet, or it is none of the agent's.
    Unknown,
}

/// Why a route that is published may lead nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// In words for a person, with the way out.
    pub reason: String,
    /// False if it hangs on something that nobody told.
    pub is_certain: bool,
}

/// Returns the networks that a connector is on, if there are not more than are kept: of a part nothing could be concluded.
pub fn kept(networks: BTreeSet<String>) -> Option<BTreeSet<String>> {
    let fits = networks.len() <= MAX_NETWORKS && networks.iter().all(|name| name.len() <= MAX_NAME);
    fits.then_some(networks)
}

/// Says why the connector may not find a service.
pub fn doubt(service: &str, connector: Connector<'_>) -> Option<Doubt> {
    let (host, _) = address(service)?;
    if is_own(host) { own_host(host, connector) } else { None }
}

/// A service on the connector's own localhost is one on the host only if the connector is on the host's network.
fn own_host(host: &str, connector: Connector<'_>) -> Option<Doubt> {
    let way_out = "name the container, or `host.docker.internal` for what runs on the host itself";
    match connector {
        // One that is on no network of its own shares that of another container, and so its localhost.
        Connector::On(networks) if networks.is_empty() || networks.contains(HOST) => None,
        Connector::On(_) => Some(Doubt {
            reason: format!("`{host}` is the connector's own localhost; {way_out}"),
            is_certain: true,
        }),
        Connector::Untold => Some(Doubt {
            reason: format!(
                "`{host}` is the connector's own localhost, unless `CLOUDFLARED_NETWORK_NAME` of its DockFlare agent is \
                 `host`, which that agent does not tell; {way_out}"
            ),
            is_certain: false,
        }),
        Connector::Unknown => None,
    }
}

/// True for what every system takes for itself.
fn is_own(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_itself = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    let by_address = ip_of(host).is_some_and(|ip| {
        let inside = match ip {
            IpAddr::V6(ip) => embedded(ip).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        is_itself(ip) || inside.is_some_and(is_itself)
    });
    by_address || OWN_NAMES.contains(&name.as_str()) || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::super::origin::parse_service;
    use super::*;

    fn on(networks: &[&str]) -> BTreeSet<String> {
        networks.iter().map(|&name| name.to_owned()).collect()
    }

    fn said(service: &str, connector: Connector<'_>) -> Option<Doubt> {
        doubt(&parse_service(service).unwrap_or_else(|error| panic!("{service}: {error}")), connector)
    }

    #[test]
    fn every_spelling_of_localhost_is_the_connectors_own_and_nothing_else_is() {
        let edge = on(&["cloudflare-net"]);
        for (service, is_own) in [
            ("http://localhost:8080", true),
            ("https://LocalHost", true),
            ("http://localhost.:80", true),
            ("http://app.localhost", true),
            ("http://localhost.localdomain", true),
            ("http://ip6-localhost:80", true),
            ("http://ip6-loopback:80", true),
            ("tcp://127.0.0.1:5432", true),
            ("ssh://127.8.9.10:22", true),
            ("http://0x7f.1", true),
            ("http://0.0.0.0:80", true),
            ("http://[::1]:80", true),
            ("http://[0:0:0:0:0:0:0:1]", true),
            ("http://[::]:80", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://128.0.0.1", false),
            ("http://10.0.0.1", false),
            ("http://[fd00::1]", false),
            ("http://app", false),
            ("http://notlocalhost", false),
            ("http://localhost.example.com", false),
            ("http://host.docker.internal:8123", false),
            ("unix:/run/localhost", false),
            ("http_status:404", false),
            ("hello_world", false),
        ] {
            assert_eq!(said(service, Connector::On(&edge)).is_some(), is_own, "{service}");
        }
    }

    #[test]
    fn whose_localhost_it_is_is_claimed_only_where_the_connectors_network_is_known() {
        let (edge, host, none) = (on(&["cloudflare-net"]), on(&["host"]), on(&[]));
        for (connector, certain) in [
            (Connector::On(&edge), Some(true)),
            (Connector::On(&host), None),
            (Connector::On(&none), None),
            (Connector::Untold, Some(false)),
            (Connector::Unknown, None),
        ] {
            let doubt = said("http://localhost:8080", connector);
            assert_eq!(doubt.as_ref().map(|doubt| doubt.is_certain), certain, "{connector:?}");
            if let Some(Doubt { reason, .. }) = doubt {
                assert!(reason.starts_with("`localhost` is the connector's own localhost"), "{reason}");
                assert!(reason.contains("name the container, or `host.docker.internal`"), "{reason}");
            }
        }
    }

    #[test]
    fn of_a_connector_on_more_networks_than_are_kept_none_is() {
        let many = |count: usize| (0..count).map(|number| number.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(kept(many(MAX_NETWORKS)), Some(many(MAX_NETWORKS)));
        assert_eq!(kept(many(MAX_NETWORKS + 1)), None);
        assert_eq!(kept(on(&["a", &"x".repeat(MAX_NAME + 1)])), None);
    }
}
