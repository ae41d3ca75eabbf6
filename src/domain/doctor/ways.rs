//! Ways through the network: names, ports, and the proxies that the environment names.

use super::{Check, listed};

/// How a name was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// To these addresses.
    To(Vec<String>),
    /// Not at all, for this reason.
    Failed(String),
}

/// Judges how a name was resolved.
pub fn judge_name(host: &str, resolved: &Resolved) -> Check {
    let name = format!("Name {host}");
    match resolved {
        Resolved::To(addresses) if !addresses.is_empty() => Check::fine(name, listed(addresses)),
        Resolved::To(_) => Check::problem(name, "it has no address", NAMES),
        Resolved::Failed(reason) => Check::problem(name, format!("it is not resolved: {reason}"), NAMES),
    }
}

const NAMES: &str = "look at the name servers in /etc/resolv.conf, and whether they answer from here; in a container also at \
    `dns` of its network";

/// What came of a packet to a port of UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// It was answered.
    Answered,
    /// Nothing came back.
    Silence,
    /// The way is closed, or could not be tried, for this reason.
    Failed(String),
}

/// What was seen of the edge: where tunnels lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Its port.
    pub port: u16,
    /// Hosts of it that took a connection over TCP.
    pub tcp: Vec<String>,
    /// Those that did not, each with its reason.
    pub no_tcp: Vec<String>,
    /// What came of a packet over UDP; the best of all hosts.
    pub udp: Packet,
    /// How the connector is told to go (`tunnel.protocol`).
    pub protocol: Option<String>,
}

impl Edge {
    /// Judges it: only the protocol that the connector uses counts.
    pub fn judge(&self) -> Vec<Check> {
        let protocol = self.protocol.as_deref().unwrap_or("auto");
        let mut checks = Vec::new();
        if protocol != "quic" {
            checks.push(self.tcp());
        }
        if protocol != "http2" {
            checks.push(self.udp(protocol));
        }
        checks
    }

    fn tcp(&self) -> Check {
        let name = format!("Way to Cloudflare's edge, TCP {}", self.port);
        match self.tcp.is_empty() {
            false => Check::fine(name, format!("{} took the connection", listed(&self.tcp))),
            true => Check::problem(
                name,
                listed(&self.no_tcp),
                format!(
                    "let connectors on this host reach port {} over TCP; no tunnel connects without",
                    self.port
                ),
            ),
        }
    }

    fn udp(&self, protocol: &str) -> Check {
        let name = format!("Way to Cloudflare's edge, UDP {}", self.port);
        let way_out = match protocol {
            "quic" => "let UDP through, or set TUNNEL_TRANSPORT_PROTOCOL=http2, which goes over TCP",
            _ => {
                "the connector falls back to TCP by itself; set TUNNEL_TRANSPORT_PROTOCOL=http2 if its log shows that it \
                  tries for long"
            }
        };
        match &self.udp {
            Packet::Answered => Check::fine(name, "a QUIC packet was answered"),
            Packet::Silence => Check::not_checked(
                name,
                "a QUIC packet was not answered: UDP may be blocked on the way, or the edge does not answer who is no \
                 connector",
                way_out,
            ),
            Packet::Failed(reason) if protocol == "quic" => Check::problem(name, reason.clone(), way_out),
            Packet::Failed(reason) => Check::not_checked(name, reason.clone(), way_out),
        }
    }
}

/// Judges the proxies that the environment names: variable, and address without its password.
pub fn judge_proxies(set: &[(String, String)]) -> Check {
    let name = "Proxies in the environment";
    if set.is_empty() {
        return Check::fine(name, "none");
    }
    let words: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let is_list = |name: &str| name.eq_ignore_ascii_case("no_proxy");
    let odd = set.iter().find(|(name, value)| !is_list(name) && !is_address(value));
    match odd {
        Some((variable, value)) => Check::problem(
            name,
            format!("{variable} is `{value}`, which is no address of a proxy"),
            format!("write it as in `{variable}=http://proxy.example.com:3128`, or unset it"),
        ),
        None => Check::fine(
            name,
            format!(
                "{}; calls go through them, but for those to this machine itself; a connector uses none",
                words.join(", ")
            ),
        ),
    }
}

fn is_address(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split('/').next().unwrap_or_default();
    !host.is_empty() && !host.contains(char::is_whitespace)
}

/// A packet that every server of QUIC answers: it asks for a version that cannot be, so the answer is a list of versions.
pub fn quic_greeting() -> [u8; GREETING] {
    let mut packet = [0; GREETING];
    // A long header, a version that is reserved for this, and a connection id of eight bytes each way.
    let head = [0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1];
    for (place, byte) in packet.iter_mut().zip(head) {
        *place = byte;
    }
    packet
}

/// Smaller ones are dropped, so that nobody can have a server send more than he did.
const GREETING: usize = 1_200;

/// True for the answer to [`quic_greeting`]: a long header with version 0, to our connection.
pub fn is_quic_answer(packet: &[u8]) -> bool {
    let to_us = [0, 0, 0, 0, 8, 8, 7, 6, 5, 4, 3, 2, 1];
    packet.first().is_some_and(|first| first & 0x80 != 0) && packet.get(1..14) == Some(to_us.as_slice())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fine, NotChecked, Problem};
    use super::*;

    #[test]
    fn only_the_protocol_of_the_connector_is_judged() {
        let edge = |protocol: Option<&str>, tcp: bool, udp: Packet| Edge {
            port: 7844,
            tcp: if tcp { vec!["region1".into()] } else { vec![] },
            no_tcp: if tcp { vec![] } else { vec!["region1: timed out".into()] },
            udp,
            protocol: protocol.map(str::to_owned),
        };
        let closed = || Packet::Failed("port unreachable".into());
        for (edge, verdicts) in [
            (edge(None, true, Packet::Answered), vec![Fine, Fine]),
            (edge(Some("auto"), true, Packet::Silence), vec![Fine, NotChecked]),
            (edge(Some("auto"), true, closed()), vec![Fine, NotChecked]),
            (edge(None, false, Packet::Answered), vec![Problem, Fine]),
            (edge(Some("http2"), true, Packet::Silence), vec![Fine]),
            (edge(Some("quic"), false, Packet::Silence), vec![NotChecked]),
            (edge(Some("quic"), false, closed()), vec![Problem]),
        ] {
            let found: Vec<_> = edge.judge().iter().map(|check| check.verdict).collect();
            assert_eq!(found, verdicts, "{edge:?}");
        }
    }

    #[test]
    fn names_and_proxies_are_judged_by_what_they_lead_to() {
        let name = |resolved| judge_name("m.example.com", &resolved).verdict;
        assert_eq!(name(Resolved::To(vec!["192.0.2.1".into()])), Fine);
        assert_eq!(name(Resolved::To(vec![])), Problem);
        assert_eq!(name(Resolved::Failed("no such name".into())), Problem);
        for (set, verdict) in [
            (vec![], Fine),
            (vec![("HTTPS_PROXY", "http://u:***@proxy:3128")], Fine),
            (vec![("https_proxy", "proxy:3128"), ("NO_PROXY", "a b")], Fine),
            (vec![("HTTP_PROXY", "http://")], Problem),
            (vec![("HTTP_PROXY", "my proxy")], Problem),
        ] {
            let set: Vec<_> =
                set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(judge_proxies(&set).verdict, verdict, "{set:?}");
        }
    }

    #[test]
    fn the_answer_to_a_greeting_is_a_list_of_versions_for_us() {
        let greeting = quic_greeting();
        // Forced negotiation is asked for by versions of the form 0x?a?a?a?a.
        assert!(greeting[1..5].iter().all(|byte| byte & 0x0f == 0x0a) && greeting.len() == 1_200);
        let mut answer = vec![0x80, 0, 0, 0, 0, 8];
        answer.extend(&greeting[15..23]);
        answer.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]);
        assert!(is_quic_answer(&answer));
        for wrong in [&answer[..4], &greeting[..], b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), &[]] {
            assert!(!is_quic_answer(wrong));
        }
    }
}
