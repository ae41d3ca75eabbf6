//! The request that a visitor of a published container makes: where it goes, and what its answers say of a new one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::labels::read_labels;
use crate::domain::networks::is_own;
use crate::domain::origin::address;
use crate::domain::route::{OriginRequest, Service};

/// Statuses from here on say that a service failed, and not the one who asked.
const FAILURE: u16 = 500;
/// Name of the host inside of containers.
const HOST: &str = "host.docker.internal";

/// Where this program stands, as far as reaching containers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// On the Engine's host.
    Host,
    /// In a container of that host.
    Container,
    /// On another machine than the Engine.
    Elsewhere,
}

/// One request that a connector sends on for a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The route, as `app.example.com/api`.
    pub route: String,
    /// The service, as the label names it.
    pub service: String,
    /// Where that is; else why it cannot be asked from here.
    pub at: Result<SocketAddr, String>,
    /// The name that it is asked for.
    pub host: String,
    /// The path that it is asked for.
    pub path: String,
    /// The server's name for TLS; none where there is no TLS.
    pub server_name: Option<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An answer with this status.
    Status(u16),
    /// None, because of this.
    Nothing(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Nothing(reason) => write!(f, "nothing ({reason})"),
        }
    }
}

/// A visitor's request that was made to the old container, and what the new one answered to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visited {
    /// The route.
    pub route: String,
    /// The service.
    pub service: String,
    /// What the old one answered.
    pub before: Answer,
    /// What the new one answered, once it is good or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Answer>,
}

impl fmt::Display for Visited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, service, before, after } = self;
        match (before, after) {
            (_, None) => write!(f, "`{service}` was not asked for {route}"),
            (Answer::Nothing(_), Some(Answer::Nothing(reason))) => {
                write!(f, "`{service}` could not be asked for {route}: {reason}")
            }
            (_, Some(Answer::Status(status))) if *status < FAILURE => {
                write!(f, "`{service}` answers {status} for {route}")
            }
            (_, Some(after)) => {
                write!(f, "`{service}` answers {after} for {route}; the old one answered {before}")
            }
        }
    }
}

/// What an answer says of a new container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It serves.
    Serves,
    /// It does not, nor did the old one: no reason to go back.
    NoWorse,
    /// The old one was not heard from here either, so nobody could be asked.
    NotAsked,
    /// The old one did better.
    Worse,
}

/// Compares what a new container answers with what the old one did. That the old one was heard proves the way there; where
/// neither is, nobody here can tell whether it is the way that is missing.
pub fn compare_answers(before: &Answer, now: &Answer) -> Compared {
    match (before, now) {
        (_, Answer::Status(now)) if *now < FAILURE => Compared::Serves,
        (Answer::Status(before), Answer::Status(_)) if *before >= FAILURE => Compared::NoWorse,
        (Answer::Nothing(_), Answer::Status(_)) => Compared::NoWorse,
        (Answer::Nothing(_), Answer::Nothing(_)) => Compared::NotAsked,
        (Answer::Status(_), _) => Compared::Worse,
    }
}

/// Returns what visitors of a container ask, by its labels. `lender` is the container whose network it lives in, if any.
pub fn visits(container: &Value, lender: Option<&Value>, prefix: Option<&str>, here: Here) -> Vec<Visit> {
    let labels = container["Config"]["Labels"].as_object().into_iter().flatten();
    let labels: BTreeMap<String, String> =
        labels.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect();
    let asked = read_labels(&labels, prefix, 1).services;
    asked.iter().filter_map(|service| visit(service, container, lender.unwrap_or(container), here)).collect()
}

fn visit(service: &Service, container: &Value, network_of: &Value, here: Here) -> Option<Visit> {
    let (scheme, _) = service.service.split_once("://")?;
    let is_tls = scheme == "https";
    // What carries no web is asked by no request of ours.
    if !is_tls && scheme != "http" {
        return None;
    }
    let (host, port) = address(&service.service)?;
    let port = match port {
        Some(port) => port.parse().ok()?,
        None if is_tls => 443,
        None => 80,
    };
    let OriginRequest { http_host_header, origin_server_name, match_sni_to_host, .. } =
        &service.origin_request;
    // Somebody's name below it, where the route is for all of them.
    let visited = service.key.hostname.replacen('*', "www", 1);
    let server_name = match origin_server_name {
        Some(name) => name.clone(),
        None if *match_sni_to_host == Some(true) => visited.clone(),
        None => host.to_owned(),
    };
    let path = if service.key.path.is_empty() { "/" } else { &service.key.path };
    Some(Visit {
        route: service.key.to_string(),
        service: service.service.clone(),
        at: place([container, network_of], host, port, here),
        host: http_host_header.clone().unwrap_or(visited),
        path: path.to_owned(),
        server_name: is_tls.then_some(server_name),
    })
}

/// Where a service is that a connector reaches at `host`. Nothing but the container itself is ever asked: whoever may write
/// labels must not choose whom this program talks to.
fn place(
    [container, network_of]: [&Value; 2],
    host: &str,
    port: u16,
    here: Here,
) -> Result<SocketAddr, String> {
    if here == Here::Elsewhere {
        return Err("the Engine is on another machine".into());
    }
    let plain = host.trim_end_matches('.').trim_matches(['[', ']']);
    if let Some(ip) = own_address(container, network_of, plain) {
        return Ok(SocketAddr::new(ip, port));
    }
    let is_host = is_own(host) || plain == HOST || plain.parse::<IpAddr>().is_ok();
    let bound = if is_host { port_of_host(network_of, port) } else { None };
    match bound {
        Some(_) if here == Here::Container => Err(format!(
            "`{host}` is the host's, and this program runs in a container: name the container instead"
        )),
        Some(at) => Ok(at),
        None => Err(format!("`{host}:{port}` is no address of this container")),
    }
}

/// The container's own address on the network where it goes by `host`.
fn own_address(container: &Value, network_of: &Value, host: &str) -> Option<IpAddr> {
    let is_name = |name: &str| name.trim_start_matches('/').eq_ignore_ascii_case(host);
    let is_its_name = [container, network_of].iter().any(|one| one["Name"].as_str().is_some_and(is_name));
    let endpoints = network_of["NetworkSettings"]["Networks"].as_object()?;
    endpoints.values().find_map(|endpoint| {
        let aliases = ["Aliases", "DNSNames"].into_iter().filter_map(|key| endpoint.get(key)?.as_array());
        let mut aliases = aliases.flatten().filter_map(Value::as_str);
        let ips = ["IPAddress", "GlobalIPv6Address"];
        let ips = ips.map(|key| endpoint.get(key).and_then(Value::as_str).unwrap_or_default());
        let is_here = is_its_name || ips.contains(&host) || aliases.any(is_name);
        ips.iter().filter(|_| is_here).find_map(|ip| ip.parse().ok())
    })
}

/// Where a port of the host is that leads to a container.
fn port_of_host(container: &Value, port: u16) -> Option<SocketAddr> {
    if container["HostConfig"]["NetworkMode"] == "host" {
        return Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let ports = container["NetworkSettings"]["Ports"].as_object()?;
    let mut bound = ports.iter().filter(|(inside, _)| inside.ends_with("/tcp"));
    bound.find_map(|(_, bound)| {
        let is_it = |one: &&Value| one["HostPort"].as_str().and_then(|text| text.parse().ok()) == Some(port);
        let ip = bound.as_array()?.iter().find(is_it)?["HostIp"].as_str().unwrap_or_default();
        let ip = ip.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
        Some(SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container() -> Value {
        json!({ "Id": "1", "Name": "/shop-web-1",
            "Config": { "Labels": { "lightship.enable": "x", "dockflare.enable": "true",
                "dockflare.hostname": "shop.example.com", "dockflare.service": "http://web:8080" } },
            "HostConfig": { "NetworkMode": "edge" },
            "NetworkSettings": {
                "Networks": {
                    "back": { "IPAddress": "172.20.0.2", "Aliases": ["inner"] },
                    "edge": { "IPAddress": "172.18.0.9", "Aliases": ["web"] } },
                "Ports": { "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }], "81/tcp": null,
                    "82/tcp": [{ "HostIp": "192.168.1.5", "HostPort": "8082" }] } } })
    }

    fn asked(labels: &[(&str, &str)], here: Here) -> Vec<Visit> {
        let mut container = container();
        for (label, value) in labels {
            container["Config"]["Labels"][format!("dockflare.{label}")] = (*value).into();
        }
        visits(&container, None, None, here)
    }

    #[test]
    fn a_service_is_asked_where_the_connector_finds_it_and_nobody_else_is() {
        let at = |service: &str, here: Here| asked(&[("service", service)], here).remove(0).at;
        let no = |part: &'static str| Err(part);
        for (service, here, expected) in [
            ("http://web:8080", Here::Host, Ok("172.18.0.9:8080")),
            ("http://web:8080", Here::Container, Ok("172.18.0.9:8080")),
            ("http://web:8080", Here::Elsewhere, no("another machine")),
            ("http://inner", Here::Host, Ok("172.20.0.2:80")),
            ("https://Shop-Web-1", Here::Host, Ok("172.20.0.2:443")),
            ("http://172.18.0.9:1", Here::Host, Ok("172.18.0.9:1")),
            ("http://localhost:8080", Here::Host, Ok("127.0.0.1:8080")),
            ("http://host.docker.internal:8082", Here::Host, Ok("192.168.1.5:8082")),
            ("http://192.168.1.5:8080", Here::Host, Ok("127.0.0.1:8080")),
            ("http://localhost:8080", Here::Container, no("runs in a container")),
            ("http://localhost:22", Here::Host, no("no address of this container")),
            ("http://169.254.169.254:80", Here::Host, no("no address of this container")),
            ("http://other:8080", Here::Host, no("no address of this container")),
        ] {
            match (at(service, here), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected, "{service}"),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{service}: {reason}"),
                (found, _) => panic!("{service} from {here:?}: {found:?}"),
            }
        }
        assert!(asked(&[("service", "tcp://web:5432")], Here::Host).is_empty(), "no web");
        assert!(asked(&[("enable", "false")], Here::Host).is_empty(), "not published");
    }

    #[test]
    fn the_host_s_own_network_and_that_of_another_container_are_followed() {
        let mut on_host = container();
        on_host["HostConfig"]["NetworkMode"] = "host".into();
        on_host["NetworkSettings"] = json!({ "Networks": { "host": { "IPAddress": "" } }, "Ports": {} });
        on_host["Config"]["Labels"]["dockflare.service"] = "http://localhost:9000".into();
        let found = visits(&on_host, None, None, Here::Host).remove(0);
        assert_eq!(found.at, Ok("127.0.0.1:9000".parse().unwrap()));

        let mut guest = container();
        guest["NetworkSettings"] = json!({ "Networks": {}, "Ports": {} });
        guest["HostConfig"]["NetworkMode"] = "container:1".into();
        assert_eq!(
            visits(&guest, Some(&container()), None, Here::Host).remove(0).at,
            Ok("172.18.0.9:8080".parse().unwrap())
        );
    }

    #[test]
    fn a_request_is_the_one_that_the_connector_sends() {
        let found = asked(&[("path", "/api"), ("hostname", "*.example.com")], Here::Host).remove(0);
        assert_eq!(
            (found.route.as_str(), found.host.as_str(), found.path.as_str(), found.server_name),
            ("*.example.com/api", "www.example.com", "/api", None)
        );
        for (labels, host, server_name) in [
            (&[][..], "shop.example.com", "web"),
            (&[("httpHostHeader", "inside")], "inside", "web"),
            (&[("originsrvname", "cert.example")], "shop.example.com", "cert.example"),
            (&[("match_sni_to_host", "true")], "shop.example.com", "shop.example.com"),
        ] {
            let labels = [labels, &[("service", "https://web")]].concat();
            let found = asked(&labels, Here::Host).remove(0);
            assert_eq!((found.host.as_str(), found.server_name.as_deref()), (host, Some(server_name)));
        }
    }

    #[test]
    fn only_what_the_old_one_did_better_is_a_reason_to_go_back() {
        let (ok, moved, missing, bad) =
            (Answer::Status(200), Answer::Status(302), Answer::Status(404), Answer::Status(500));
        let none = Answer::Nothing("refused".into());
        for (before, now, expected) in [
            (&ok, &ok, Compared::Serves),
            (&ok, &moved, Compared::Serves),
            (&ok, &missing, Compared::Serves),
            (&bad, &ok, Compared::Serves),
            (&none, &ok, Compared::Serves),
            (&ok, &bad, Compared::Worse),
            (&missing, &bad, Compared::Worse),
            (&ok, &none, Compared::Worse),
            (&bad, &none, Compared::Worse),
            (&bad, &Answer::Status(503), Compared::NoWorse),
            (&none, &bad, Compared::NoWorse),
            (&none, &none, Compared::NotAsked),
        ] {
            assert_eq!(compare_answers(before, now), expected, "{before} {now}");
        }
    }
}
