//! Who owns an account: the one Super Administrator among its members, or whom a setting names.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::id::GroupId;
use super::ask::AccessAsk;
use super::group::{Group, find_group};
use super::policy::PolicySpec;
use super::selector::Selector;

/// The right to read the members of an account, as Cloudflare's form calls it.
pub const MEMBERS_RIGHT: &str = "Account Settings Read";
/// What an operator sets to name the owner.
const SETTING: &str = "`publish.account_owner_email` (`LIGHTSHIP__PUBLISH__ACCOUNT_OWNER_EMAIL`)";
/// The role that may do everything, as Cloudflare calls it.
const SUPER_ADMINISTRATOR: &str = "Super Administrator - All Privileges";
/// Who has taken the invitation.
const ACCEPTED: &str = "accepted";

/// A member of an account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    status: String,
    user: User,
    #[serde(default)]
    roles: Vec<Named>,
    /// The newer way to give roles.
    #[serde(default)]
    policies: Vec<MemberPolicy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct User {
    email: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct MemberPolicy {
    #[serde(default)]
    permission_groups: Vec<Named>,
}

impl Member {
    fn is_super_administrator(&self) -> bool {
        let groups = self.policies.iter().flat_map(|policy| &policy.permission_groups);
        self.roles.iter().chain(groups).any(|role| role.name == SUPER_ADMINISTRATOR)
    }
}

/// What is known of the owner, once somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The owner's address.
    Known(String),
    /// The token may not read the members.
    Unreadable,
    /// So many members could be the owner, and it takes one.
    NotOne(usize),
}

impl Owner {
    /// Finds the owner among all members.
    pub fn among(members: &[Member]) -> Self {
        let mut owners = members
            .iter()
            .filter(|member| member.status == ACCEPTED && member.is_super_administrator())
            .map(|member| member.user.email.trim().to_lowercase())
            .filter(|email| !email.is_empty())
            .collect::<Vec<_>>();
        owners.sort_unstable();
        owners.dedup();
        match <[String; 1]>::try_from(owners) {
            Ok([email]) => Self::Known(email),
            Err(owners) => Self::NotOne(owners.len()),
        }
    }

    /// Returns the address, or why there is none and what to do about it.
    pub(super) fn address(&self) -> Result<&str, String> {
        match self {
            Self::Known(email) => Ok(email),
            Self::Unreadable => Err(format!(
                "`authenticate` lets in the owner of the Cloudflare account, and its members could not be read; give the \
                 Cloudflare token the right `{MEMBERS_RIGHT}`, or set {SETTING} to the owner's address"
            )),
            Self::NotOne(0) => Err(format!(
                "`authenticate` lets in the owner of the Cloudflare account, and no member who has accepted is a Super \
                 Administrator; set {SETTING} to the owner's address"
            )),
            Self::NotOne(count) => Err(format!(
                "`authenticate` lets in the owner of the Cloudflare account, and {count} of its members are Super \
                 Administrators; set {SETTING} to the address of the one who is meant"
            )),
        }
    }
}

/// True if it takes the address of the account's owner to say what a route needs.
pub fn asks_for_owner(ask: &AccessAsk, groups: &BTreeMap<GroupId, Group>) -> bool {
    let is_about = |policies: &[PolicySpec]| policies.iter().any(PolicySpec::is_about_owner);
    match ask {
        AccessAsk::Groups { groups: ids } => {
            ids.iter().any(|id| find_group(groups, id).is_some_and(|group| is_about(&group.policies)))
        }
        AccessAsk::Own { policies, .. } => is_about(policies),
        AccessAsk::Nothing | AccessAsk::Public | AccessAsk::Inherit | AccessAsk::Unreadable { .. } => false,
    }
}

impl PolicySpec {
    fn is_about_owner(&self) -> bool {
        let all = self.include.iter().chain(&self.require).chain(&self.exclude);
        all.into_iter().any(|selector| *selector == Selector::AccountOwner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::group::{AUTHENTICATED, PUBLIC_BYPASS};
    use super::super::options::AppOptions;
    use super::super::policy::Decision;
    use super::*;

    fn members(list: Value) -> Vec<Member> {
        serde_json::from_value(list).unwrap()
    }

    fn member(email: &str, status: &str, role: &str) -> Value {
        json!({ "id": "m", "status": status, "user": { "email": email, "id": "u" }, "roles": [{ "id": "r", "name": role }] })
    }

    #[test]
    fn the_owner_is_the_one_super_administrator_who_has_accepted() {
        let newer = json!({ "id": "m", "status": "accepted", "user": { "email": "b@example.com" },
            "policies": [{ "access": "allow", "permission_groups": [{ "id": "g", "name": SUPER_ADMINISTRATOR }] }] });
        let owner = |email: &str| member(email, "accepted", SUPER_ADMINISTRATOR);
        for (list, expected) in [
            (json!([owner("Ann@Example.com")]), Owner::Known("ann@example.com".into())),
            (
                json!([owner("a@example.com"), member("b@example.com", "accepted", "Administrator")]),
                Owner::Known("a@example.com".into()),
            ),
            (
                json!([owner("a@example.com"), member("b@example.com", "pending", SUPER_ADMINISTRATOR)]),
                Owner::Known("a@example.com".into()),
            ),
            (json!([newer]), Owner::Known("b@example.com".into())),
            (json!([owner("a@example.com"), newer]), Owner::NotOne(2)),
            (json!([owner("a@example.com"), owner("A@example.com")]), Owner::Known("a@example.com".into())),
            (json!([member("a@example.com", "accepted", "Super")]), Owner::NotOne(0)),
            (json!([owner(" ")]), Owner::NotOne(0)),
            (json!([]), Owner::NotOne(0)),
        ] {
            assert_eq!(Owner::among(&members(list.clone())), expected, "{list}");
        }
    }

    #[test]
    fn without_an_owner_the_reason_names_the_right_or_the_setting() {
        for (owner, words) in [
            (Owner::Unreadable, ["`Account Settings Read`", "`publish.account_owner_email`"]),
            (Owner::NotOne(0), ["no member who has accepted", "`publish.account_owner_email`"]),
            (Owner::NotOne(3), ["3 of its members", "`publish.account_owner_email`"]),
        ] {
            let reason = owner.address().unwrap_err();
            assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        }
        assert_eq!(Owner::Known("a@example.com".into()).address(), Ok("a@example.com"));
    }

    #[test]
    fn what_is_about_the_owner_asks_for_the_address() {
        let policy = |selector: Selector| PolicySpec {
            name: None,
            decision: Decision::Allow,
            include: vec![Selector::Everyone],
            require: vec![selector],
            exclude: Vec::new(),
        };
        let id = GroupId::new("bosses");
        let bosses = Group {
            id: id.clone(),
            name: "Bosses".into(),
            options: AppOptions::default(),
            policies: vec![policy(Selector::AccountOwner)],
        };
        let groups = BTreeMap::from([(id, bosses)]);
        let of =
            |ids: &[&str]| AccessAsk::Groups { groups: ids.iter().map(|id| GroupId::new(*id)).collect() };
        let own =
            |selector| AccessAsk::Own { options: AppOptions::default(), policies: vec![policy(selector)] };
        for (ask, asks) in [
            (of(&[AUTHENTICATED]), true),
            (of(&[PUBLIC_BYPASS, "bosses"]), true),
            (of(&[PUBLIC_BYPASS]), false),
            (of(&["unknown"]), false),
            (own(Selector::AccountOwner), true),
            (own(Selector::Everyone), false),
            (AccessAsk::Nothing, false),
            (AccessAsk::Inherit, false),
        ] {
            assert_eq!(asks_for_owner(&ask, &groups), asks, "{ask:?}");
        }
    }
}
