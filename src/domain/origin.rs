//! Services behind routes: what an ingress rule may point at.

use super::text::is_hidden;

/// Schemes of web services, which may leave out the port.
const WEB: [&str; 4] = ["http", "https", "ws", "wss"];
/// Schemes that carry plain connections and need a port.
const STREAM: [&str; 4] = ["tcp", "ssh", "rdp", "smb"];
/// Words that stand alone.
const WORDS: [&str; 3] = ["bastion", "hello_world", "socks-proxy"];
/// Schemes of sockets, behind which there is a web service too.
const SOCKETS: [&str; 2] = ["unix:", "unix+tls:"];
/// Most characters of a service.
const MAX_SERVICE: usize = 2048;

/// Why a text is not a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Nothing is there.
    #[error("the service is empty; write a URL such as `http://app:8080`")]
    Empty,
    /// Too long.
    #[error("the service is longer than {MAX_SERVICE} characters")]
    TooLong,
    /// Several services in one text.
    #[error("a route has one service; give each service a numbered route of its own")]
    Several,
    /// White space or a control character inside.
    #[error("the service holds white space or a character that is not seen")]
    Blank,
    /// No scheme, or one that the connector does not know.
    #[error(
        "the service must begin with `http://`, `https://`, `ws://`, `wss://`, `tcp://`, `ssh://`, `rdp://`, `smb://`, \
         `unix:/` or `unix+tls:/`, or be `http_status:404`, `bastion`, `hello_world` or `socks-proxy`"
    )]
    Scheme,
    /// User name or password.
    #[error("user name and password do not belong in a service; the connector refuses them")]
    UserInfo,
    /// A path, query or fragment.
    #[error(
        "a path, query or fragment does not belong in a service; use the `path` label to choose requests"
    )]
    Path,
    /// The host is missing or malformed.
    #[error("the host is not a name, an IPv4 address or an IPv6 address in brackets")]
    Host,
    /// The port is needed and missing.
    #[error("a `{0}://` service needs a port, as in `{0}://db:5432`")]
    PortMissing(&'static str),
    /// The port is not one.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The status is not one.
    #[error("the status after `http_status:` must be a number from 100 to 999")]
    Status,
    /// The socket's path is not absolute.
    #[error("a `unix:` service needs the absolute path of a socket, as in `unix:/run/app.sock`")]
    Socket,
}

/// Checks a service and returns it as it is written to Cloudflare: scheme in lower case, no slash at the end.
pub fn parse_service(text: &str) -> Result<String, OriginError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(OriginError::Empty);
    }
    if text.len() > MAX_SERVICE {
        return Err(OriginError::TooLong);
    }
    if text.split(',').filter(|part| part.contains("://")).count() > 1 {
        return Err(OriginError::Several);
    }
    if text.chars().any(|c| c.is_whitespace() || is_hidden(c)) {
        return Err(OriginError::Blank);
    }
    if WORDS.contains(&text) {
        return Ok(text.to_owned());
    }
    if let Some(status) = text.strip_prefix("http_status:") {
        return parse_status(status).map(|code| format!("http_status:{code}"));
    }
    for scheme in SOCKETS {
        if let Some(path) = text.strip_prefix(scheme) {
            let absolute = path.starts_with('/') && path.len() > 1;
            return if absolute { Ok(text.to_owned()) } else { Err(OriginError::Socket) };
        }
    }
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
    parse_address(scheme, rest)
}

/// What a label may ask for beside the service, as far as its kind matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Another `Host` header.
    HostHeader,
    /// Anything about the service's certificate, or HTTP/2, which is agreed on with TLS.
    Tls,
    /// The requested name as TLS server name.
    SniOfHost,
    /// No chunked bodies.
    Unchunked,
    /// A limit to how long connecting may take.
    Connecting,
    /// Signs of life on a TCP connection.
    TcpKeepAlive,
    /// How many connections are kept though nobody uses them, and how long.
    IdleConnections,
    /// Which kind of address is tried first.
    AddressFamilies,
    /// Another way of carrying plain connections.
    Proxying,
    /// A look at the token of Access before anything is passed on.
    AccessCheck,
    /// Some of the requests only.
    Path,
}

/// Says whether the connector does anything about a wish for a kept service of this kind.
///
/// It speaks HTTP over a socket as well, and TLS over one of `unix+tls:`, but leaves the `Host` header and the TLS server
/// name alone there. What carries plain connections, or answers by itself, knows of none of them.
pub fn takes(service: &str, wish: Wish) -> bool {
    use Wish::{
        AccessCheck, AddressFamilies, Connecting, HostHeader, IdleConnections, Path, Proxying, TcpKeepAlive,
        Tls, Unchunked,
    };
    let is_by_socket = || matches!(wish, Unchunked | Path | Connecting | IdleConnections);
    match kind(service) {
        // It comes before the service.
        _ if wish == AccessCheck => true,
        "http://" | "ws://" => matches!(wish, HostHeader | TcpKeepAlive | AddressFamilies) || is_by_socket(),
        "https://" | "wss://" => wish != Proxying,
        "unix:" => is_by_socket(),
        "unix+tls:" => wish == Tls || is_by_socket(),
        // It answers by itself, and its clients ask for no path.
        "socks-proxy" => false,
        "hello_world" | "http_status:" => wish == Path,
        // The clients of `bastion` and of plain connections ask for no path either.
        _ => matches!(wish, Connecting | TcpKeepAlive | Proxying),
    }
}

/// Returns what a kept service begins with, or the word that it is.
pub fn kind(service: &str) -> &str {
    let end = match service.find(':') {
        Some(at) if service[at..].starts_with("://") => at + 3,
        Some(at) => at + 1,
        None => service.len(),
    };
    &service[..end]
}

/// True if a kept service is a web service on a network.
pub(super) fn is_web(service: &str) -> bool {
    service.split_once("://").is_some_and(|(scheme, _)| WEB.contains(&scheme))
}

fn parse_status(status: &str) -> Result<u16, OriginError> {
    let fits = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    status.parse().ok().filter(|code| fits && (100..=999).contains(code)).ok_or(OriginError::Status)
}

fn parse_address(scheme: &str, rest: &str) -> Result<String, OriginError> {
    let lower = scheme.to_ascii_lowercase();
    let known = WEB.iter().chain(&STREAM).find(|s| **s == lower).ok_or(OriginError::Scheme)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err(OriginError::UserInfo);
    }
    if rest.contains(['/', '?', '#', '\\']) {
        return Err(OriginError::Path);
    }
    let (host, port) = split_port(rest)?;
    if !is_host(host) {
        return Err(OriginError::Host);
    }
    match port {
        Some(port) => check_port(port)?,
        None if STREAM.contains(known) => return Err(OriginError::PortMissing(known)),
        None => {}
    }
    Ok(format!("{known}://{rest}"))
}

/// Splits a kept service into host and port; `None` if it is of another kind.
pub(super) fn address(service: &str) -> Option<(&str, Option<&str>)> {
    split_port(service.split_once("://")?.1).ok()
}

fn split_port(rest: &str) -> Result<(&str, Option<&str>), OriginError> {
    if rest.starts_with('[') {
        let end = rest.find(']').ok_or(OriginError::Host)?;
        let (host, after) = rest.split_at(end + 1);
        return match after {
            "" => Ok((host, None)),
            _ => after.strip_prefix(':').map(|port| (host, Some(port))).ok_or(OriginError::Host),
        };
    }
    Ok(rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))))
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let numeric = !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric {
        return host.parse::<std::net::Ipv4Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253 && host.split('.').all(is_host_label)
}

/// Docker allows `_` in names of containers and services, so it is allowed here too.
fn is_host_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_port(port: &str) -> Result<(), OriginError> {
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let fits = digits && port.parse::<u16>().is_ok_and(|number| number > 0);
    if fits { Ok(()) } else { Err(OriginError::Port) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn services_that_the_connector_knows_are_accepted() {
        for text in [
            "http://app",
            "http://app:8080",
            "https://10.0.0.5:8443",
            "https://my_app.internal",
            "http://[::1]:80",
            "http://[fd00::2]",
            "tcp://db:5432",
            "ssh://box:22",
            "rdp://pc:3389",
            "smb://nas:445",
            "ws://app",
            "wss://app:8443",
            "http_status:999",
            "unix:/run/app.sock",
            "unix+tls:/run/app.sock",
            "http_status:404",
            "bastion",
            "hello_world",
            "socks-proxy",
        ] {
            assert_eq!(parse_service(text).as_deref(), Ok(text), "{text}");
        }
        assert_eq!(parse_service(" HTTP://App:80/ ").as_deref(), Ok("http://App:80"));
    }

    #[test]
    fn what_is_not_a_service_is_refused_with_its_reason() {
        use OriginError as E;
        for (text, why) in [
            ("", E::Empty),
            ("app:8080", E::Scheme),
            ("ftp://app", E::Scheme),
            ("udp://app:53", E::Scheme),
            ("http://", E::Host),
            ("http://user:pass@app", E::UserInfo),
            ("http://app/path", E::Path),
            ("http://app//", E::Path),
            ("http://app?x=1", E::Path),
            ("http://app:0", E::Port),
            ("http://app:65536", E::Port),
            ("http://app:99999", E::Port),
            ("http://app:", E::Port),
            ("http://app:80x", E::Port),
            ("http://app:+80", E::Port),
            ("tcp://db", E::PortMissing("tcp")),
            ("http://999.1.1.1", E::Host),
            ("http://[::1", E::Host),
            ("http://[nonsense]", E::Host),
            ("http://-app", E::Host),
            ("http://a,http://b", E::Several),
            ("http://a:1, https://b:2", E::Several),
            ("unix:/run/a\u{202e}b", E::Blank),
            ("http://a b", E::Blank),
            ("http://a\np", E::Blank),
            ("http_status:99", E::Status),
            ("http_status:1000", E::Status),
            ("unix:relative", E::Socket),
        ] {
            assert_eq!(parse_service(text), Err(why), "{text}");
        }
    }

    #[test]
    fn each_kind_of_service_takes_what_the_connector_uses_there() {
        use Wish::{
            AccessCheck, AddressFamilies, Connecting, HostHeader, IdleConnections, Path, Proxying, SniOfHost,
            TcpKeepAlive, Tls, Unchunked,
        };
        let all = [
            HostHeader,
            Tls,
            SniOfHost,
            Unchunked,
            Path,
            Connecting,
            IdleConnections,
            TcpKeepAlive,
            AddressFamilies,
            Proxying,
            AccessCheck,
        ];
        let http = [
            HostHeader,
            Unchunked,
            Path,
            Connecting,
            IdleConnections,
            TcpKeepAlive,
            AddressFamilies,
            AccessCheck,
        ];
        let https: Vec<Wish> = all.into_iter().filter(|wish| *wish != Proxying).collect();
        let stream = [Connecting, TcpKeepAlive, Proxying, AccessCheck];
        for (service, expected) in [
            ("http://app", http.to_vec()),
            ("ws://app", http.to_vec()),
            ("https://app:1", https.clone()),
            ("wss://app:1", https),
            ("unix:/run/a.sock", vec![Unchunked, Path, Connecting, IdleConnections, AccessCheck]),
            ("unix+tls:/run/a.sock", vec![Tls, Unchunked, Path, Connecting, IdleConnections, AccessCheck]),
            ("tcp://db:1", stream.to_vec()),
            ("ssh://box:22", stream.to_vec()),
            ("rdp://pc:3389", stream.to_vec()),
            ("smb://nas:445", stream.to_vec()),
            ("bastion", stream.to_vec()),
            ("socks-proxy", vec![AccessCheck]),
            ("http_status:404", vec![Path, AccessCheck]),
            ("hello_world", vec![Path, AccessCheck]),
        ] {
            let taken: Vec<_> = all.into_iter().filter(|wish| takes(service, *wish)).collect();
            assert_eq!(taken, expected, "{service}");
        }
    }

    proptest! {
        #[test]
        fn a_kept_service_stays_and_holds_no_secret(text in "(https?|tcp|x)://.{0,40}|.{0,60}") {
            if let Ok(kept) = parse_service(&text) {
                prop_assert_eq!(parse_service(&kept), Ok(kept.clone()));
                prop_assert!(!kept.contains(char::is_whitespace));
                prop_assert!(kept.starts_with("unix") || !kept.contains('@'));
            }
        }
    }
}
