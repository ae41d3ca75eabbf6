//! One request, and the redirects of its answer.

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

/// Redirects that are followed in a row.
const HOPS_LIMIT: usize = 5;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, kept over redirects.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Kept over redirects, credentials included.
    pub headers: HeaderMap,
    /// Kept over redirects.
    pub body: Option<Bytes>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// Nobody answered.
    NoAnswer {
        /// Whom, without secrets.
        address: String,
        /// What happened, in words.
        reason: String,
    },
    /// The answer points where the credentials do not go.
    Elsewhere {
        /// Who points, without secrets.
        address: String,
        /// Base address of the place it points to.
        target: String,
    },
}

/// Sends `request` and follows redirects to the same host that keep or gain encryption; returns the answer and
/// the address it came from.
///
/// They are followed here because the HTTP client would turn a POST into a GET, and would drop the key on the way
/// from http to https, which is the redirect that masters behind a proxy really send.
pub async fn send(client: &Client, mut request: Request) -> Result<(Response, String), SendError> {
    let asked = request.url.path().to_owned();
    for _ in 0..=HOPS_LIMIT {
        let address = shown(&request.url);
        let mut hop =
            client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            hop = hop.body(body.clone());
        }
        let response = hop.send().await;
        let response =
            response.map_err(|e| SendError::NoAnswer { address: address.clone(), reason: why(&e) })?;
        match target_of(&request.url, &response) {
            None => return Ok((response, address)),
            Some(target) if keeps_method(response.status()) && may_follow(&request.url, &target) => {
                request.url = target;
            }
            Some(target) => return Err(SendError::Elsewhere { address, target: base_of(&target, &asked) }),
        }
    }
    Err(SendError::NoAnswer { address: shown(&request.url), reason: "it redirects in a circle".into() })
}

/// Where an answer points, if it does nothing else.
fn target_of(from: &Url, response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let is_redirect = keeps_method(response.status()) || response.status() == StatusCode::SEE_OTHER;
    from.join(location).ok().filter(|_| is_redirect)
}

/// Servers mean these by "it moved"; only 303 asks for another method.
fn keeps_method(status: StatusCode) -> bool {
    use StatusCode as S;
    [S::MOVED_PERMANENTLY, S::FOUND, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT].contains(&status)
}

/// Says if credentials may follow a redirect from `from` to `to`: to the same host, and never from https to http.
/// Another port is allowed only together with the step from http to https.
fn may_follow(from: &Url, to: &Url) -> bool {
    let same_host = from.host_str() == to.host_str();
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    match (from.scheme(), to.scheme()) {
        (a, b) if a == b => same_host && same_port,
        ("http", "https") => same_host,
        _ => false,
    }
}

/// The address that would have answered by itself: the target without the path that was asked for, or without any.
fn base_of(target: &Url, asked: &str) -> String {
    let shown = shown(target);
    let path = asked.trim_end_matches('/');
    match shown.strip_suffix(path) {
        Some(base) if base.len() > target.scheme().len() + "://".len() => base.to_owned(),
        _ => origin(target),
    }
}

fn origin(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// An address as errors and logs show it: no user name, password or query.
pub fn shown(url: &Url) -> String {
    format!("{}{}", origin(url), url.path().trim_end_matches('/'))
}

/// Why there was no answer. The whole chain of causes: the outermost text of the HTTP client says next to nothing.
pub fn why(error: &reqwest::Error) -> String {
    let mut reason = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = if reason.is_empty() { text } else { format!("{reason}: {text}") };
        }
        cause = error.source();
    }
    if error.is_timeout() || reason.is_empty() {
        reason = if error.is_timeout() { "it took too long".into() } else { "the connection broke".into() };
    }
    reason.chars().take(300).collect::<String>() + remedy(&reason)
}

/// The way out where the words of the TLS library do not show it.
fn remedy(reason: &str) -> &'static str {
    match reason.contains("CaUsedAsEndEntity") {
        true => "; the master shows the certificate of an authority as its own: make it one with `CA:FALSE`",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_with_their_host() {
        let cases = [
            ("http://m/a", "https://m/a", true),
            ("http://m:8080/a", "https://m:8443/a", true),
            ("https://m/a", "https://m/b", true),
            ("https://m/a", "http://m/a", false),
            ("https://m/a", "https://m:444/a", false),
            ("http://m/a", "http://m:81/a", false),
            ("https://m/a", "https://login.example/a", false),
        ];
        for (from, to, wanted) in cases {
            let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(may_follow(&from, &to), wanted, "{from} {to}");
        }
    }

    #[test]
    fn the_address_to_use_is_the_target_without_what_was_asked() {
        for (target, asked, wanted) in [
            ("https://new.example/api/v3/routes?a=b", "/api/v3/routes", "https://new.example"),
            ("https://u:hidden@new.example:8443/fleet/api/x", "/api/x", "https://new.example:8443/fleet"),
            ("https://login.example/cdn-cgi/access/login/m?kid=1", "/api/x", "https://login.example"),
            ("https://new.example/", "/", "https://new.example"),
        ] {
            assert_eq!(base_of(&Url::parse(target).unwrap(), asked), wanted, "{target}");
        }
    }
}
