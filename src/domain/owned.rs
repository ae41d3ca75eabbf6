//! What may be ours at Cloudflare, and in a word what kind of thing it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedKind {
    /// An ingress rule of a tunnel.
    Rule,
    /// A DNS record.
    Record,
    /// An application of Access.
    Application,
    /// A reusable policy of Access.
    Policy,
    /// A tunnel.
    Tunnel,
}

impl OwnedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rule, Self::Record, Self::Application, Self::Policy, Self::Tunnel];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Record => "record",
            Self::Application => "application",
            Self::Policy => "policy",
            Self::Tunnel => "tunnel",
        }
    }

    /// Returns the kind of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns what people call it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Record => "DNS record",
            Self::Application => "Access application",
            Self::Policy => "Access policy",
            Self::Tunnel => "tunnel",
        }
    }
}

impl fmt::Display for OwnedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_one_kind_and_is_what_json_says() {
        for kind in OwnedKind::ALL {
            assert_eq!(OwnedKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        assert_eq!(OwnedKind::parse("widget"), None);
    }
}
