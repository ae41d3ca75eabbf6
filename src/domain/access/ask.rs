//! What the labels of a route ask of Cloudflare Access.

use serde::{Deserialize, Serialize};

use super::super::id::GroupId;
use super::group::PUBLIC_BYPASS;
use super::options::AppOptions;
use super::policy::PolicySpec;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccessAsk {
    /// Nothing: no label is about it. An application for the whole zone covers the route all the same.
    #[default]
    Nothing,
    /// It was said that the route is public: it gets no application of its own.
    Public,
    /// It is covered by the application for the whole zone, which must be there.
    Inherit,
    /// Policies of groups, in this order.
    Groups {
        /// The groups; the first one says how the application behaves.
        groups: Vec<GroupId>,
    },
    /// Policies of its own.
    Own {
        /// How the application behaves.
        options: AppOptions,
        /// Its policies, in their order.
        policies: Vec<PolicySpec>,
    },
    /// It asks for something, and nobody can tell for what. Without reasons: an older release wrote down no more than that.
    Unreadable {
        /// What is wrong, with the label and the way out.
        reasons: Vec<String>,
    },
}

impl AccessAsk {
    /// True if nothing has to stand before the route may be reached.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Nothing | Self::Public)
    }

    /// True if somebody is to be kept out, as far as can be told from here.
    pub fn keeps_out(&self) -> bool {
        match self {
            Self::Nothing | Self::Public => false,
            Self::Groups { groups } => {
                groups.is_empty() || groups.iter().any(|group| group.as_str() != PUBLIC_BYPASS)
            }
            Self::Inherit | Self::Own { .. } | Self::Unreadable { .. } => true,
        }
    }

    /// Returns it for what an older release wrote down of it.
    pub fn of_old_record(has_access_labels: bool) -> Self {
        match has_access_labels {
            true => Self::Unreadable { reasons: Vec::new() },
            false => Self::Nothing,
        }
    }

    /// True if a record need not say more of it than whether somebody is to be kept out.
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Unreadable { reasons } => reasons.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_ask_is_kept_by_its_word_and_says_whom_it_keeps_out() {
        let groups = |names: &[&str]| AccessAsk::Groups {
            groups: names.iter().map(|name| GroupId::new(*name)).collect(),
        };
        let own = AccessAsk::Own { options: AppOptions::default(), policies: Vec::new() };
        for (ask, kind, is_public, keeps_out) in [
            (AccessAsk::Nothing, "nothing", true, false),
            (AccessAsk::Public, "public", true, false),
            (AccessAsk::Inherit, "inherit", false, true),
            (groups(&["staff"]), "groups", false, true),
            (groups(&[PUBLIC_BYPASS]), "groups", false, false),
            (groups(&[PUBLIC_BYPASS, "staff"]), "groups", false, true),
            (groups(&[]), "groups", false, true),
            (own, "own", false, true),
            (AccessAsk::Unreadable { reasons: vec!["so".into()] }, "unreadable", false, true),
            (AccessAsk::of_old_record(true), "unreadable", false, true),
            (AccessAsk::of_old_record(false), "nothing", true, false),
        ] {
            let written = serde_json::to_value(&ask).unwrap();
            assert_eq!(written["kind"], kind);
            assert_eq!(serde_json::from_value::<AccessAsk>(written).unwrap(), ask);
            assert_eq!((ask.is_public(), ask.keeps_out()), (is_public, keeps_out), "{ask:?}");
        }
        assert_eq!(serde_json::to_value(groups(&["a"])).unwrap(), json!({"kind": "groups", "groups": ["a"]}));
    }
}
