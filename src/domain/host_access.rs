//! Services that open more than a site: the host, or its network, as a whole.
//!
//! Who may start a container may write its labels. A label can publish one program of that container; it must not hand
//! over the machine it runs on, or what the machine may do in its cloud, unless the operator says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::origin::address;

/// What visitors would get beside a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// Connections to whatever the connector reaches.
    Network,
    /// A program that makes containers: who reaches it is root on the host.
    Engine,
    /// The cloud's own service, which hands out the machine's credentials, and neighbours on the same link.
    Metadata,
}

impl Opens {
    /// Says it for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "everything that the connector reaches",
            Self::Engine => "the container engine, and with it the whole host",
            Self::Metadata => "the machine's own credentials at its cloud, or its neighbours on the link",
        }
    }
}

/// Ports on which a Docker Engine, or a proxy before its socket, listens.
const ENGINE_PORTS: [u16; 2] = [2375, 2376];
/// Names of sockets behind which somebody makes containers, wherever they are mounted.
const ENGINE_SOCKETS: [&str; 9] = [
    "docker.sock",
    "docker.raw.sock",
    "dockerd.sock",
    "cri-dockerd.sock",
    "podman.sock",
    "containerd.sock",
    "crio.sock",
    "buildkitd.sock",
    "unix.socket",
];
/// Names under which clouds offer what they offer at [`METADATA`].
const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "metadata.packet.net",
    "instance-data",
    "instance-data.ec2.internal",
];
/// Addresses of such services that are not link-local.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];
/// Domains in which every address has a name.
const NAMES_OF_ADDRESSES: [&str; 4] = [".nip.io", ".sslip.io", ".xip.io", ".traefik.me"];

/// Says what a kept service opens beside a site; `None` for an ordinary one, also on localhost or a private address.
pub fn opens(service: &str) -> Option<Opens> {
    if matches!(service, "bastion" | "socks-proxy") {
        return Some(Opens::Network);
    }
    if let Some(path) = service.strip_prefix("unix:").or_else(|| service.strip_prefix("unix+tls:")) {
        return is_engine_socket(path).then_some(Opens::Engine);
    }
    let (host, port) = address(service)?;
    if port.and_then(|port| port.parse().ok()).is_some_and(|port: u16| ENGINE_PORTS.contains(&port)) {
        return Some(Opens::Engine);
    }
    let is_metadata = match ip_of(host) {
        Some(ip) => is_metadata(ip),
        None => is_metadata_name(host),
    };
    is_metadata.then_some(Opens::Metadata)
}

fn is_engine_socket(path: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let name = parts.last().copied().unwrap_or_default().to_ascii_lowercase();
    let is_ours = name == "admin.sock"
        && (parts.iter().any(|part| part.contains("lightship"))
            || parts[..] == ["app", "data", "admin.sock"]);
    // Below `/proc` there are ways to every file of the host.
    is_ours || parts.first() == Some(&"proc") || ENGINE_SOCKETS.contains(&name.as_str())
}

/// Reads an address as the system's resolver does, which knows more spellings than four decimal numbers.
pub(super) fn ip_of(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse().ok().map(IpAddr::V6);
    }
    match url::Host::parse(host.trim_end_matches('.')) {
        Ok(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        _ => None,
    }
}

fn is_metadata(ip: IpAddr) -> bool {
    let inner = match ip {
        IpAddr::V4(ip) => return ip.is_link_local() || METADATA.contains(&IpAddr::V4(ip)),
        IpAddr::V6(ip) if ip.is_unicast_link_local() || METADATA.contains(&IpAddr::V6(ip)) => return true,
        IpAddr::V6(ip) => embedded(ip),
    };
    inner.is_some_and(|ip| is_metadata(IpAddr::V4(ip)))
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, translated (NAT64) or 6to4.
pub(super) fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, _, _, _, _, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn is_metadata_name(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    METADATA_NAMES.contains(&name.as_str())
        || NAMES_OF_ADDRESSES
            .iter()
            .find_map(|domain| name.strip_suffix(domain))
            .is_some_and(names_a_metadata_address)
}

/// Looks at a name such as `app.169-254-169-254`, `169.254.169.254` or `a9fea9fe`.
fn names_a_metadata_address(front: &str) -> bool {
    let parts: Vec<&str> = front.split(['.', '-']).collect();
    let dotted = parts.windows(4).filter_map(|four| four.join(".").parse().ok()).map(IpAddr::V4);
    let hexadecimal =
        parts.iter().filter(|part| part.len() == 8).filter_map(|part| u32::from_str_radix(part, 16).ok());
    let colons = front.split('.').filter_map(|label| label.replace('-', ":").parse().ok()).map(IpAddr::V6);
    dotted.chain(hexadecimal.map(|bits| IpAddr::V4(bits.into()))).chain(colons).any(is_metadata)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::origin::parse_service;
    use super::*;

    fn opened(service: &str) -> Option<Opens> {
        opens(&parse_service(service).unwrap_or_else(|error| panic!("{service}: {error}")))
    }

    #[test]
    fn what_opens_the_host_or_its_network_is_told_from_a_site() {
        for (service, expected) in [
            ("bastion", Some(Opens::Network)),
            ("socks-proxy", Some(Opens::Network)),
            ("unix:/var/run/docker.sock", Some(Opens::Engine)),
            ("unix:/run/docker.sock", Some(Opens::Engine)),
            ("unix+tls:/run/docker.sock", Some(Opens::Engine)),
            ("unix://var//run/./x/../docker.sock/", Some(Opens::Engine)),
            ("unix:/host/run/user/1000/docker.sock", Some(Opens::Engine)),
            ("unix:/proc/1/root/run/app.sock", Some(Opens::Engine)),
            ("unix:/x/../proc/self/root/run/app.sock", Some(Opens::Engine)),
            ("unix:/run/podman/podman.sock", Some(Opens::Engine)),
            ("unix:/run/containerd/containerd.sock", Some(Opens::Engine)),
            ("unix:/var/lib/lightship/admin.sock", Some(Opens::Engine)),
            ("unix:/app/data/admin.sock", Some(Opens::Engine)),
            ("unix:/run/app/admin.sock", None),
            ("unix:/run/app.sock", None),
            ("unix:/run/docker.sock.d/app.sock", None),
            ("http://localhost:2375", Some(Opens::Engine)),
            ("http://docker-socket-proxy:2375", Some(Opens::Engine)),
            ("tcp://host.docker.internal:2376", Some(Opens::Engine)),
            ("https://[::1]:02376", Some(Opens::Engine)),
            ("http://localhost:12375", None),
            ("http://169.254.169.254", Some(Opens::Metadata)),
            ("tcp://169.254.170.2:80", Some(Opens::Metadata)),
            ("http://0xA9FEA9FE", Some(Opens::Metadata)),
            ("http://0xa9.0xfe.0xa9.0xfe", Some(Opens::Metadata)),
            ("http://0xa9.254.43518", Some(Opens::Metadata)),
            ("http://[::ffff:169.254.169.254]", Some(Opens::Metadata)),
            ("http://[::ffff:a9fe:a9fe]:80", Some(Opens::Metadata)),
            ("http://[::169.254.169.254]", Some(Opens::Metadata)),
            ("http://[64:ff9b::a9fe:a9fe]", Some(Opens::Metadata)),
            ("http://[2002:a9fe:a9fe::1]", Some(Opens::Metadata)),
            ("http://[fe80::1]", Some(Opens::Metadata)),
            ("http://[FEBF::1]:8080", Some(Opens::Metadata)),
            ("http://[fd00:ec2::254]", Some(Opens::Metadata)),
            ("http://[fd00:0ec2:0:0:0:0:0:254]", Some(Opens::Metadata)),
            ("http://100.100.100.200", Some(Opens::Metadata)),
            ("http://Metadata.Google.Internal.", Some(Opens::Metadata)),
            ("http://metadata", Some(Opens::Metadata)),
            ("http://169.254.169.254.nip.io", Some(Opens::Metadata)),
            ("http://x.169-254-169-254.sslip.io:80", Some(Opens::Metadata)),
            ("http://a9fea9fe.nip.io", Some(Opens::Metadata)),
            ("http://10-0-0-1.sslip.io", None),
            ("http://metadata.example.com", None),
            ("http://localhost:8080", None),
            ("ssh://localhost:22", None),
            ("http://127.0.0.1", None),
            ("http://[::1]:80", None),
            ("http://0.0.0.0:80", None),
            ("http://host.docker.internal:8123", None),
            ("https://10.0.0.5:8443", None),
            ("http://192.168.1.1", None),
            ("http://[fd00::2]", None),
            ("tcp://db:5432", None),
            ("http://my_app", None),
            ("http_status:404", None),
            ("hello_world", None),
        ] {
            assert_eq!(opened(service), expected, "{service}");
        }
    }

    #[test]
    fn numbers_that_are_no_address_here_are_refused_before() {
        for service in [
            "http://2852039166",
            "http://0251.0376.0251.0376",
            "http://169.254.43518",
            "http://[fe80::1%25eth0]",
            "http://169.254.169.254.:80",
        ] {
            assert!(parse_service(service).is_err(), "{service}");
        }
        for host in
            ["169.254.169.254.", "2852039166", "0251.0376.0251.0376", "169.254.43518", "0251.254.0xa9.254"]
        {
            assert!(ip_of(host).is_some_and(is_metadata), "{host}");
        }
    }

    /// One number in one of the bases that resolvers read.
    fn spelt(number: u32, base: u8) -> String {
        match base {
            0 => number.to_string(),
            1 => format!("{number:#x}"),
            2 => format!("0X{number:X}"),
            3 => format!("0x000{number:x}"),
            _ => format!("0{number:o}"),
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_link_local_address_is_seen(
            low in any::<u16>(), bases in prop::array::uniform4(0_u8..5), parts in 1_usize..=4, dot in any::<bool>()
        ) {
            let bits = 0xa9fe_0000 | u32::from(low);
            let mut numbers: Vec<u32> = (0..parts - 1).map(|i| (bits >> (24 - 8 * i)) & 0xff).collect();
            numbers.push(bits & (u32::MAX >> (8 * (parts - 1))));
            let written: Vec<_> = numbers.iter().zip(bases).map(|(number, base)| spelt(*number, base)).collect();
            let host = format!("{}{}", written.join("."), if dot { "." } else { "" });
            prop_assert_eq!(opens(&format!("http://{host}:80")), Some(Opens::Metadata), "{}", host);
            let v4 = Ipv4Addr::from(bits);
            for v6 in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
                prop_assert_eq!(opens(&format!("http://[{v6}]")), Some(Opens::Metadata), "{}", v6);
            }
        }

        #[test]
        fn every_way_to_the_socket_is_seen(ways in prop::collection::vec("\\.|[a-z]{1,4}/\\.\\.||[a-z]{1,4}", 0..5)) {
            let path = format!("unix:/{}/docker.sock", ways.join("/"));
            prop_assert_eq!(opens(&path), Some(Opens::Engine), "{}", path);
        }

        #[test]
        fn other_addresses_stay_allowed(bits in any::<u32>(), port in any::<u16>()) {
            let ip = Ipv4Addr::from(bits);
            prop_assume!(!ip.is_link_local() && !METADATA.contains(&IpAddr::V4(ip)) && !ENGINE_PORTS.contains(&port));
            prop_assert_eq!(opens(&format!("http://{ip}:{port}")), None);
        }
    }
}
