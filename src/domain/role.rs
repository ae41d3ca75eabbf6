//! What a person may do.

use serde::{Deserialize, Serialize};

/// Each includes the ones before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Enrol, rename, apply.
    Operator,
    /// Everything: keys, removal, settings.
    #[default]
    Admin,
}

impl Role {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// True for the role that administrators had before there were others.
    pub fn is_admin(&self) -> bool {
        *self == Self::Admin
    }

    /// True if whoever has this role may do what `needed` may.
    pub fn includes(self, needed: Self) -> bool {
        self >= needed
    }
}

/// What the record calls who came with the admin token.
pub const BY_TOKEN: &str = "token";
/// What it calls root, and the master's own user, over the socket on the master's host.
pub const BY_SOCKET: &str = "local";
/// What it calls the master itself.
pub const BY_MASTER: &str = "system";
/// What stands there before the id of an agent that decided for itself.
pub const BY_AGENT: &str = "agent:";
/// As the record calls a file that the master reads when it starts.
pub const BY_FILE: &str = "file";

/// True if two names of the record may stand for one person. Whoever has the run of the master's host can read the admin
/// token: the two ways in are one person, the operator.
pub fn may_be_one_person(one: &str, other: &str) -> bool {
    let is_operator = |name: &str| matches!(name, BY_TOKEN | BY_SOCKET);
    one == other || (is_operator(one) && is_operator(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_itself_and_the_smaller_ones() {
        use Role::{Admin, Operator, Viewer};
        for (role, included) in
            [(Viewer, &[Viewer][..]), (Operator, &[Viewer, Operator]), (Admin, &[Viewer, Operator, Admin])]
        {
            for needed in [Viewer, Operator, Admin] {
                assert_eq!(role.includes(needed), included.contains(&needed), "{role:?} for {needed:?}");
            }
        }
    }

    #[test]
    fn the_stored_word_is_the_one_that_is_read() {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }

    #[test]
    fn token_and_socket_are_one_person_and_everybody_else_is_himself() {
        for (one, other, expected) in [
            ("ann", "ann", true),
            ("ann", "bob", false),
            ("ann", BY_TOKEN, false),
            (BY_SOCKET, "ann", false),
            (BY_TOKEN, BY_SOCKET, true),
            (BY_SOCKET, BY_TOKEN, true),
            (BY_SOCKET, BY_SOCKET, true),
        ] {
            assert_eq!(may_be_one_person(one, other), expected, "{one} {other}");
        }
    }
}
