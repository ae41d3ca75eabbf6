//! Services behind routes: what an ingress rule may point at.

/// Schemes of web services: they alone take options towards the service, and may leave out the port.
const WEB: [&str; 2] = ["http", "https"];
/// Schemes that carry plain connections and need a port.
const STREAM: [&str; 4] = ["tcp", "ssh", "rdp", "smb"];
/// Words that stand alone.
const WORDS: [&str; 3] = ["bastion", "hello_world", "socks-proxy"];
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
    /// White space or a control character inside.
    #[error("the service holds white space or a control character")]
    Blank,
    /// No scheme, or one that the connector does not know.
    #[error(
        "the service must begin with `http://`, `https://`, `tcp://`, `ssh://`, `rdp://`, `smb://`, \
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
    #[error("the status after `http_status:` must be a number from 100 to 599")]
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
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(OriginError::Blank);
    }
    if WORDS.contains(&text) {
        return Ok(text.to_owned());
    }
    if let Some(status) = text.strip_prefix("http_status:") {
        return parse_status(status).map(|code| format!("http_status:{code}"));
    }
    for scheme in ["unix:", "unix+tls:"] {
        if let Some(path) = text.strip_prefix(scheme) {
            let absolute = path.starts_with('/') && path.len() > 1;
            return if absolute { Ok(text.to_owned()) } else { Err(OriginError::Socket) };
        }
    }
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
    parse_address(scheme, rest)
}

/// Says whether a kept service is a web service, to which options may be given.
pub fn is_web_service(service: &str) -> bool {
    service.split_once("://").is_some_and(|(scheme, _)| WEB.contains(&scheme))
}

fn parse_status(status: &str) -> Result<u16, OriginError> {
    let fits = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    status.parse().ok().filter(|code| fits && (100..=599).contains(code)).ok_or(OriginError::Status)
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
            ("http://a b", E::Blank),
            ("http://a\np", E::Blank),
            ("http_status:99", E::Status),
            ("http_status:600", E::Status),
            ("unix:relative", E::Socket),
        ] {
            assert_eq!(parse_service(text), Err(why), "{text}");
        }
    }

    #[test]
    fn options_are_for_web_services_only() {
        assert!(is_web_service("http://app") && is_web_service("https://app:1"));
        for other in ["tcp://db:1", "unix:/x", "http_status:404", "bastion"] {
            assert!(!is_web_service(other), "{other}");
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
