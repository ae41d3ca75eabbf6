//! One request to be: what is asked, in words and in parts.

use reqwest::Method;
use serde_json::Value;

/// One request to be.
pub(super) struct Call {
    /// What it does, in words for a person.
    pub name: &'static str,
    pub method: Method,
    pub path: Vec<String>,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
    /// The right of the token that it takes, for a person who has to give it; none if that is not said.
    pub right: Option<&'static str>,
}

impl Call {
    pub fn new(name: &'static str, method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self { name, method, path, query: Vec::new(), body: None, right: None }
    }

    pub fn get(name: &'static str, path: &[&str]) -> Self {
        Self::new(name, Method::GET, path)
    }

    pub fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub fn needs(self, right: &'static str) -> Self {
        Self { right: Some(right), ..self }
    }

    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}
