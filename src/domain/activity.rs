//! What people want to know of a decision beside that it was made: what it is about, and what it took the place of.

use serde_json::Value;

use super::difference::{Difference, differences};
use super::event::{
    AccessEvent, AdminEvent, AgentEvent, Event, KeyEvent, NotifyEvent, RouteEvent, RuleEvent, UpdateEvent,
};

/// What decisions are about, and how their types begin.
pub const TOPICS: [(&str, &[&str]); 11] = [
    ("agents", &["agent_"]),
    ("keys", &["key_", "token_"]),
    ("commands", &["command_"]),
    ("routes", &["route_"]),
    ("rules", &["rule_"]),
    ("access", &["access_"]),
    ("tunnels", &["tunnel_", "dns_"]),
    ("cloudflare", &["owned_"]),
    ("updates", &["update_"]),
    ("notifications", &["notify_"]),
    ("settings", &["admin_", "setting_", "registry_", "order_", "image_"]),
];

/// Returns the types that a topic or a type stands for: one that ends with `_` stands for all that begin so.
pub fn kinds_of(word: &str) -> Vec<String> {
    match TOPICS.iter().find(|(topic, _)| *topic == word) {
        Some((_, begins)) => begins.iter().map(|text| (*text).to_owned()).collect(),
        None => vec![word.to_owned()],
    }
}

/// A thing of which a decision says how it is from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it is called; no other thing that these types are about has the same name.
    pub name: String,
    /// A text that whatever is said of it has in it.
    pub hint: String,
    /// The types that say how it is, or that it is not there any more.
    pub kinds: &'static [&'static str],
}

/// What was said of a thing before.
#[derive(Debug, Clone, PartialEq)]
pub enum Earlier<T> {
    /// Nothing: it is new, or was taken away.
    Nothing,
    /// This.
    Was(T),
    /// That was not looked for any further back.
    NotLookedUp,
}

impl Event {
    /// Returns the thing that it says how it is, if one can ask how it was before.
    pub fn thing(&self) -> Option<Thing> {
        let named = |name: &str, hint: &str, kinds| {
            Some(Thing { name: name.to_owned(), hint: hint.to_owned(), kinds })
        };
        let thing = |name: &str, kinds| named(name, name, kinds);
        match self {
            Self::Access(AccessEvent::GroupSet { group }) => thing(group.id.as_str(), GROUPS),
            Self::Access(AccessEvent::GroupRemoved { group_id }) => thing(group_id.as_str(), GROUPS),
            Self::Notify(NotifyEvent::TargetSet { target }) => thing(target.id.as_str(), TARGETS),
            Self::Notify(NotifyEvent::TargetRemoved { target_id }) => thing(target_id.as_str(), TARGETS),
            Self::Rule(event) => {
                let key = event.route();
                named(&key.to_string(), &key.hostname, RULES)
            }
            Self::Admin(AdminEvent::SettingChanged { key, .. }) => thing(key, &["setting_changed"]),
            Self::Admin(
                AdminEvent::RegistryLoginSet { registry, .. } | AdminEvent::RegistryLoginRemoved { registry },
            ) => thing(registry, LOGINS),
            Self::Admin(AdminEvent::OrderKeySet { .. }) => thing("", &["order_key_set"]),
            Self::Agent(AgentEvent::Renamed { agent_id, .. } | AgentEvent::Registered { agent_id, .. }) => {
                thing(agent_id.as_str(), NAMES)
            }
            Self::Agent(AgentEvent::Limited { agent_id, .. }) => thing(agent_id.as_str(), &["agent_limited"]),
            Self::Agent(AgentEvent::Enrolled { agent_id, .. }) => {
                thing(agent_id.as_str(), &["agent_enrolled"])
            }
            Self::Key(KeyEvent::Limited { key_id, .. }) => thing(key_id.as_str(), &["key_limited"]),
            Self::Key(KeyEvent::Seated { key_id, .. }) => thing(key_id.as_str(), &["key_seated"]),
            Self::Route(
                event @ (RouteEvent::Claimed { .. }
                | RouteEvent::Changed { .. }
                | RouteEvent::Released { .. }),
            ) => {
                let key = event.route();
                named(&key.to_string(), &key.hostname, ROUTES)
            }
            Self::Update(
                UpdateEvent::Decided { kind, name, .. } | UpdateEvent::Reconsidered { kind, name, .. },
            ) => named(&format!("{} {name}", kind.as_str()), name, DECISIONS),
            _ => None,
        }
    }

    /// True if it says that the thing is not there any more.
    pub fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::Access(AccessEvent::GroupRemoved { .. })
                | Self::Rule(RuleEvent::Removed { .. })
                | Self::Notify(NotifyEvent::TargetRemoved { .. })
                | Self::Admin(AdminEvent::RegistryLoginRemoved { .. })
                | Self::Route(RouteEvent::Released { .. })
                | Self::Update(UpdateEvent::Reconsidered { .. })
        )
    }

    /// Returns its type and what it says.
    pub fn parts(&self) -> (String, Value) {
        let mut said = serde_json::to_value(self).unwrap_or_default();
        let kind = said.as_object_mut().and_then(|fields| fields.shift_remove("type"));
        (kind.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(), said)
    }

    /// Returns what it changed, field by field. What another type says of the same thing is compared as far as both say it.
    pub fn changes(&self, before: Option<&Self>) -> Vec<Difference> {
        let (kind, after) = self.parts();
        let Some((old_kind, mut old)) = before.filter(|one| !one.takes_away()).map(Self::parts) else {
            return if self.takes_away() { Vec::new() } else { differences(&Value::Null, &after) };
        };
        if self.takes_away() {
            return differences(&old, &Value::Null);
        }
        if old_kind != kind
            && let (Some(fields), Some(known)) = (old.as_object_mut(), after.as_object())
        {
            fields.retain(|name, _| known.contains_key(name));
        }
        differences(&old, &after)
    }
}

const GROUPS: &[&str] = &["access_group_set", "access_group_removed"];
const RULES: &[&str] = &["rule_set", "rule_removed"];
const TARGETS: &[&str] = &["notify_target_set", "notify_target_removed"];
const LOGINS: &[&str] = &["registry_login_set", "registry_login_removed"];
const NAMES: &[&str] = &["agent_renamed", "agent_registered"];
const ROUTES: &[&str] = &["route_claimed", "route_changed", "route_released"];
const DECISIONS: &[&str] = &["update_decided", "update_reconsidered"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::all_types;
    use super::*;

    const STORED: &str = include_str!("../../tests/fixtures/events.jsonl");

    fn stored() -> impl Iterator<Item = Event> {
        STORED.lines().map(|line| serde_json::from_str(line).unwrap())
    }

    #[test]
    fn every_type_belongs_to_one_topic() {
        for kind in all_types() {
            let topics: Vec<&str> = TOPICS
                .iter()
                .filter(|(_, begins)| begins.iter().any(|text| kind.starts_with(text)))
                .map(|(topic, _)| *topic)
                .collect();
            assert_eq!(topics.len(), 1, "{kind}: {topics:?}");
        }
        assert_eq!(kinds_of("keys"), ["key_", "token_"]);
        assert_eq!(kinds_of("rule_set"), ["rule_set"]);
    }

    #[test]
    fn whatever_says_how_a_thing_is_is_among_the_types_that_do() {
        let types = all_types();
        for event in stored() {
            let (kind, said) = event.parts();
            assert!(said.get("type").is_none() && types.contains(&kind), "{kind}");
            if let Some(thing) = event.thing() {
                assert!(said.to_string().contains(&thing.hint), "{kind} lacks `{}`", thing.hint);
                assert!(thing.kinds.contains(&kind.as_str()), "{kind} is not among {:?}", thing.kinds);
                assert!(thing.kinds.iter().all(|kind| types.contains(*kind)), "{:?}", thing.kinds);
            } else {
                assert!(!event.takes_away(), "{kind}");
            }
        }
    }

    #[test]
    fn a_change_is_told_by_what_is_not_as_it_was() {
        let event = |value: Value| serde_json::from_value::<Event>(value).unwrap();
        let fields = |changes: Vec<Difference>| -> Vec<(String, String, String)> {
            let text = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            changes.into_iter().map(|one| (one.field, text(one.before), text(one.after))).collect()
        };
        let set = |value: u32| event(json!({ "type": "setting_changed", "key": "grace", "value": value }));
        let of =
            |field: &str, before: &str, after: &str| (field.to_owned(), before.to_owned(), after.to_owned());

        assert_eq!(fields(set(2).changes(Some(&set(1)))), [of("value", "1", "2")]);
        assert_eq!(fields(set(1).changes(None)), [of("key", "-", "grace"), of("value", "-", "1")]);

        let joined =
            event(json!({ "type": "agent_registered", "agent_id": "a", "key_id": "k", "display_name": "old",
            "version": null, "key_owner": "ann" }));
        let renamed = event(json!({ "type": "agent_renamed", "agent_id": "a", "display_name": "new" }));
        assert_eq!(joined.thing(), renamed.thing());
        assert_eq!(fields(renamed.changes(Some(&joined))), [of("display_name", "old", "new")]);

        let login = event(json!({ "type": "registry_login_set", "registry": "r.io", "account": "ann" }));
        let gone = event(json!({ "type": "registry_login_removed", "registry": "r.io" }));
        assert_eq!(
            fields(gone.changes(Some(&login))),
            [of("registry", "r.io", "-"), of("account", "ann", "-")]
        );
        assert_eq!(fields(login.changes(Some(&gone))).len(), 2, "it was not there before");
    }
}
