//! The few options of `cloudflared` that an operator may set, and how a container shows what it was made like.

use std::collections::BTreeMap;

/// Bumped whenever what a connector is made like changes in a way that existing ones should follow: since 2 it has
/// no capabilities and no new privileges, and `host.docker.internal` leads to its host.
const FORM: u32 = 2;
/// Label by which a container shows its form and options. The Engine's own account of a container is not compared:
/// images set variables of their own, and not every Engine repeats a host or a capability as it was written.
pub const FORM_LABEL: &str = "lightship.form";

/// Name of the transport to the edge.
pub const PROTOCOL: &str = "TUNNEL_TRANSPORT_PROTOCOL";
/// Name of the version of IP on the way to the edge.
pub const EDGE_IP_VERSION: &str = "TUNNEL_EDGE_IP_VERSION";
/// Name of the switch for post-quantum key agreement.
pub const POST_QUANTUM: &str = "TUNNEL_POST_QUANTUM";
/// All of them, as `cloudflared` knows them in its environment.
pub const OPTIONS: [&str; 3] = [PROTOCOL, EDGE_IP_VERSION, POST_QUANTUM];

/// Options of a connector; what is not set is left to `cloudflared`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectorOptions(BTreeMap<&'static str, String>);

/// A value that `cloudflared` would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadOption {
    /// Which one.
    pub name: &'static str,
    /// What is expected.
    pub reason: &'static str,
}

impl ConnectorOptions {
    /// Checks what was set.
    pub fn new(
        protocol: Option<&str>,
        edge_ip_version: Option<&str>,
        post_quantum: Option<bool>,
    ) -> Result<Self, BadOption> {
        let mut options = BTreeMap::new();
        let words: [(_, _, &[&str], _); 2] = [
            (PROTOCOL, protocol, &["auto", "quic", "http2"], "expected auto, quic or http2"),
            (EDGE_IP_VERSION, edge_ip_version, &["auto", "4", "6"], "expected auto, 4 or 6"),
        ];
        for (name, given, known, reason) in words {
            let Some(given) = given else { continue };
            let word = given.trim().to_ascii_lowercase();
            if !known.contains(&word.as_str()) {
                return Err(BadOption { name, reason });
            }
            options.insert(name, word);
        }
        if let Some(is_wanted) = post_quantum {
            if is_wanted && options.get(PROTOCOL).is_some_and(|protocol| protocol == "http2") {
                return Err(BadOption {
                    name: POST_QUANTUM,
                    reason: "it needs quic, and the protocol is http2",
                });
            }
            options.insert(POST_QUANTUM, is_wanted.to_string());
        }
        Ok(Self(options))
    }

    /// Names and values for the connector's environment.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// What the form label of a container with these options says.
    pub fn form(&self) -> String {
        let options = self.variables().map(|(name, value)| format!(" {name}={value}"));
        std::iter::once(FORM.to_string()).chain(options).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloudflared_takes_is_taken_and_the_rest_is_named() {
        for (protocol, ip, quantum, expected) in [
            (None, None, None, Ok("2")),
            (Some("http2"), None, None, Ok("2 TUNNEL_TRANSPORT_PROTOCOL=http2")),
            (
                Some(" QUIC "),
                Some("auto"),
                None,
                Ok("2 TUNNEL_EDGE_IP_VERSION=auto TUNNEL_TRANSPORT_PROTOCOL=quic"),
            ),
            (None, Some("4"), Some(true), Ok("2 TUNNEL_EDGE_IP_VERSION=4 TUNNEL_POST_QUANTUM=true")),
            (
                Some("http2"),
                None,
                Some(false),
                Ok("2 TUNNEL_POST_QUANTUM=false TUNNEL_TRANSPORT_PROTOCOL=http2"),
            ),
            (Some("h2mux"), None, None, Err(PROTOCOL)),
            (Some(""), None, None, Err(PROTOCOL)),
            (None, Some("5"), None, Err(EDGE_IP_VERSION)),
            (None, Some("4 --token x"), None, Err(EDGE_IP_VERSION)),
            (Some("http2"), None, Some(true), Err(POST_QUANTUM)),
        ] {
            let options = ConnectorOptions::new(protocol, ip, quantum);
            let shown = options.as_ref().map(ConnectorOptions::form).map_err(|bad| bad.name);
            assert_eq!(shown.as_deref(), expected.as_ref().map(|form| &**form), "{protocol:?} {ip:?}");
        }
    }
}
