//! Requests to a test master, and its answers.

use std::sync::Mutex;

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

/// What was asked and what came back, in order.
pub type Answers = Mutex<Vec<(String, String)>>;

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A request on its way to a test master.
pub struct Asking<'a> {
    pub(super) answers: &'a Answers,
    pub(super) what: String,
    pub(super) request: reqwest::RequestBuilder,
}

impl Asking<'_> {
    /// With `Authorization: Bearer`.
    pub fn key(mut self, key: &str) -> Self {
        self.request = self.request.bearer_auth(key);
        self
    }

    /// With another header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// With a JSON body.
    pub fn json(mut self, body: Value) -> Self {
        self.request = self.request.json(&body);
        self
    }

    /// With any body that says it is JSON.
    pub fn raw(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/json").body(body);
        self
    }

    /// With any body, whatever it says it is.
    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// With the fields of a form.
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.request = self.request.form(fields);
        self
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        let answer = self.request.send().await.unwrap_or_else(|error| panic!("{}: {error:?}", self.what));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        self.answers.lock().unwrap().push((self.what, text.clone()));
        Answer { status: status.as_u16(), headers, text }
    }

    /// Sends it; the answer must have this status.
    pub async fn expect(self, status: u16) -> Answer {
        let what = self.what.clone();
        let answer = self.send().await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        answer
    }
}
