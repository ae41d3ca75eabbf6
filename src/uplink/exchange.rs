//! One HTTP exchange: a time limit, a bound on the answer, and the words of a refusal.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response};
use serde_json::Value;

use super::error::UplinkError;
use crate::http_client::{Request, send, shown, why};
use crate::protocol::body;

/// What is said of a refusal without words of a master.
const NO_REASON: &str = "no reason was given";

/// A call to be made.
pub(super) struct Call {
    pub request: Request,
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
    let address = shown(&call.request.url);
    let limit = call.time_limit;
    match tokio::time::timeout(limit, follow(client, call)).await {
        Ok(result) => result,
        Err(_) => Err(too_slow(address, limit)),
    }
}

fn too_slow(address: String, limit: Duration) -> UplinkError {
    UplinkError::NoAnswer { address, reason: format!("nothing came within {} s", limit.as_secs()) }
}

/// What came back to a question, whatever it was.
pub(super) struct Peeked {
    pub status: u16,
    /// Who answered, without secrets.
    pub address: String,
    /// True for a success, and for a refusal in the words of a master.
    pub has_words: bool,
    pub master_time: Option<DateTime<Utc>>,
}

/// Makes the call; a refusal is an answer too.
pub(super) async fn peek(client: &Client, call: Call) -> Result<Peeked, UplinkError> {
    let (address, limit) = (shown(&call.request.url), call.time_limit);
    let asked = async {
        let (response, address) = send(client, call.request).await?;
        let (status, master_time) = (response.status(), date(response.headers()));
        let body = read_body(response, &address, call.size_limit).await?;
        let has_words = status.is_success() || words(&body).1 != NO_REASON;
        Ok(Peeked { status: status.as_u16(), address, has_words, master_time })
    };
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(too_slow(address, limit)))
}

async fn follow(client: &Client, call: Call) -> Result<Answer, UplinkError> {
    let (response, address) = send(client, call.request).await?;
    finish(response, address, call.size_limit).await
}

async fn finish(response: Response, address: String, size_limit: usize) -> Result<Answer, UplinkError> {
    let status = response.status();
    let master_time = date(response.headers());
    let retry_after = retry_after(response.headers(), master_time);
    let body = read_body(response, &address, size_limit).await?;
    if status.is_success() {
        return Ok(Answer { address, body, master_time });
    }
    let (code, message) = words(&body);
    Err(UplinkError::Refused { address, status: status.as_u16(), code, message, retry_after })
}

async fn read_body(
    mut response: Response,
    address: &str,
    limit_bytes: usize,
) -> Result<Vec<u8>, UplinkError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| no_answer(address, &e))? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(UplinkError::TooLarge { address: address.to_owned(), limit_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn no_answer(address: &str, error: &reqwest::Error) -> UplinkError {
    UplinkError::NoAnswer { address: address.to_owned(), reason: why(error) }
}

/// Code and message of a refusal: native and DockFlare bodies; pages of proxies have no words for us.
fn words(bytes: &[u8]) -> (Option<String>, String) {
    let map = body::parse_object(bytes).unwrap_or_default();
    let text = |field: &str| {
        let text = map.get(field).and_then(Value::as_str)?;
        Some(text.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
    };
    let message = text("error").or_else(|| text("message"));
    (text("code"), message.unwrap_or_else(|| NO_REASON.into()))
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
