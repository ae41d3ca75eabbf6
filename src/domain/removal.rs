//! What a person withdrew here stays withdrawn, whatever another program still has of it.

use serde::{Deserialize, Serialize};

/// A kind of thing that can be withdrawn for good, with what its ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawn {
    /// An agent key that was revoked and dropped from the list; by its digest.
    Key,
    /// A group of Access; by its id.
    Group,
    /// A rule of a person; by `hostname|path`.
    Rule,
}

impl Withdrawn {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Group => "group",
            Self::Rule => "rule",
        }
    }
}
