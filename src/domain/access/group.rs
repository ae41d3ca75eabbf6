//! Groups of policies, made by people and named by labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::id::GroupId;
use super::options::{AppOptions, check_name};
use super::policy::{Decision, PolicySpec, check_all};
use super::selector::Selector;

/// The group that lets everybody in, as DockFlare calls it.
pub const PUBLIC_BYPASS: &str = "public-default-bypass";
/// The group that lets whoever owns the account in, as DockFlare calls it.
pub const AUTHENTICATED: &str = "authenticated-default";
/// Type of the identity provider that sends a code by mail; an account has one at most.
pub(super) const ONE_TIME_PIN: &str = "onetimepin";

/// Policies that applications share, and how these applications behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Chosen by whoever made it; labels name it.
    pub id: GroupId,
    /// For people.
    pub name: String,
    /// Of applications whose first group it is; without a name.
    #[serde(default)]
    pub options: AppOptions,
    /// In their order: the first one that is about somebody decides.
    pub policies: Vec<PolicySpec>,
}

impl Group {
    /// Returns everything that is wrong with it, each with the way out.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        wrong.extend(GroupId::parse(self.id.as_str()).err().map(|error| error.to_string()));
        wrong.extend(check_name("the name of a group", &self.name).err());
        if self.options.name.is_some() {
            wrong.push(
                "a group gives applications no name, since several may share it; leave `name` out".into(),
            );
        }
        wrong.extend(self.options.check().err().into_iter().flatten());
        wrong.extend(check_all(&self.policies).err().into_iter().flatten());
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// Returns the groups that are always there; nobody can change them.
pub fn system_groups() -> [Group; 2] {
    let group = |id: &str, name: &str, policy: PolicySpec| Group {
        id: GroupId::new(id),
        name: name.to_owned(),
        options: AppOptions::default(),
        policies: vec![policy],
    };
    let bypass = PolicySpec {
        name: None,
        decision: Decision::Bypass,
        include: vec![Selector::Everyone],
        require: Vec::new(),
        exclude: Vec::new(),
    };
    let owner = PolicySpec {
        decision: Decision::Allow,
        include: vec![Selector::IdentityProvider(ONE_TIME_PIN.into())],
        require: vec![Selector::AccountOwner],
        ..bypass.clone()
    };
    [group(PUBLIC_BYPASS, "Everybody", bypass), group(AUTHENTICATED, "Owner of the account", owner)]
}

/// Returns a group by its id. Nobody's group takes the place of one that is always there.
pub fn find_group<'a>(groups: &'a BTreeMap<GroupId, Group>, id: &GroupId) -> Option<Cow<'a, Group>> {
    let system = system_groups().into_iter().find(|group| group.id == *id);
    system.map(Cow::Owned).or_else(|| groups.get(id).map(Cow::Borrowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_that_are_always_there_are_good_and_cannot_be_replaced() {
        let mut groups = BTreeMap::new();
        for group in system_groups() {
            assert_eq!(group.validate(), Ok(()));
            let mine = Group { name: "mine".into(), ..group.clone() };
            groups.insert(group.id.clone(), mine);
        }
        for group in system_groups() {
            assert_eq!(find_group(&groups, &group.id).unwrap().into_owned(), group);
        }
        assert!(find_group(&groups, &GroupId::new("staff")).is_none());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let [public, _] = system_groups();
        let bad = Group {
            id: GroupId::new("My Group"),
            name: " ".into(),
            options: AppOptions {
                name: Some("x".into()),
                session_duration: "1d".into(),
                ..AppOptions::default()
            },
            policies: vec![PolicySpec { include: Vec::new(), ..public.policies[0].clone() }],
        };
        let wrong = bad.validate().unwrap_err();
        for words in
            ["id of a group", "name of a group", "no name", "`d` is no unit", "policy 1: `include` is empty"]
        {
            assert!(wrong.iter().any(|reason| reason.contains(words)), "{words}: {wrong:?}");
        }
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        let nobody = Group { policies: Vec::new(), ..public };
        assert!(nobody.validate().unwrap_err()[0].contains("nobody could come in"));
    }

    #[test]
    fn a_group_is_kept_as_it_was_given() {
        let text = r#"{"id":"staff","name":"Staff","policies":[{"decision":"allow","include":[{"email_domain":{"domain":"example.com"}}]}]}"#;
        let group: Group = serde_json::from_str(text).unwrap();
        assert_eq!((group.validate(), &group.options), (Ok(()), &AppOptions::default()));
        let written = serde_json::to_string(&group).unwrap();
        assert_eq!(serde_json::from_str::<Group>(&written).unwrap(), group);
    }
}
