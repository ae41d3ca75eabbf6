//! Groups that keep nobody out: worth a question before they are made.

use serde_json::Value;

use super::super::id::GroupId;
use super::ask::AccessAsk;
use super::group::Group;
use super::policy::{Decision, PolicySpec};
use super::selector::Selector;

impl Group {
    /// True if one of its policies lets in whoever comes, or whoever can sign in in any way. Whom another policy refuses
    /// before does not count.
    pub fn is_open_to_everyone(&self) -> bool {
        self.policies.iter().any(PolicySpec::is_open_to_everyone)
    }
}

impl Group {
    /// True if one of its policies lets in whoever comes, without asking who that is.
    pub fn asks_nobody(&self) -> bool {
        self.policies.iter().any(PolicySpec::asks_nobody)
    }
}

impl AccessAsk {
    /// Says why everybody reaches what asks for this, if that is so; `groups` are all that there are.
    pub fn open_because(&self, groups: &[Group]) -> Option<&'static str> {
        let asks_nobody = |id: &GroupId| groups.iter().any(|group| group.id == *id && group.asks_nobody());
        match self {
            Self::Nothing => Some(
                "no label asks for a login; an application for the whole zone, if there is one, stands before it all the \
                 same",
            ),
            Self::Public => Some("its labels say that it is public"),
            Self::Groups { groups } if groups.iter().any(asks_nobody) => {
                Some("a group that it asks for lets in everybody without a login")
            }
            Self::Own { policies, .. } if policies.iter().any(PolicySpec::asks_nobody) => {
                Some("its own policies let in everybody without a login")
            }
            Self::Inherit | Self::Groups { .. } | Self::Own { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// True if a policy, as Cloudflare keeps it, lets nobody in who was not asked for something: a login, or a token.
pub fn asks_somebody(body: &Value) -> bool {
    let is_everyone = |rule: &Value| {
        let range = rule["ip"]["ip"].as_str().unwrap_or_default();
        rule.get("everyone").is_some() || range.ends_with("/0")
    };
    let includes = body["include"].as_array().map(Vec::as_slice).unwrap_or_default();
    match body["decision"].as_str() {
        Some("allow" | "deny") => true,
        // What it requires besides is not looked at: a place or a time is nothing that anybody shows.
        Some("non_identity") => !includes.is_empty() && !includes.iter().any(is_everyone),
        _ => false,
    }
}

impl PolicySpec {
    fn asks_nobody(&self) -> bool {
        matches!(self.decision, Decision::Bypass | Decision::NonIdentity) && self.is_open_to_everyone()
    }

    fn is_open_to_everyone(&self) -> bool {
        self.decision != Decision::Deny
            && self.include.iter().any(Selector::is_everyone)
            && self.require.iter().all(Selector::is_everyone)
    }
}

impl Selector {
    /// True for everyone, however it is said.
    fn is_everyone(&self) -> bool {
        match self {
            Self::Everyone => true,
            Self::Ip(range) => {
                range.split_once('/').is_some_and(|(_, bits)| bits.parse::<u8>().is_ok_and(|bits| bits == 0))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::read::read_group;
    use super::asks_somebody;

    #[test]
    fn a_policy_that_is_kept_asks_somebody_or_it_does_not() {
        let everyone = json!({ "everyone": {} });
        let token = json!({ "service_token": { "token_id": "t" } });
        for (decision, include, expected) in [
            ("allow", json!([everyone]), true),
            ("deny", json!([everyone]), true),
            ("bypass", json!([token]), false),
            ("non_identity", json!([token]), true),
            ("non_identity", json!([token, everyone]), false),
            ("non_identity", json!([{ "ip": { "ip": "::/0" } }]), false),
            ("non_identity", json!([]), false),
            ("something_new", json!([token]), false),
        ] {
            let body = json!({ "decision": decision, "include": include });
            assert_eq!(asks_somebody(&body), expected, "{body}");
        }
        assert!(!asks_somebody(&json!({})));
    }

    #[test]
    fn a_group_that_keeps_nobody_out_is_known_however_it_says_so() {
        let everyone = json!({ "everyone": {} });
        let all = json!({ "ip": { "ip": "0.0.0.0/0" } });
        let one = json!({ "email": { "email": "a@example.com" } });
        let policy = |decision: &str, include: &[&Value], require: &[&Value]| json!({ "decision": decision, "include": include, "require": require, "exclude": [one] });
        for (policies, is_open) in [
            (vec![policy("bypass", &[&everyone], &[])], true),
            (vec![policy("allow", &[&one, &everyone], &[])], true),
            (vec![policy("non_identity", &[&all], &[])], true),
            (vec![policy("allow", &[&everyone], &[&everyone, &all])], true),
            (vec![policy("allow", &[&one], &[]), policy("bypass", &[&all], &[])], true),
            (vec![policy("allow", &[&everyone], &[&one])], false),
            (vec![policy("deny", &[&everyone], &[])], false),
            (vec![policy("bypass", &[&one], &[&everyone])], false),
            (vec![policy("bypass", &[&json!({ "ip": { "ip": "10.0.0.0/8" } })], &[])], false),
        ] {
            let group = read_group(None, json!({ "id": "g", "policies": policies })).unwrap();
            assert_eq!(group.is_open_to_everyone(), is_open, "{policies:?}");
        }
    }
}
