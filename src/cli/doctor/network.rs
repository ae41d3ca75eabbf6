//! Names, the edge of Cloudflare, and proxies.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;
use url::{Host, Url};

use super::patient::Patient;
use crate::config::Role;
use crate::domain::doctor::Check;
use crate::domain::doctor::ways::{
    Edge, Packet, Resolved, is_quic_answer, judge_name, judge_proxies, quic_greeting,
};

/// Where connectors connect to.
const EDGES: [&str; 2] = ["region1.v2.argotunnel.com:7844", "region2.v2.argotunnel.com:7844"];
/// For one name or one connection.
const LIMIT: Duration = Duration::from_secs(5);
/// For the answer to one packet; it is sent twice.
const PACKET_LIMIT: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 2;

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    let edges: Vec<String> = match patient.edges.is_empty() {
        true => EDGES.map(str::to_owned).to_vec(),
        false => patient.edges.clone(),
    };
    let (names, edge) =
        tokio::join!(join_all(names(patient).into_iter().map(check_name)), check_edges(patient, &edges));
    let mut checks = vec![judge_proxies(&patient.proxies)];
    checks.extend(names);
    checks.extend(edge);
    checks
}

/// Names that this role has to resolve by itself; a proxy resolves what is asked through it.
fn names(patient: &Patient) -> BTreeSet<String> {
    let settings = &patient.settings;
    let api = (patient.role != Role::Agent).then_some(settings.cloudflare.api_base_url.as_str());
    let master = settings.agent.master_url.as_deref().filter(|_| patient.role == Role::Agent);
    let urls = api.into_iter().chain(master).filter_map(|text| Url::parse(text.trim()).ok());
    let own = urls.filter(|url| !is_proxied(patient, url.scheme()));
    own.filter_map(|url| match url.host() {
        Some(Host::Domain(name)) => Some(name.to_owned()),
        _ => None,
    })
    .collect()
}

fn is_proxied(patient: &Patient, scheme: &str) -> bool {
    let variable = format!("{scheme}_proxy");
    let is_it = |name: &str| name.eq_ignore_ascii_case(&variable) || name.eq_ignore_ascii_case("all_proxy");
    patient.proxies.iter().any(|(name, _)| is_it(name))
}

async fn check_name(name: String) -> Check {
    let resolved = match resolve(&format!("{name}:0")).await {
        Ok(addresses) => Resolved::To(addresses.iter().map(|address| address.ip().to_string()).collect()),
        Err(reason) => Resolved::Failed(reason),
    };
    judge_name(&name, &resolved)
}

/// Returns the addresses of `host:port`, each once.
async fn resolve(place: &str) -> Result<Vec<SocketAddr>, String> {
    match timeout(LIMIT, lookup_host(place)).await {
        Ok(Ok(found)) => Ok(found.collect::<BTreeSet<_>>().into_iter().collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

async fn check_edges(patient: &Patient, places: &[String]) -> Vec<Check> {
    if patient.role == Role::Master {
        return Vec::new();
    }
    let version = patient.settings.tunnel.edge_ip_version.clone();
    let tried = join_all(places.iter().map(|place| try_edge(place, version.as_deref()))).await;
    let port = places.iter().find_map(|place| place.rsplit_once(':')?.1.parse().ok()).unwrap_or(7844);
    let mut edge = Edge {
        port,
        tcp: Vec::new(),
        no_tcp: Vec::new(),
        udp: Packet::Failed("no address to try".into()),
        protocol: patient.settings.tunnel.protocol.clone(),
    };
    for (place, (tcp, udp)) in places.iter().zip(tried) {
        match tcp {
            Ok(()) => edge.tcp.push(place.clone()),
            Err(reason) => edge.no_tcp.push(format!("{place}: {reason}")),
        }
        edge.udp = better(edge.udp, udp);
    }
    edge.judge()
}

/// One host that answers is enough.
fn better(one: Packet, other: Packet) -> Packet {
    match (one, other) {
        (Packet::Answered, _) | (_, Packet::Answered) => Packet::Answered,
        (Packet::Silence, _) | (_, Packet::Silence) => Packet::Silence,
        (_, failed) => failed,
    }
}

async fn try_edge(place: &str, ip_version: Option<&str>) -> (Result<(), String>, Packet) {
    let addresses = match resolve(place).await {
        Ok(addresses) => addresses,
        Err(reason) => {
            let reason = format!("it is not resolved: {reason}");
            return (Err(reason.clone()), Packet::Failed(reason));
        }
    };
    let fits = |address: &SocketAddr| match ip_version {
        Some("4") => address.is_ipv4(),
        Some("6") => address.is_ipv6(),
        _ => true,
    };
    let tried: Vec<SocketAddr> = addresses.into_iter().filter(fits).take(ADDRESSES).collect();
    let (tcp, udp) = tokio::join!(
        join_all(tried.iter().map(|address| connect(*address))),
        join_all(tried.iter().map(|address| greet(*address))),
    );
    let nothing = || "it has no address of the wanted kind".to_owned();
    let tcp = match tcp.iter().any(Result::is_ok) {
        true => Ok(()),
        false => Err(tcp.into_iter().find_map(Result::err).unwrap_or_else(nothing)),
    };
    (tcp, udp.into_iter().reduce(better).unwrap_or_else(|| Packet::Failed(nothing())))
}

async fn connect(address: SocketAddr) -> Result<(), String> {
    match timeout(LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", LIMIT.as_secs())),
    }
}

/// Sends a packet of QUIC that every server of it answers.
async fn greet(address: SocketAddr) -> Packet {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let asked = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        let mut answer = [0; 1_500];
        for _ in 0..2 {
            socket.send(&quic_greeting()).await?;
            if let Ok(received) = timeout(PACKET_LIMIT, socket.recv(&mut answer)).await {
                let length = received?;
                return Ok(is_quic_answer(answer.get(..length).unwrap_or_default()));
            }
        }
        Ok::<_, std::io::Error>(false)
    };
    match asked.await {
        Ok(true) => Packet::Answered,
        Ok(false) => Packet::Silence,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Packet::Failed("the port is closed on the way".into())
        }
        Err(error) => Packet::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_of_quic_is_told_from_silence_and_from_a_closed_port() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut packet = [0; 1_500];
            let (length, from) = server.recv_from(&mut packet).await.unwrap();
            assert_eq!(length, 1_200);
            let mut answer = vec![0x80, 0, 0, 0, 0, 8];
            answer.extend(&packet[15..23]);
            answer.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]);
            server.send_to(&answer, from).await.unwrap();
        });
        assert_eq!(greet(address).await, Packet::Answered);
        serving.await.unwrap();

        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(greet(silent.local_addr().unwrap()).await, Packet::Silence);
        let closed = silent.local_addr().unwrap();
        drop(silent);
        assert!(matches!(greet(closed).await, Packet::Failed(_)));
    }

    #[test]
    fn one_host_that_answers_is_enough() {
        let failed = || Packet::Failed("no".into());
        for (one, other, expected) in [
            (Packet::Answered, failed(), Packet::Answered),
            (failed(), Packet::Answered, Packet::Answered),
            (Packet::Silence, failed(), Packet::Silence),
            (failed(), failed(), failed()),
        ] {
            assert_eq!(better(one, other), expected);
        }
    }
}
