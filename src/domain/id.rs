//! Names and ids, each with a type of its own so that they cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is not what its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {kind}: {reason}")]
pub struct InvalidId {
    /// What was expected, with its article.
    pub kind: &'static str,
    /// What was given, cut to 80 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes an id that was checked before, or that an outside system made.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

text_id!(
    /// An agent; see [`AgentId::parse`] for what an outside one may look like.
    AgentId
);
text_id!(
    /// An agent key, without the key itself.
    KeyId
);
text_id!(
    /// A person's yes to a plan.
    ApprovalId
);
text_id!(
    /// A question what would be changed, asked of one host or of many at once.
    RequestId
);
text_id!(
    /// A registration token, without the token itself.
    TokenId
);
text_id!(
    /// A command for an agent.
    CommandId
);
text_id!(
    /// An update of one host: a package or an image.
    UpdateId
);
text_id!(
    /// A stored secret: what everything but table `secrets` carries instead of it.
    SecretId
);
text_id!(
    /// A Docker container, as the Engine writes it (64 hex digits).
    ContainerId
);
text_id!(
    /// A Cloudflare tunnel; opaque.
    TunnelId
);
text_id!(
    /// A Cloudflare account; opaque.
    AccountId
);
text_id!(
    /// A Cloudflare zone; opaque.
    ZoneId
);
text_id!(
    /// A Cloudflare DNS record; opaque.
    RecordId
);
text_id!(
    /// A group of Access policies, made by a person; see [`GroupId::parse`].
    GroupId
);
text_id!(
    /// Where people are told what happened, named by a person; see [`TargetId::parse`].
    TargetId
);
text_id!(
    /// A reusable Access policy at Cloudflare; opaque.
    PolicyId
);
text_id!(
    /// An Access application at Cloudflare; opaque.
    ApplicationId
);
text_id!(
    /// A way to sign in that an account knows; opaque.
    IdentityProviderId
);
text_id!(
    /// A service token of Cloudflare Access, without its secret; opaque.
    ServiceTokenId
);

impl AgentId {
    /// True for words that stand in the place of an id in paths of the API: an agent that is called so could not be
    /// managed.
    pub fn is_reserved(&self) -> bool {
        ["register", "renew", "keys", "generate-key", "revoke-key"].contains(&self.as_str())
    }

    /// Checks an id that came over the wire: 1 to 64 characters of `A-Za-z0-9._-`, neither `.` nor `..`.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        let refuse =
            |reason| Err(InvalidId { kind: "an agent id", value: value.chars().take(80).collect(), reason });
        match value {
            // A client that builds a path with one of them asks for another path.
            "." | ".." => refuse("`.` and `..` mean something else in a path; choose another id"),
            _ if !is_plain(value) => {
                refuse("1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-` are allowed")
            }
            _ => Ok(Self::new(value)),
        }
    }
}

impl CommandId {
    /// Checks an id that came over the wire. It becomes a file name, so it does not begin with a dot.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        if is_plain(value) && !value.starts_with('.') {
            return Ok(Self::new(value));
        }
        Err(InvalidId {
            kind: "a command id",
            value: value.chars().take(80).collect(),
            reason: "1 to 64 of `A-Za-z0-9._-`, the first no dot, are allowed",
        })
    }
}

impl GroupId {
    /// Checks an id that a person chose or a label names: 1 to 64 characters of `a-z0-9._-`.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        if is_plain(value) && !value.bytes().any(|b| b.is_ascii_uppercase()) {
            return Ok(Self::new(value));
        }
        Err(InvalidId {
            kind: "the id of a group",
            value: value.chars().take(80).collect(),
            reason: "1 to 64 characters of a-z, 0-9, `.`, `_` and `-` are allowed",
        })
    }
}

impl TargetId {
    /// Checks an id that a person chose: 1 to 64 characters of `a-z0-9._-`, neither `.` nor `..`, which mean something
    /// else in a path.
    pub fn parse(value: &str) -> Result<Self, InvalidId> {
        let is_good = is_plain(value) && !value.bytes().any(|b| b.is_ascii_uppercase());
        if is_good && ![".", ".."].contains(&value) {
            return Ok(Self::new(value));
        }
        Err(InvalidId {
            kind: "the id of a target",
            value: value.chars().take(80).collect(),
            reason: "1 to 64 characters of a-z, 0-9, `.`, `_` and `-` are allowed",
        })
    }
}

fn is_plain(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_short_and_plain() {
        for good in ["a", "edba1cec-bae7-447d-895f-5542c3853621", "Host_1.example"] {
            assert_eq!(AgentId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "../x", "é", ".", "..", &"x".repeat(65)] {
            assert!(AgentId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(AgentId::parse("..").unwrap_err().reason.contains("in a path"));
        assert!(AgentId::parse("...").is_ok() && AgentId::parse(".host").is_ok());
    }

    #[test]
    fn ids_of_groups_are_lower_case_and_fit_into_a_list_of_a_label() {
        for good in ["staff", "public-default-bypass", "a", "team_1.ops", &"x".repeat(64)] {
            assert_eq!(GroupId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "Staff", "a b", "a,b", "é", "a/b", &"x".repeat(65)] {
            assert!(GroupId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn command_ids_are_file_names_too() {
        assert_eq!(CommandId::parse("c-1.x_Y").unwrap().as_str(), "c-1.x_Y");
        for bad in ["", ".", "..", ".x", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(CommandId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
