//! What of DockFlare's state becomes what here, in which order, and what is left out and why.
//!
//! What is here already stays as it is, whatever the state says: somebody may have changed it since. What was withdrawn here
//! stays withdrawn. So a second time nothing is taken.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::access::{
    AUTHENTICATED, AccessAsk, Group, PUBLIC_BYPASS, Selector, is_built_in, read_group,
};
use super::super::id::GroupId;
use super::super::manual_rule::RuleDraft;
use super::super::route::{OriginRequest, RouteKey, Service};
use super::super::text::repeated;
use super::keys::Key;
use super::state::{Agent, Rule, State};

/// What the master has already.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Ids of its groups.
    pub groups: BTreeSet<String>,
    /// Its rules of people.
    pub rules: BTreeSet<RouteKey>,
    /// Of these keys, by digest, those that it knows.
    pub keys: BTreeMap<String, KeyHere>,
    /// Its agents by id.
    pub agents: BTreeMap<String, AgentHere>,
    /// What was withdrawn there for good.
    pub withdrawn: Withdrawals,
}

/// What was withdrawn at the master, and not made again since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawals {
    /// Digests of keys that were revoked and dropped from the list.
    pub keys: BTreeSet<String>,
    /// Ids of groups.
    pub groups: BTreeSet<String>,
    /// Rules of people.
    pub rules: BTreeSet<RouteKey>,
}

/// A key that the master knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHere {
    /// Its id.
    pub id: String,
    /// False once it was revoked here.
    pub is_active: bool,
}

/// An agent that the master knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHere {
    /// True if it waits for somebody to enrol it.
    pub is_pending: bool,
    /// What it is called.
    pub name: String,
    /// Id of the key that it came with.
    pub key_id: Option<String>,
}

/// One thing that is asked of the master.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make this group.
    SetGroup {
        /// Its id.
        id: String,
        /// The rest of it.
        body: Value,
    },
    /// Know a key by its digest.
    TakeKey {
        /// The digest.
        sha256: String,
        /// Whom it is for, and how many agents use it.
        body: Value,
    },
    /// Make this rule.
    SetRule {
        /// All of it.
        body: Value,
    },
    /// Name an agent.
    Rename {
        /// Which one.
        agent: String,
        /// Its name.
        name: String,
    },
    /// Give an agent its tunnel.
    Enrol {
        /// Which one.
        agent: String,
        /// The name of its tunnel.
        tunnel: String,
    },
}

/// What becomes of something.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is taken over.
    Take {
        /// What is asked of the master for it, in order.
        #[serde(skip)]
        steps: Vec<Step>,
    },
    /// It is here already.
    There,
    /// It was withdrawn here, and stays so.
    RemovedHere {
        /// What was done, and how it is had again all the same.
        reason: String,
    },
    /// It can be taken over later.
    Waits {
        /// For what.
        reason: String,
    },
    /// It is not taken over.
    Left {
        /// Why, and the way out.
        reason: String,
    },
}

/// Something of DockFlare's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// `group`, `key`, `rule`, `agent`.
    pub kind: &'static str,
    /// What it is called there.
    pub name: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What is different here.
    pub notes: Vec<String>,
}

impl Item {
    fn new(kind: &'static str, name: impl Into<String>, outcome: Outcome) -> Self {
        Self { kind, name: name.into(), outcome, notes: Vec::new() }
    }

    fn left(kind: &'static str, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(kind, name, Outcome::Left { reason: reason.into() })
    }

    fn removed_here(kind: &'static str, name: impl Into<String>, reason: &str) -> Self {
        Self::new(kind, name, Outcome::RemovedHere { reason: reason.to_owned() })
    }

    fn taken(kind: &'static str, name: impl Into<String>, steps: Vec<Step>, notes: Vec<String>) -> Self {
        Self { notes, ..Self::new(kind, name, Outcome::Take { steps }) }
    }

    /// What is asked of the master for it.
    pub fn steps(&self) -> &[Step] {
        match &self.outcome {
            Outcome::Take { steps } => steps,
            _ => &[],
        }
    }

    /// True if it is neither here nor taken, and nobody wanted it so.
    pub fn is_missing(&self) -> bool {
        matches!(self.outcome, Outcome::Waits { .. } | Outcome::Left { .. })
    }

    /// True if it is here, or is from now on.
    fn is_here(&self) -> bool {
        matches!(self.outcome, Outcome::There | Outcome::Take { .. })
    }
}

/// Says what becomes of everything. Groups come before the rules that name them, keys before their agents.
pub fn plan(state: &State, keys: &[Key], here: &Here) -> Vec<Item> {
    let mut items: Vec<Item> = state.groups.iter().map(|(id, value)| group(id, value, here)).collect();
    let groups: BTreeSet<String> =
        items.iter().filter(|item| item.is_here()).map(|item| item.name.clone()).collect();
    let keys = all_keys(state, keys);
    items.extend(keys.iter().map(|key| take_key(key, state, here)));
    items.extend(state.rules.iter().filter_map(|rule| take_rule(rule, &groups, here)));
    items.extend(state.agents.iter().map(|agent| take_agent(agent, here)));
    let odd = state.odd.iter().map(|odd| Item::left(odd.kind.as_str(), odd.name(), odd.reason()));
    items.extend(odd);
    items
}

fn group(id: &str, value: &Value, here: &Here) -> Item {
    let shown = repeated(id);
    if is_built_in(&GroupId::new(id)) || here.groups.contains(id) {
        return Item::new("group", id, Outcome::There);
    }
    if here.withdrawn.groups.contains(id) {
        return Item::removed_here(
            "group",
            shown,
            "it was removed here; to have it again, make it under Access",
        );
    }
    let parsed = match GroupId::parse(id) {
        Ok(parsed) => parsed,
        Err(error) => {
            return Item::left(
                "group",
                shown,
                format!("{error}; make it anew under another id, and name that in the labels"),
            );
        }
    };
    match read_group(Some(&parsed), group_body(value)) {
        Ok(group) if opens_wider(&group) => Item::left("group", shown, OPENS_WIDER),
        Ok(group) => {
            let notes = group_notes(&group);
            let body = json!({ "name": group.name, "options": group.options, "policies": group.policies });
            Item::taken("group", id, vec![Step::SetGroup { id: id.to_owned(), body }], notes)
        }
        Err(_) if value.get("external_policy").and_then(Value::as_bool) == Some(true) => Item::left(
            "group",
            shown,
            "it stands for a policy that somebody made at Cloudflare, whose rules are not in these files; make it anew under Access",
        ),
        Err(wrong) => Item::left("group", shown, format!("{}; make it anew under Access", wrong.join("; "))),
    }
}

/// The groups of a state that can be taken over, by their ids.
pub fn groups(state: &State) -> BTreeMap<GroupId, Group> {
    let read = |(id, value): &(String, Value)| {
        let id = GroupId::parse(id).ok()?;
        let group = read_group(Some(&id), group_body(value)).ok().filter(|group| !opens_wider(group))?;
        Some((id, group))
    };
    state.groups.iter().filter_map(read).collect()
}

/// The group as it is handed in here.
fn group_body(value: &Value) -> Value {
    let option =
        |name: &str| Some((name.to_owned(), value.get(name).filter(|value| !value.is_null())?.clone()));
    let names = ["session_duration", "app_launcher_visible", "allowed_idps", "auto_redirect_to_identity"];
    let options: Map<String, Value> = names.into_iter().filter_map(option).collect();
    let mut body = json!({ "name": value.get("display_name"), "options": options });
    let policies = value.get("policies").filter(|policies| !policies.is_null());
    let is_empty = policies.and_then(Value::as_array).is_none_or(Vec::is_empty);
    let is_public = value.get("public_mode").and_then(Value::as_bool) == Some(true);
    if let Some(body) = body.as_object_mut() {
        let policies = match (is_empty, is_public) {
            (true, true) => json!([{ "decision": "bypass", "include": [{ "everyone": {} }] }]),
            _ => policies.cloned().unwrap_or_else(|| json!([])),
        };
        body.insert("policies".to_owned(), policies);
    }
    body
}

const OPENS_WIDER: &str = "DockFlare sent only its first policy to Cloudflare, and one of the others lets in more than that: \
                           everybody; make it by hand under Access, with the policies that are meant";

/// True if all of its policies together let everybody in, or ask nobody who it is, and the first one alone does not: that is
/// the only one that ever stood at Cloudflare.
fn opens_wider(group: &Group) -> bool {
    let first = Group { policies: group.policies.iter().take(1).cloned().collect(), ..group.clone() };
    (group.is_open_to_everyone() && !first.is_open_to_everyone())
        || (group.asks_nobody() && !first.asks_nobody())
}

fn group_notes(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    if group.policies.len() > 1 {
        notes.push(format!(
            "DockFlare sent only the first of its {} policies to Cloudflare; here all of them count",
            group.policies.len()
        ));
    }
    let is_address = |one: &Selector| matches!(one, Selector::Email(_) | Selector::EmailDomain(_));
    let is_sign_in = |one: &Selector| matches!(one, Selector::IdentityProvider(_));
    if group
        .policies
        .iter()
        .any(|policy| policy.include.iter().any(is_address) && policy.include.iter().any(is_sign_in))
    {
        notes.push(
            "an address or a sign-in is enough to come in, as it stands there side by side; put one of them under `require` if both \
             are meant"
                .to_owned(),
        );
    }
    if group.is_open_to_everyone() {
        notes.push("it lets everyone in".to_owned());
    }
    notes
}

/// The keys of the store, and those that only agents have.
fn all_keys(state: &State, keys: &[Key]) -> Vec<Key> {
    let mut all = keys.to_vec();
    for agent in &state.agents {
        let Some(sha256) = agent.key.clone() else { continue };
        if all.iter().all(|key| key.sha256 != sha256) {
            all.push(Key {
                sha256,
                owner: agent.name.clone(),
                is_active: true,
                agent: Some(agent.id.clone()),
            });
        }
    }
    all
}

fn take_key(key: &Key, state: &State, here: &Here) -> Item {
    let name = match key.owner.trim() {
        "" => format!("key {}…", key.sha256.get(..8).unwrap_or_default()),
        owner => format!("key of {}", repeated(owner)),
    };
    match here.keys.get(&key.sha256) {
        Some(KeyHere { is_active: true, .. }) => return Item::new("key", name, Outcome::There),
        Some(_) if key.is_active => {
            return Item::removed_here("key", name, "it was revoked here; make a new one");
        }
        None if key.is_active && here.withdrawn.keys.contains(&key.sha256) => {
            let reason = "it was revoked here, and dropped from the list; make a new one";
            return Item::removed_here("key", name, reason);
        }
        _ if !key.is_active => return Item::left("key", name, "it is revoked"),
        _ => {}
    }
    let users = state.agents.iter().filter(|agent| agent.key.as_ref() == Some(&key.sha256)).count();
    let mut notes = Vec::new();
    if users > 1 {
        notes.push(format!("{users} agents use it; better give each a key of its own"));
    }
    let body = json!({ "owner": key.owner, "seats": users.max(1) });
    Item::taken("key", name, vec![Step::TakeKey { sha256: key.sha256.clone(), body }], notes)
}

/// Rules of containers come back by their labels; of those only what labels do not say is worth a word.
fn take_rule(rule: &Rule, groups: &BTreeSet<String>, here: &Here) -> Option<Item> {
    let name = repeated(&rule.name());
    if !rule.is_manual() {
        return only_on_the_page(rule).map(|reason| Item::left("rule", name, reason));
    }
    Some(match rule_body(rule) {
        Err(reason) => Item::left("rule", name, reason),
        Ok((key, _)) if here.rules.contains(&key) => Item::new("rule", name, Outcome::There),
        Ok((key, _)) if here.withdrawn.rules.contains(&key) => {
            let reason = "it was removed here; to have it again, make it with `lightship rules set`";
            Item::removed_here("rule", name, reason)
        }
        Ok((key, body)) => {
            let mut notes = Vec::new();
            if !key.path.is_empty() {
                notes.push(format!(
                    "`{}` was matched anywhere in a path; here it is that path and what is below it",
                    key.path
                ));
            }
            let known = |id: &&str| {
                groups.contains(*id) || here.groups.contains(*id) || is_built_in(&GroupId::new(*id))
            };
            let unknown: Vec<&str> = rule.access_group_id.ids().into_iter().filter(|id| !known(id)).collect();
            if !unknown.is_empty() {
                notes.push(format!(
                    "it is not reachable until there is a group `{}`",
                    repeated(&unknown.join("`, `"))
                ));
            }
            Item::taken("rule", name, vec![Step::SetRule { body }], notes)
        }
    })
}

/// Says what a person set on DockFlare's page for a container, and its labels do not say.
pub fn only_on_the_page(rule: &Rule) -> Option<String> {
    if rule.access_policy_ui_override == Some(true) {
        let label = match (access(rule), rule.access_group_id.ids()) {
            (Ok(AccessAsk::Inherit), _) => "access.policy=default_tld".to_owned(),
            (Ok(_), ids) if !ids.is_empty() => format!("access.groups={}", repeated(&ids.join(","))),
            (Ok(AccessAsk::Groups { .. }), _) => {
                format!("access.policy={}", repeated(rule.access_policy_type.as_deref().unwrap_or_default()))
            }
            (Ok(_), _) => "access.policy=none".to_owned(),
            (Err(_), _) => "access.group".to_owned(),
        };
        return Some(format!(
            "what protects it was set on DockFlare's page and is in no label; put `dockflare.{label}` on the container before you switch"
        ));
    }
    (rule.rule_ui_override == Some(true)).then(|| {
        "it was changed on DockFlare's page, and here its labels count; change those, or make a rule of it".to_owned()
    })
}

/// Returns what a rule of a person asks for, as it is kept here, and the name or id of its tunnel; or why it cannot be taken
/// over.
pub fn manual_service(rule: &Rule) -> Result<(Service, String), String> {
    let access = access(rule)?;
    let tunnel = rule
        .tunnel_id
        .as_deref()
        .or(rule.tunnel_name.as_deref())
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let tunnel =
        tunnel.ok_or("these files do not say in which tunnel it is; make it with `lightship rules set`")?;
    let draft = RuleDraft {
        hostname: rule.hostname.clone().unwrap_or_default(),
        path: rule.path.clone().unwrap_or_default(),
        service: rule.service.clone().unwrap_or_default(),
        zone_name: rule.zone_name.clone(),
        origin_request: origin_request(rule),
        access,
    };
    let spec = draft.check().map_err(|wrong| wrong.join("; "))?;
    Ok((spec, tunnel.to_owned()))
}

fn rule_body(rule: &Rule) -> Result<(RouteKey, Value), String> {
    let (spec, tunnel) = manual_service(rule)?;
    let body = json!({
        "hostname": spec.key.hostname, "path": spec.key.path, "service": spec.service, "tunnel": tunnel,
        "zone_name": spec.zone_name, "origin_request": spec.origin_request, "access": spec.access,
    });
    Ok((spec.key, body))
}

fn origin_request(rule: &Rule) -> OriginRequest {
    let on = |flag: Option<bool>| flag.filter(|flag| *flag);
    let text = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    OriginRequest {
        no_tls_verify: on(rule.no_tls_verify),
        origin_server_name: text(&rule.origin_server_name),
        http_host_header: text(&rule.http_host_header),
        http2_origin: on(rule.http2_origin),
        disable_chunked_encoding: on(rule.disable_chunked_encoding),
        match_sni_to_host: on(rule.match_sni_to_host),
        ..OriginRequest::default()
    }
}

/// What protects a rule; fails where these files do not say it, since nothing may be open by accident.
fn access(rule: &Rule) -> Result<AccessAsk, String> {
    let groups =
        |ids: &[&str]| AccessAsk::Groups { groups: ids.iter().map(|id| GroupId::new(*id)).collect() };
    let ids = rule.access_group_id.ids();
    if !ids.is_empty() {
        return Ok(groups(&ids));
    }
    match rule.access_policy_type.as_deref().map(str::trim) {
        None | Some("" | "none" | "public_no_policy") => Ok(AccessAsk::Nothing),
        Some("default_tld") => Ok(AccessAsk::Inherit),
        Some("bypass") => Ok(groups(&[PUBLIC_BYPASS])),
        Some("authenticate") => Ok(groups(&[AUTHENTICATED])),
        Some("authenticate_email") => Err(
            "it lets in one address that DockFlare does not write down; make it with `lightship rules set` and a group with that address"
                .into(),
        ),
        Some(other) => Err(format!(
            "it is protected by `{}`, whose rules are not in these files; make it with `lightship rules set` and a group",
            repeated(other)
        )),
    }
}

fn take_agent(agent: &Agent, here: &Here) -> Item {
    let name = match agent.name == agent.id {
        true => repeated(&agent.id),
        false => format!("{} ({})", repeated(&agent.name), repeated(&agent.id)),
    };
    let Some(there) = here.agents.get(&agent.id) else {
        let reason = "it has not come here yet: lead it here with DOCKFLARE_MASTER_URL, with the key that it has, then do this again";
        return Item::new("agent", name, Outcome::Waits { reason: reason.into() });
    };
    let mut steps = Vec::new();
    if agent.is_named && there.is_pending && there.name != agent.name {
        steps.push(Step::Rename { agent: agent.id.clone(), name: agent.name.clone() });
    }
    match (&agent.tunnel_name, there.is_pending) {
        (_, false) => return Item::new("agent", name, Outcome::There),
        (None, true) => {
            return Item::new(
                "agent",
                name,
                Outcome::Waits {
                    reason: "it had no tunnel; say yes to it with `lightship agents enroll`".into(),
                },
            );
        }
        (Some(_), true) if !has_its_key(agent, there, here) => {
            let reason = "an agent with this id has come here, but not with the key that DockFlare's files have for it, so it may be \
                          another host; look at it, and say yes to it with `lightship agents enroll`";
            return Item::new("agent", name, Outcome::Waits { reason: reason.into() });
        }
        (Some(tunnel), true) => steps.push(Step::Enrol { agent: agent.id.clone(), tunnel: tunnel.clone() }),
    }
    let note =
        format!("in tunnel `{}`, as before", repeated(agent.tunnel_name.as_deref().unwrap_or_default()));
    Item::taken("agent", name, steps, vec![note])
}

/// An agent chooses its id by itself, so only its key says whose it is.
fn has_its_key(agent: &Agent, there: &AgentHere, here: &Here) -> bool {
    let of_files = agent.key.as_ref().and_then(|sha256| here.keys.get(sha256));
    of_files.is_some_and(|key| there.key_id.as_ref() == Some(&key.id))
}

/// The rules of people in a state that can be taken over.
pub fn rules(state: &State) -> Vec<RouteKey> {
    let manual = state.rules.iter().filter(|rule| rule.is_manual());
    manual.filter_map(|rule| manual_service(rule).ok()).map(|(service, _)| service.key).collect()
}
