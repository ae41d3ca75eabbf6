//! Which hostnames an agent may claim: patterns that it and its key carry.

use std::fmt;

use super::hostname::{HostnameError, covers, parse_hostname};

/// Patterns of one agent or key; more than a person keeps in mind are a mistake.
pub const MAX_PATTERNS: usize = 50;

/// What an agent is limited to; a list that is empty permits any name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Patterns of the agent itself.
    pub agent: Vec<String>,
    /// Patterns of the key it uses.
    pub key: Vec<String>,
}

/// Whose patterns forbid a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedBy {
    /// The agent's own.
    Agent,
    /// Those of its key.
    Key,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "this agent",
            Self::Key => "this agent's key",
        })
    }
}

impl Limits {
    /// Says whose patterns forbid to claim `hostname`, and which they are; both must permit it.
    pub fn forbid(&self, hostname: &str) -> Option<(LimitedBy, &[String])> {
        let lists = [(LimitedBy::Agent, &self.agent), (LimitedBy::Key, &self.key)];
        lists.into_iter().map(|(by, patterns)| (by, patterns.as_slice())).find(|(_, patterns)| {
            !patterns.is_empty() && !patterns.iter().any(|pattern| covers(pattern, hostname))
        })
    }
}

/// Why patterns are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// One of them is no name.
    #[error(
        "`{text}` is no hostname pattern: {reason}; `*.example.com` permits every name below it, `app.example.com` one"
    )]
    NoPattern {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        reason: HostnameError,
    },
    /// There are too many.
    #[error("{0} hostname patterns are too many; {MAX_PATTERNS} are kept")]
    TooMany(usize),
}

/// Returns patterns in the one form in which hostnames are kept, each once; none permit any name.
pub fn parse_patterns(texts: &[String]) -> Result<Vec<String>, PatternError> {
    if texts.len() > MAX_PATTERNS {
        return Err(PatternError::TooMany(texts.len()));
    }
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        let pattern =
            parse_hostname(text).map_err(|reason| PatternError::NoPattern { text: text.clone(), reason })?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn both_lists_must_permit_a_name_and_an_empty_one_permits_any() {
        use LimitedBy::{Agent, Key};
        let (lab, app) =
            (["*.lab.example.com"].as_slice(), ["app.example.com", "*.b.example.com"].as_slice());
        for (agent, key, hostname, expected) in [
            (&[][..], &[][..], "any.example.org", None),
            (lab, &[], "x.lab.example.com", None),
            (lab, &[], "x.y.lab.example.com", None),
            (lab, &[], "*.lab.example.com", None),
            (lab, &[], "lab.example.com", Some(Agent)),
            (lab, &[], "app.example.com", Some(Agent)),
            (&[], lab, "app.example.com", Some(Key)),
            (&[], app, "app.example.com", None),
            (&[], app, "x.b.example.com", None),
            (&[], app, "*.example.com", Some(Key)),
            (lab, lab, "x.lab.example.com", None),
            (lab, app, "x.lab.example.com", Some(Key)),
            (lab, app, "app.example.com", Some(Agent)),
        ] {
            let limits = Limits { agent: list(agent), key: list(key) };
            let forbidden = limits.forbid(hostname).map(|(by, _)| by);
            assert_eq!(forbidden, expected, "{agent:?} {key:?} {hostname}");
        }
    }

    #[test]
    fn patterns_are_kept_in_one_form_and_what_is_none_is_named() {
        let kept = parse_patterns(&list(&["*.Example.com.", "app.example.com", "*.example.com"]));
        assert_eq!(kept, Ok(list(&["*.example.com", "app.example.com"])));
        assert_eq!(parse_patterns(&[]), Ok(Vec::new()));
        for text in ["", "*", "a.*.example.com", "https://app.example.com", "app.example.com/x", "a b"] {
            let refused = parse_patterns(&list(&["ok.example.com", text])).unwrap_err().to_string();
            assert!(refused.contains(&format!("`{text}`")) && refused.contains("*.example.com"), "{refused}");
        }
        let many = vec!["app.example.com".to_owned(); MAX_PATTERNS + 1];
        assert_eq!(parse_patterns(&many), Err(PatternError::TooMany(51)));
    }
}
