//! Where a request comes from and what it was sent to, if a proxy of ours brings it.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap};

/// Returns the last address on the way that is no proxy of ours: what stands before it, anybody may have written.
///
/// A proxy adds its word to the header or as one more header of that name, behind those that came with the request.
pub fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    if trusted.contains(&peer) { last_hop(peer, headers, trusted) } else { peer }
}

/// Returns whom a peer that is no proxy of ours speaks for, by its own word; none if it speaks for itself.
pub fn claimed(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let claimed = last_hop(peer, headers, trusted);
    (!trusted.contains(&peer) && claimed != peer).then_some(claimed)
}

fn last_hop(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").map(|line| line.to_str().unwrap_or_default()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(|hop| hop.trim().parse::<IpAddr>());
    hops.map_while(Result::ok)
        .map(|hop| hop.to_canonical())
        .find(|hop| !trusted.contains(hop))
        .unwrap_or(peer)
}

/// Returns the host that a request was sent to. Only a proxy of ours may say that it was another one.
pub fn host(peer: IpAddr, req: &HttpRequest, trusted: &[IpAddr]) -> String {
    if trusted.contains(&peer) {
        return req.connection_info().host().to_owned();
    }
    let named = req.headers().get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| req.uri().authority().map(|authority| authority.as_str())).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn source_of(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(line).unwrap());
        }
        let trusted = [PROXY, "10.0.0.2", "::1"].map(|address| address.parse().unwrap());
        source(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_the_word_of_a_trusted_proxy_counts() {
        assert_eq!(source_of("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(source_of(PROXY, &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(source_of(PROXY, &["198.51.100.1, 10.0.0.2"]), "198.51.100.1", "two proxies in a row");
        assert_eq!(source_of("::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(source_of(PROXY, &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn what_the_caller_wrote_itself_is_not_believed() {
        assert_eq!(source_of(PROXY, &["203.0.113.5, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            source_of(PROXY, &["203.0.113.5", "198.51.100.1"]),
            "198.51.100.1",
            "as a header of its own"
        );
        assert_eq!(source_of(PROXY, &["203.0.113.5", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_only_claims_to_speak_for_somebody() {
        let mut headers = HeaderMap::new();
        let claimed = |headers: &HeaderMap, peer: &str| {
            let trusted = [PROXY.parse().unwrap()];
            claimed(peer.parse().unwrap(), headers, &trusted).map(|address| address.to_string())
        };
        assert_eq!(claimed(&headers, "192.0.2.9"), None);
        let line = HeaderValue::from_static("203.0.113.5, 198.51.100.1");
        headers.append(HeaderName::from_static("x-forwarded-for"), line);
        assert_eq!(claimed(&headers, "192.0.2.9").as_deref(), Some("198.51.100.1"));
        assert_eq!(claimed(&headers, PROXY), None, "its word is believed");
    }

    #[test]
    fn a_proxy_that_names_nobody_is_the_source_itself() {
        for lines in [&[][..], &[""], &["unknown"], &["198.51.100.1, unknown"], &["10.0.0.2"]] {
            assert_eq!(source_of(PROXY, lines), PROXY, "{lines:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_what_a_request_was_sent_to() {
        let request = |peer: &str| {
            let req = actix_web::test::TestRequest::default()
                .insert_header(("host", "ship.example.com"))
                .insert_header(("x-forwarded-host", "elsewhere.example.org"))
                .insert_header(("forwarded", "host=elsewhere.example.org"))
                .to_http_request();
            host(peer.parse().unwrap(), &req, &[PROXY.parse().unwrap()])
        };
        assert_eq!(request("192.0.2.9"), "ship.example.com");
        assert_eq!(request(PROXY), "elsewhere.example.org");
    }
}
