//! The name of a run.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Names a run on its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl TryFrom<String> for RunId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a run's name has 1 to 40 of `a-z0-9-`")
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl RunId {
    /// Makes one of a time and a few random letters, so that runs sort by their beginning.
    pub fn new(at: DateTime<Utc>, letters: &str) -> Self {
        Self(format!("{}-{letters}", at.format("%Y%m%d-%H%M%S")))
    }

    /// Reads one; none if it could not be the name of a folder of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
        (!text.is_empty() && text.len() <= 40 && text.bytes().all(is_ours) && !text.starts_with('-'))
            .then(|| Self(text.to_owned()))
    }

    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_can_never_leave_its_folder() {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let id = RunId::new(at, "x7k2");
        assert_eq!(id.as_str(), "20260131-120000-x7k2");
        assert_eq!(RunId::parse(id.as_str()), Some(id));
        for odd in ["", "../x", "a/b", "-x", "A", "x y", &"x".repeat(41)] {
            assert_eq!(RunId::parse(odd), None, "{odd:?}");
        }
    }
}
