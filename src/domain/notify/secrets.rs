//! What opens a target. It is kept sealed, and none of it is in what is shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Fields of a target that nobody sees again, by name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Returns a field, if it is there.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: String) {
        self.0.insert(field.to_owned(), value);
    }

    /// Returns these over `older` ones; a field that is empty here is removed.
    #[must_use]
    pub fn over(&self, mut older: Self) -> Self {
        older.0.extend(self.0.clone());
        older.0.retain(|_, value| !value.is_empty());
        older
    }

    /// Returns a text of others without any of these in it: an answer may repeat what it was asked.
    pub fn hide_in(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for value in self.0.values().filter(|value| !value.is_empty()) {
            for secret in parts(value) {
                hidden = hidden.replace(secret, "…");
            }
        }
        hidden
    }
}

/// A secret, and each part of it that is long enough to be one: of an address what follows the host, of a header what
/// follows its first word.
fn parts(value: &str) -> Vec<&str> {
    let inner = match value.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => value,
    };
    let is_long = |part: &&str| part.len() > 7;
    let mut parts: Vec<&str> = inner.split(['/', '?', '&', '=', ':', '#', ' ']).filter(is_long).collect();
    parts.extend(Some(inner).filter(is_long));
    parts.push(value);
    // The whole before its parts.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}
