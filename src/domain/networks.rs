//! Whether a connector finds the service that a route names, by what is known of the Engine's networks.
//!
//! A doubt is only told: the name may be known in a way that nobody sees from here. What nobody told is no ground for one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::host_access::{embedded, ip_of};
use super::origin::address;

/// Most networks of a container, and names that it goes by there, that are kept together.
const MAX_NAMES: usize = 64;
/// Longest of them, in bytes; the Engine's own tools make far shorter ones.
const MAX_NAME: usize = 255;
/// The network of the host itself, as the Engine calls it.
const HOST: &str = "host";
/// The Engine's default network, on which it answers for no name.
const DEFAULT: &str = "bridge";
/// The Engine's own networks: containers on them do not find each other by name.
const NAMELESS: [&str; 3] = [HOST, DEFAULT, "none"];
/// Names that every system knows as itself.
const OWN_NAMES: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

/// The networks that a container is on, each with the names that it goes by there beside its own.
pub type Networks = BTreeMap<String, BTreeSet<String>>;

/// The container behind a route.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its networks.
    pub networks: &'a Networks,
}

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

/// True if as many networks and names as these are kept of one container. Of a part nothing could be concluded, so of
/// more nothing is.
pub fn fit<'a>(names: impl IntoIterator<Item = &'a String>) -> bool {
    let mut names = names.into_iter();
    names.by_ref().take(MAX_NAMES).all(|name| name.len() <= MAX_NAME) && names.next().is_none()
}

/// Returns every name in there, of networks and of the container on them.
pub fn names(networks: &Networks) -> impl Iterator<Item = &String> {
    networks.iter().flat_map(|(network, names)| std::iter::once(network).chain(names))
}

/// Says why the connector may not find a service. `target` is the container that asks for the route, if its networks are
/// known: what goes by another name is none of its business.
pub fn doubt(service: &str, target: Option<Target<'_>>, connector: Connector<'_>) -> Option<Doubt> {
    let (host, _) = address(service)?;
    if is_own(host) {
        return own_host(host, connector);
    }
    let reason = match connector {
        Connector::On(networks) if !networks.is_empty() => target?.unfound(host, networks)?,
        _ => return None,
    };
    Some(Doubt { reason, is_certain: true })
}

impl Target<'_> {
    /// Says why a connector on these networks does not find it by a name of its own.
    fn unfound(&self, host: &str, connector: &BTreeSet<String>) -> Option<String> {
        let is_host = |name: &str| name.eq_ignore_ascii_case(host.trim_end_matches('.'));
        let goes_by = |names: &BTreeSet<String>| is_host(self.name) || names.iter().any(|name| is_host(name));
        if !is_host(self.name) && !self.networks.values().any(goes_by) {
            return None;
        }
        let shared: Vec<(&String, &BTreeSet<String>)> =
            self.networks.iter().filter(|(network, _)| connector.contains(*network)).collect();
        let has_names = |network: &str| !NAMELESS.contains(&network);
        if shared.iter().any(|(network, names)| has_names(network) && goes_by(names)) {
            return None;
        }
        let of_connector = listed(connector.iter());
        let way_out = match (
            shared.iter().find(|(network, _)| has_names(network)),
            connector.iter().find(|n| has_names(n)),
        ) {
            (Some((network, _)), _) => {
                return Some(format!(
                    "the container does not go by `{host}` on network `{network}`, where the connector looks for it; \
                     name `{}`",
                    self.name
                ));
            }
            _ if self.networks.contains_key(HOST) && !connector.contains(HOST) => {
                "it is on the host's own network: name `host.docker.internal`".to_owned()
            }
            (None, Some(network)) => format!("connect it to `{network}`"),
            (None, None) if connector.contains(HOST) => {
                "publish a port of it on the host and name `localhost`, or give the connector a network with \
                 `CLOUDFLARED_NETWORK_NAME`"
                    .to_owned()
            }
            (None, None) => {
                "no container is found by its name there: set `CLOUDFLARED_NETWORK_NAME` to a network \
                             that you made, and connect the container to it"
                    .to_owned()
            }
        };
        Some(match self.networks.is_empty() {
            true => format!(
                "the connector, on {of_connector}, does not find `{host}`: the container is on no network of its own; {way_out}"
            ),
            false => format!(
                "the connector, on {of_connector}, does not find `{host}`: the container is on {}; {way_out}",
                listed(self.networks.keys())
            ),
        })
    }
}

/// The first few, for a sentence.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 4;
    let total = names.len();
    let mut shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    if total > SHOWN {
        shown.push(format!("{} more", total - SHOWN));
    }
    shown.join(", ")
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
pub(super) fn is_own(host: &str) -> bool {
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
        let service = parse_service(service).unwrap_or_else(|error| panic!("{service}: {error}"));
        doubt(&service, None, connector)
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
    fn a_container_is_found_by_its_names_on_a_network_that_both_are_on() {
        // The container is called `app` everywhere, `web` on `edge` and `store` on `inner`.
        for (host, its, connectors, part) in [
            ("app", &["edge"][..], &["edge"][..], None),
            ("APP.", &["edge"], &["edge"], None),
            ("web", &["edge"], &["edge"], None),
            ("web", &["edge", "inner"], &["edge", "x"], None),
            ("app", &["inner"], &["edge"], Some("the container is on `inner`; connect it to `edge`")),
            ("app", &["bridge"], &["edge"], Some("the container is on `bridge`; connect it to `edge`")),
            ("app", &[], &["edge"], Some("on no network of its own; connect it to `edge`")),
            ("app", &["none"], &["edge"], Some("connect it to `edge`")),
            ("app", &["bridge"], &["bridge", "edge"], Some("connect it to `edge`")),
            ("app", &["bridge"], &["bridge"], Some("no container is found by its name there")),
            (
                "app",
                &["edge"],
                &["bridge"],
                Some("set `CLOUDFLARED_NETWORK_NAME` to a network that you made"),
            ),
            ("app", &["edge"], &["host"], Some("publish a port of it on the host and name `localhost`")),
            ("app", &["host"], &["host"], Some("name `localhost`")),
            ("app", &["host"], &["edge"], Some("name `host.docker.internal`")),
            ("store", &["edge", "inner"], &["edge"], Some("does not go by `store` on network `edge`")),
            ("store", &["inner"], &["edge"], Some("does not find `store`")),
            ("web", &["inner"], &["edge"], None),
            ("db", &["inner"], &["edge"], None),
            ("app.example.com", &["inner"], &["edge"], None),
            ("10.0.0.1", &["inner"], &["edge"], None),
            ("host.docker.internal", &["inner"], &["edge"], None),
            ("app", &["inner"], &[], None),
        ] {
            let other = |network: &str| match network {
                "edge" => on(&["web", "0123456789ab"]),
                "inner" => on(&["store"]),
                _ => on(&[]),
            };
            let networks: Networks =
                its.iter().map(|&network| (network.to_owned(), other(network))).collect();
            let (target, connector) = (Target { name: "app", networks: &networks }, on(connectors));
            let found = doubt(&format!("http://{host}:80"), Some(target), Connector::On(&connector));
            let reason = found.as_ref().map(|found| found.reason.as_str());
            assert_eq!(reason.is_some(), part.is_some(), "{host} {its:?} {connectors:?}: {reason:?}");
            assert!(part.is_none_or(|part| reason.unwrap_or_default().contains(part)), "{host}: {reason:?}");
            assert!(found.is_none_or(|found| found.is_certain));
        }
    }

    #[test]
    fn where_networks_are_not_told_nothing_is_claimed_of_names() {
        let (inner, edge) = (Networks::from([("inner".into(), on(&[]))]), on(&["edge"]));
        let target = Target { name: "app", networks: &inner };
        for (target, connector) in [
            (None, Connector::On(&edge)),
            (Some(target), Connector::Untold),
            (Some(target), Connector::Unknown),
        ] {
            assert_eq!(doubt("http://app:80", target, connector), None, "{target:?} {connector:?}");
        }
    }

    #[test]
    fn many_networks_make_no_long_sentence() {
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(listed(names(2).iter()), "`0`, `1`");
        assert_eq!(listed(names(9).iter()), "`0`, `1`, `2`, `3`, 5 more");
    }

    #[test]
    fn of_more_networks_and_names_than_are_kept_none_is() {
        let many = |count: usize| (0..count).map(|number| number.to_string()).collect::<BTreeSet<_>>();
        assert!(fit(&many(MAX_NAMES)) && fit(&many(0)));
        assert!(!fit(&many(MAX_NAMES + 1)));
        assert!(!fit(&on(&["a", &"x".repeat(MAX_NAME + 1)])));
        let networks = |aliases| Networks::from([("edge".to_owned(), many(aliases))]);
        assert!(fit(names(&networks(MAX_NAMES - 1))) && !fit(names(&networks(MAX_NAMES))));
    }
}
