//! What DockFlare's master keeps in `state.json`, as far as it has a meaning here.
//!
//! Releases differ in what they write, so fields may be missing or empty; one of another kind makes that entry an odd one,
//! which is named and left out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::text::repeated;
use super::keys::digest;

/// Most entries of one kind that are read.
const MOST: usize = 10_000;

/// The whole of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Its Access groups by id, as they stand there.
    pub groups: Vec<(String, Value)>,
    /// Its agents.
    pub agents: Vec<Agent>,
    /// Entries that could not be read.
    pub odd: Vec<Odd>,
}

/// An entry that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    /// What it is.
    pub kind: OddKind,
    /// What it stands under.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddKind {
    /// A rule.
    Rule,
    /// An agent.
    Agent,
}

impl OddKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Agent => "agent",
        }
    }
}

impl Odd {
    /// What people know it by.
    pub fn name(&self) -> String {
        let (hostname, path) = self.key.split_once('|').unwrap_or((&self.key, ""));
        match self.kind {
            OddKind::Rule => repeated(&shown(hostname, path)),
            OddKind::Agent => repeated(&self.key),
        }
    }

    /// Why nothing becomes of it, and the way out.
    pub fn reason(&self) -> String {
        let way_out = match self.kind {
            OddKind::Rule => "make it with `lightship rules set`",
            OddKind::Agent => "say yes to it with `lightship agents enroll` once it has come",
        };
        format!("it cannot be read: {}; {way_out}", self.why)
    }
}

/// A rule: a hostname and where it leads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Public name.
    pub hostname: Option<String>,
    /// Path, as it was written.
    pub path: Option<String>,
    /// Where requests go.
    pub service: Option<String>,
    /// Who asks for it: `docker`, `agent`, `manual`, `tunnel_import`.
    pub source: Option<String>,
    /// Its zone.
    pub zone_name: Option<String>,
    /// Its tunnel.
    pub tunnel_id: Option<String>,
    /// What that is called.
    pub tunnel_name: Option<String>,
    /// Options of the connector.
    pub no_tls_verify: Option<bool>,
    /// See Cloudflare.
    pub origin_server_name: Option<String>,
    /// See Cloudflare.
    pub http_host_header: Option<String>,
    /// See Cloudflare.
    pub http2_origin: Option<bool>,
    /// See Cloudflare.
    pub disable_chunked_encoding: Option<bool>,
    /// See Cloudflare.
    pub match_sni_to_host: Option<bool>,
    /// What protects it, in a word.
    pub access_policy_type: Option<String>,
    /// The groups that protect it.
    pub access_group_id: OneOrMany,
    /// True if a person said on the page what protects it, whatever labels say.
    pub access_policy_ui_override: Option<bool>,
    /// True if a person changed the rule itself on the page.
    pub rule_ui_override: Option<bool>,
}

/// Ids, written as one text or as a list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// None.
    #[default]
    Nothing,
    /// One.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns them; blank ones are none.
    pub fn ids(&self) -> Vec<&str> {
        let all: &[String] = match self {
            Self::Nothing => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        };
        all.iter().map(|id| id.trim()).filter(|id| !id.is_empty()).collect()
    }
}

impl Rule {
    /// True if a person made it; else a container's labels did.
    pub fn is_manual(&self) -> bool {
        matches!(self.source.as_deref(), Some("manual" | "tunnel_import"))
    }

    /// Returns hostname and path as they stand there, for people.
    pub fn name(&self) -> String {
        shown(self.hostname.as_deref().unwrap_or_default(), self.path.as_deref().unwrap_or_default())
    }
}

fn shown(hostname: &str, path: &str) -> String {
    let path = path.trim();
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{hostname}{slash}{path}")
}

/// An agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// True if a person named it.
    pub is_named: bool,
    /// The tunnel that it has.
    pub tunnel_id: Option<String>,
    /// What that is called.
    pub tunnel_name: Option<String>,
    /// Digest of its key.
    pub key: Option<String>,
    /// Its containers when it reported last: the name of each with its labels.
    pub containers: Vec<(String, BTreeMap<String, String>)>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredAgent {
    display_name: Option<String>,
    custom_name: Option<bool>,
    assigned_tunnel_id: Option<String>,
    assigned_tunnel_name: Option<String>,
    api_key: Option<String>,
    last_containers: Option<Vec<StoredContainer>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredContainer {
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl State {
    /// Reads it; fails if it is no state of DockFlare at all.
    pub fn read(value: &Value) -> Result<Self, String> {
        let Some(whole) = value.as_object() else { return Err("it is no JSON object".into()) };
        let mut state = Self::default();
        let rules = match whole.get("managed_rules") {
            Some(Value::Object(rules)) => Some(rules),
            // Earlier releases kept nothing else in it, each rule under its hostname.
            None if !whole.is_empty() && whole.values().all(|rule| rule.get("service").is_some()) => {
                Some(whole)
            }
            None | Some(Value::Null) => None,
            Some(_) => return Err("`managed_rules` is no object".into()),
        };
        let known = ["managed_rules", "access_groups", "agents"];
        if rules.is_none() && !known.iter().any(|name| whole.contains_key(*name)) {
            return Err("it has none of `managed_rules`, `access_groups` and `agents`, so it is no `state.json` of DockFlare".into());
        }
        state.take_rules(rules)?;
        for (id, group) in part(whole, "access_groups")?.into_iter().flatten() {
            state.groups.push((id.clone(), group.clone()));
        }
        for (id, agent) in part(whole, "agents")?.into_iter().flatten() {
            state.take_agent(id, agent);
        }
        Ok(state)
    }

    fn take_rules(&mut self, rules: Option<&Map<String, Value>>) -> Result<(), String> {
        let rules = bounded("managed_rules", rules)?;
        for (key, value) in rules.into_iter().flatten() {
            match Rule::deserialize(value) {
                Ok(mut rule) => {
                    let (hostname, path) = key.split_once('|').unwrap_or((key, ""));
                    rule.hostname.get_or_insert_with(|| hostname.to_owned());
                    rule.path.get_or_insert_with(|| path.to_owned());
                    self.rules.push(rule);
                }
                Err(error) => {
                    let why = error.to_string().chars().take(200).collect();
                    self.odd.push(Odd { kind: OddKind::Rule, key: key.clone(), why });
                }
            }
        }
        Ok(())
    }

    fn take_agent(&mut self, id: &str, value: &Value) {
        let stored = match StoredAgent::deserialize(value) {
            Ok(stored) => stored,
            // An error of the reader may repeat what it met, and that may be the key.
            Err(_) => {
                let why = "its record holds something else than DockFlare writes".into();
                return self.odd.push(Odd { kind: OddKind::Agent, key: id.to_owned(), why });
            }
        };
        let containers = stored.last_containers.unwrap_or_default();
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        self.agents.push(Agent {
            id: id.to_owned(),
            name: filled(stored.display_name).unwrap_or_else(|| id.to_owned()),
            is_named: stored.custom_name == Some(true),
            tunnel_id: filled(stored.assigned_tunnel_id),
            tunnel_name: filled(stored.assigned_tunnel_name),
            key: filled(stored.api_key).map(|raw| digest(&raw)),
            containers: containers
                .into_iter()
                .map(|one| (one.name.unwrap_or_default(), one.labels.unwrap_or_default()))
                .collect(),
        });
    }
}

fn part<'v>(whole: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Map<String, Value>>, String> {
    match whole.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(entries)) => bounded(name, Some(entries)),
        Some(_) => Err(format!("`{name}` is no object")),
    }
}

fn bounded<'v>(
    name: &str,
    entries: Option<&'v Map<String, Value>>,
) -> Result<Option<&'v Map<String, Value>>, String> {
    match entries {
        Some(entries) if entries.len() > MOST => Err(format!("`{name}` has more than {MOST} entries")),
        entries => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_groups_and_agents_are_read_and_no_key_stays() {
        let key = "k".repeat(43);
        let state = State::read(&json!({
            "managed_rules": {
                "nas.example.com|": {"hostname": "nas.example.com", "path": null, "service": "http://nas:5000", "source": "manual",
                    "no_tls_verify": true, "access_group_id": ["staff"], "tunnel_id": "t-1", "delete_at": null, "zone_id": "z"},
                "app.example.com|/api": {"service": "http://app:80", "source": "agent", "access_group_id": "staff"},
                "odd.example.com|": {"service": 7},
            },
            "access_groups": {"staff": {"display_name": "Staff"}},
            "agents": {
                "a-1": {"display_name": "web-1", "custom_name": true, "assigned_tunnel_name": "edge", "assigned_tunnel_token": "secret",
                    "api_key": key, "last_containers": [{"id": "c", "name": "app", "labels": {"dockflare.enable": "true"}}]},
                "a-2": {"api_key": null},
                "a-3": {"api_key": {"hidden": "hidden"}},
            },
            "identity_providers": {}, "agent_cf_token": {"client_secret": "secret"},
        }))
        .unwrap();
        let [nas, app] = &state.rules[..] else { panic!("two rules: {:?}", state.rules) };
        assert_eq!(
            (nas.name().as_str(), nas.is_manual(), nas.access_group_id.ids()),
            ("nas.example.com", true, vec!["staff"])
        );
        assert_eq!(
            (app.name().as_str(), app.is_manual(), app.access_group_id.ids()),
            ("app.example.com/api", false, vec!["staff"])
        );
        assert_eq!(state.groups, [("staff".to_owned(), json!({"display_name": "Staff"}))]);
        let [one, two] = &state.agents[..] else { panic!("two agents") };
        assert_eq!(
            (one.name.as_str(), one.is_named, one.tunnel_name.as_deref()),
            ("web-1", true, Some("edge"))
        );
        assert_eq!((one.key.as_deref(), one.containers.len()), (Some(digest(&key).as_str()), 1));
        assert_eq!((two.name.as_str(), two.is_named, &two.key), ("a-2", false, &None));
        let odd: Vec<_> = state.odd.iter().map(|odd| (odd.kind.as_str(), odd.name())).collect();
        assert_eq!(odd, [("rule", "odd.example.com".to_owned()), ("agent", "a-3".to_owned())]);
        let said = format!("{state:?}");
        assert!(!said.contains(&key) && !said.contains("secret") && !said.contains("hidden"), "{said}");
    }

    #[test]
    fn the_form_of_earlier_releases_is_read() {
        let state =
            State::read(&json!({"app.example.com": {"service": "http://app:80", "source": "docker"}}))
                .unwrap();
        assert_eq!(state.rules[0].name(), "app.example.com");
    }

    #[test]
    fn what_is_no_state_says_so() {
        for (value, words) in [
            (json!([]), "no JSON object"),
            (json!({}), "no `state.json` of DockFlare"),
            (json!({"version": 1}), "no `state.json` of DockFlare"),
            (json!({"managed_rules": []}), "`managed_rules` is no object"),
            (json!({"agents": []}), "`agents` is no object"),
        ] {
            assert!(State::read(&value).unwrap_err().contains(words), "{value}");
        }
        let many: Map<String, Value> = (0..=MOST).map(|n| (n.to_string(), json!({}))).collect();
        assert!(State::read(&json!({ "agents": many })).unwrap_err().contains("more than 10000"));
    }
}
