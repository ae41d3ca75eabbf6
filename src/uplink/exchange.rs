//! One HTTP exchange: redirects that keep the method and the key, a time limit, and a bound on the answer.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::address::{MasterUrl, shown};
use super::error::UplinkError;
use crate::protocol::body;

/// Redirects that are followed in a row.
const HOPS_LIMIT: usize = 5;

/// A call to be made.
pub(super) struct Call {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    pub time_limit: Duration,
    pub size_limit: usize,
}

/// A success.
pub(super) struct Answer {
    pub address: String,
    pub body: Vec<u8>,
    pub master_time: Option<DateTime<Utc>>,
}

/// Makes the call; anything but 2xx is an error.
pub(super) async fn exchange(client: &Client, call: Call) -> Result<Answer, UplinkError> {
    let address = shown(&call.url);
    let limit = call.time_limit;
    match tokio::time::timeout(limit, follow(client, call)).await {
        Ok(result) => result,
        Err(_) => Err(UplinkError::NoAnswer {
            address,
            reason: format!("nothing came within {} s", limit.as_secs()),
        }),
    }
}

/// Redirects are followed here because the HTTP client would turn a POST into a GET, and would drop the key
/// on the way from http to https, which is the redirect that masters behind a proxy really send.
async fn follow(client: &Client, mut call: Call) -> Result<Answer, UplinkError> {
    for _ in 0..=HOPS_LIMIT {
        let address = shown(&call.url);
        let mut request = client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|e| no_answer(&address, &e))?;
        match next_hop(&call.url, &response)? {
            Some(next) => call.url = next,
            None => return finish(response, address, call.size_limit).await,
        }
    }
    Err(UplinkError::NoAnswer { address: shown(&call.url), reason: "it redirects in a circle".into() })
}

fn next_hop(from: &Url, response: &Response) -> Result<Option<Url>, UplinkError> {
    use StatusCode as S;
    let moved = [S::MOVED_PERMANENTLY, S::FOUND, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    let Some(to) = location.and_then(|l| from.join(l).ok()) else { return Ok(None) };
    if !moved.contains(&response.status()) {
        return Ok(None);
    }
    if MasterUrl::may_follow(from, &to) {
        return Ok(Some(to));
    }
    let target = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
    Err(UplinkError::Elsewhere { address: shown(from), target })
}

async fn finish(mut response: Response, address: String, size_limit: usize) -> Result<Answer, UplinkError> {
    let status = response.status();
    let master_time = date(response.headers());
    let retry_after = retry_after(response.headers(), master_time);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| no_answer(&address, &e))? {
        if body.len() + chunk.len() > size_limit {
            return Err(UplinkError::TooLarge { address, limit_bytes: size_limit });
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(Answer { address, body, master_time });
    }
    let (code, message) = words(&body);
    Err(UplinkError::Refused { address, status: status.as_u16(), code, message, retry_after })
}

/// The whole chain of causes: the outermost text of the HTTP client says next to nothing.
fn no_answer(address: &str, error: &reqwest::Error) -> UplinkError {
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
    let reason = reason.chars().take(300).collect::<String>() + remedy(&reason);
    UplinkError::NoAnswer { address: address.to_owned(), reason }
}

/// The way out where the words of the TLS library do not show it.
fn remedy(reason: &str) -> &'static str {
    match reason.contains("CaUsedAsEndEntity") {
        true => "; the master shows the certificate of an authority as its own: make it one with `CA:FALSE`",
        false => "",
    }
}

/// Code and message of a refusal: native and DockFlare bodies; pages of proxies have no words for us.
fn words(bytes: &[u8]) -> (Option<String>, String) {
    let map = body::parse_object(bytes).unwrap_or_default();
    let text = |field: &str| {
        let text = map.get(field).and_then(Value::as_str)?;
        Some(text.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
    };
    let message = text("error").or_else(|| text("message"));
    (text("code"), message.unwrap_or_else(|| "no reason was given".into()))
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|t| t.to_utc())
}

/// Seconds, or a time of day, which is taken against the same answer's `Date`.
fn retry_after(headers: &HeaderMap, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(secs) => Some(Duration::from_secs(secs)),
        Err(_) => (http_date(text)? - now?).to_std().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let header = |text: &str| HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        let cases = [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", None),
            ("soon", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(retry_after(&header(text), now), wanted.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn refusals_are_read_in_both_dialects() {
        let cases: [(&[u8], Option<&str>, &str); 4] = [
            (br#"{"error":"no","code":"c"}"#, Some("c"), "no"),
            (br#"{"status":"error","message":"Agent not found."}"#, None, "Agent not found."),
            (b"<html>502", None, "no reason was given"),
            (b"", None, "no reason was given"),
        ];
        for (body, code, message) in cases {
            assert_eq!(words(body), (code.map(str::to_owned), message.to_owned()));
        }
    }
}
