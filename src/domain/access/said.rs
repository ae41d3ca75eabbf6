//! What protects a route, as people read it. Why one waits is said beside it, by whoever found out.

use super::super::id::GroupId;
use super::super::text::{beginning, repeated};
use super::ask::AccessAsk;
use super::group::{Group, PUBLIC_BYPASS};
use super::policy::PolicySpec;

/// Most characters that are said of a route.
const MOST: usize = 300;

impl Group {
    /// Says whom it lets in and whom it keeps out, a sentence a policy, in their order.
    pub fn in_words(&self) -> Vec<String> {
        self.policies.iter().map(PolicySpec::sentence).collect()
    }
}

impl AccessAsk {
    /// Returns the groups that it names.
    pub fn groups(&self) -> &[GroupId] {
        match self {
            Self::Groups { groups } => groups,
            _ => &[],
        }
    }

    /// True if it names the group.
    pub fn asks_for(&self, group: &GroupId) -> bool {
        self.groups().contains(group)
    }

    /// True if the route has an application of its own, or may have one that nobody can tell of now.
    pub const fn has_own_application(&self) -> bool {
        matches!(self, Self::Groups { .. } | Self::Own { .. } | Self::Unreadable { .. })
    }

    /// Returns the word for what it is, as it is stored.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Public => "public",
            Self::Inherit => "inherit",
            Self::Groups { .. } => "groups",
            Self::Own { .. } => "own",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// Says what protects the route that asks for it.
    pub fn in_words(&self) -> String {
        let said = match self {
            Self::Nothing => "none of its own".into(),
            Self::Public => "none: it was said that it is public".into(),
            Self::Inherit => "the Access application of its zone".into(),
            Self::Groups { groups } => of_groups(groups),
            Self::Own { policies, .. } => {
                let rules: Vec<String> = policies.iter().map(PolicySpec::sentence).collect();
                format!("rules of its own: {}", rules.join("; "))
            }
            Self::Unreadable { reasons } if reasons.is_empty() => {
                "not known until its container is reported again, so it is closed".into()
            }
            Self::Unreadable { reasons } => {
                format!("its labels cannot be read, so it is closed: {}", reasons.join("; "))
            }
        };
        beginning(&said, MOST)
    }
}

impl PolicySpec {
    /// Says what it does, and to whom.
    pub fn sentence(&self) -> String {
        format!("{} {}", self.decision.in_words(), self.in_words())
    }
}

/// Says whom a policy as Cloudflare has it lets in or keeps out; as it is written, if nobody here can read it.
pub fn policy_in_words(body: &serde_json::Value) -> String {
    let read = serde_json::from_value::<PolicySpec>(body.clone());
    beginning(&read.map_or_else(|_| body.to_string(), |policy| policy.sentence()), MOST)
}

fn of_groups(groups: &[GroupId]) -> String {
    match groups {
        [one] if one.as_str() == PUBLIC_BYPASS => format!("none: the group `{one}` lets everybody in"),
        [one] => format!("group `{}`", repeated(one.as_str())),
        many => {
            let names: Vec<String> = many.iter().map(|id| format!("`{}`", repeated(id.as_str()))).collect();
            format!("groups {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::AppOptions;
    use super::*;

    fn groups(names: &[&str]) -> AccessAsk {
        AccessAsk::Groups { groups: names.iter().map(|name| GroupId::new(*name)).collect() }
    }

    #[test]
    fn a_group_says_what_each_of_its_policies_does() {
        let policies = serde_json::json!([
            { "decision": "bypass", "include": [{ "ip": { "ip": "10.0.0.0/8" } }] },
            { "decision": "allow", "include": [{ "email_domain": { "domain": "example.com" } }] },
        ]);
        let policies = serde_json::from_value(policies).unwrap();
        let group =
            Group { id: GroupId::new("g"), name: "G".into(), options: AppOptions::default(), policies };
        let words = group.in_words();
        assert_eq!(words, ["asks nothing of anyone from 10.0.0.0/8", "lets in anyone of @example.com"]);
        let own = AccessAsk::Own { options: AppOptions::default(), policies: group.policies };
        assert_eq!(own.in_words(), format!("rules of its own: {}", words.join("; ")));
    }

    #[test]
    fn what_protects_a_route_is_said_in_words() {
        let unreadable = |reason: &str| AccessAsk::Unreadable { reasons: vec![reason.to_owned()] };
        for (ask, words) in [
            (AccessAsk::Nothing, "none of its own"),
            (AccessAsk::Public, "it was said that it is public"),
            (AccessAsk::Inherit, "the Access application of its zone"),
            (groups(&["staff"]), "group `staff`"),
            (groups(&["staff", "family"]), "groups `staff`, `family`"),
            (groups(&[PUBLIC_BYPASS]), "lets everybody in"),
            (unreadable("`access.group` is odd"), "so it is closed: `access.group` is odd"),
            (AccessAsk::Unreadable { reasons: Vec::new() }, "reported again"),
        ] {
            assert!(ask.in_words().contains(words), "{ask:?}: {}", ask.in_words());
            assert_eq!(serde_json::to_value(&ask).unwrap()["kind"], ask.kind());
        }
        assert_eq!(groups(&["a", "b"]).groups().len(), 2);
        assert!(AccessAsk::Public.groups().is_empty());
        let long = unreadable(&"ü\u{202e}".repeat(5_000)).in_words();
        assert!(long.ends_with('…') && long.len() < 4_000 && !long.contains('\u{202e}'));
    }
}
