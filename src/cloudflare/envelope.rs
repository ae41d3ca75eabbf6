//! Reads Cloudflare's envelope. A call succeeded if the status and `success` both say so.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::CfError;

/// Cloudflare blocks for 5 minutes at most; more than this is taken for a mistake.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Used when a 429 names no time.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
const MAX_MESSAGE_CHARS: usize = 300;

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub result: Option<T>,
    /// How long the pages are that Cloudflare sends, if it says so.
    pub per_page: Option<usize>,
    /// How many there are in all, if it says so; wrong at times.
    pub total_count: Option<usize>,
}

#[derive(Deserialize)]
struct Envelope {
    success: Option<bool>,
    errors: Option<Vec<Message>>,
    result: Option<Value>,
    result_info: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    code: Option<i64>,
    message: Option<String>,
}

impl<T> Answer<T> {
    /// Returns the result of a call that must have one.
    pub fn required(self, call: &'static str) -> Result<T, CfError> {
        self.result.ok_or_else(|| CfError::Malformed { call, reason: "the result is missing".into() })
    }
}

/// Turns status, headers and body into a result or an error.
pub(super) fn decode<T: DeserializeOwned>(
    call: &'static str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer<T>, CfError> {
    if status == 429 {
        return Err(CfError::RateLimited { call, retry_after: retry_after(headers) });
    }
    let is_success = (200..300).contains(&status);
    if status == 204 {
        return Ok(Answer { result: None, per_page: None, total_count: None });
    }
    let envelope = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) => envelope,
        Err(_) if is_success => return Err(CfError::Malformed { call, reason: describe(body) }),
        Err(_) => return Err(refused(call, status, vec![], describe(body))),
    };
    let says_success = envelope.success.unwrap_or(envelope.result.is_some());
    if !(is_success && says_success) {
        return Err(refusal(call, status, envelope.errors.unwrap_or_default()));
    }
    let info = envelope.result_info;
    let figure = |key: &str| info.as_ref().and_then(|info| info.get(key)?.as_f64()).map(|n| n as usize);
    let (per_page, total_count) = (figure("per_page"), figure("total_count"));
    match envelope.result.filter(|result| !result.is_null()) {
        None => Ok(Answer { result: None, per_page, total_count }),
        Some(result) => match serde_json::from_value(result) {
            Ok(result) => Ok(Answer { result: Some(result), per_page, total_count }),
            Err(error) => Err(CfError::Malformed { call, reason: clean(&error.to_string()) }),
        },
    }
}

fn refusal(call: &'static str, status: u16, errors: Vec<Message>) -> CfError {
    let codes = errors.iter().filter_map(|error| error.code).collect();
    let words: Vec<&str> = errors.iter().filter_map(|error| error.message.as_deref()).collect();
    let message = if words.is_empty() { "no reason given".to_owned() } else { clean(&words.join("; ")) };
    refused(call, status, codes, message)
}

fn refused(call: &'static str, status: u16, codes: Vec<i64>, message: String) -> CfError {
    CfError::Refused { call, status, codes, message, missing_right: None }
}

/// What a body that is no envelope looks like. Error pages are HTML and say nothing a person can use.
fn describe(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(2000)]);
    let text = text.trim();
    if text.is_empty() {
        "the answer is empty".into()
    } else if text.starts_with('<') {
        "an error page came instead of an answer".into()
    } else {
        format!("not an answer of the API: `{}`", text.chars().take(80).map(visible).collect::<String>())
    }
}

fn clean(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARS).map(visible).collect::<String>().trim().to_owned()
}

fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Reads when an answer was made.
pub(super) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|at| at.to_utc())
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let Some(wanted) = text(RETRY_AFTER) else { return DEFAULT_RETRY_AFTER };
    if let Ok(seconds) = wanted.parse::<u64>() {
        return Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
    }
    // The other form is a date; the answer's own `Date` makes it independent of our clock.
    let at = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    match (at(wanted), text(DATE).and_then(at)) {
        (Some(until), Some(now)) => (until - now).to_std().unwrap_or(Duration::ZERO).min(MAX_RETRY_AFTER),
        _ => DEFAULT_RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Answer<Vec<u32>>, CfError> {
        decode("test", status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn success_needs_status_and_flag() {
        assert_eq!(
            read(200, r#"{"success":true,"errors":[],"result":[1,2]}"#).unwrap().result,
            Some(vec![1, 2])
        );
        assert_eq!(read(200, r#"{"success":true,"errors":null,"result":null}"#).unwrap().result, None);
        assert_eq!(read(204, "").unwrap().result, None);
        for (status, body) in [
            (200, r#"{"success":false,"errors":[{"code":1003,"message":"bad"}],"result":null}"#),
            (400, r#"{"success":true,"result":[1]}"#),
            (200, r#"{"errors":[]}"#),
        ] {
            assert!(matches!(read(status, body), Err(CfError::Refused { .. })), "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_keeps_codes_and_words() {
        let body = r#"{"success":false,"errors":[{"code":81053,"message":"a record\nexists"},{"message":"and more"},{}]}"#;
        let error = read(400, body).unwrap_err();
        assert!(error.is_dns_conflict());
        assert_eq!(
            error.to_string(),
            "Cloudflare refused `test`: a record exists; and more (status 400, code 81053)"
        );
    }

    #[test]
    fn what_is_no_envelope_is_named() {
        for (status, body, words) in [
            (502, "<html><body>502 Bad Gateway</body></html>", "an error page"),
            (500, "", "the answer is empty"),
            (200, "", "the answer is empty"),
            (200, "ok\u{7}", "not an answer of the API: `ok `"),
            (200, r#"{"success":true,"result":{"a":1}}"#, "invalid type"),
        ] {
            let error = read(status, body).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn long_words_are_cut() {
        let body = format!(r#"{{"success":false,"errors":[{{"code":1,"message":"{}"}}]}}"#, "é".repeat(5000));
        let Err(CfError::Refused { message, .. }) = read(400, &body) else { panic!("refused") };
        assert_eq!(message.chars().count(), MAX_MESSAGE_CHARS);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |value: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers).as_secs()
        };
        let date = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(wait("7", None), 7);
        assert_eq!(wait("99999", None), 600);
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:30 GMT", date), 30);
        assert_eq!(wait("Wed, 21 Oct 2026 07:20:00 GMT", date), 0);
        assert_eq!(wait("soon", None), 5);
        assert_eq!(retry_after(&HeaderMap::new()), DEFAULT_RETRY_AFTER);
    }
}
