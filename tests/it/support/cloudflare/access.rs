//! Access: policies that applications share, groups and ways to sign in. Names may be there twice; what
//! is in use cannot be deleted; a PUT replaces; answers hold defaults that nobody sent. What applications do is in
//! `apps`, what service tokens do in `service_tokens`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::answer::{Outcome, Refusal};
use super::state::{LONG_AGO, State};

/// What Access holds.
#[derive(Debug, Default)]
pub struct Access {
    pub apps: Vec<super::App>,
    /// Those that applications share, and those of one application.
    pub policies: Vec<Policy>,
    pub groups: Vec<Group>,
    pub identity_providers: Vec<Value>,
    pub service_tokens: Vec<Value>,
    /// Every secret that was ever given out, by the id of its token; the last one of each is good.
    pub service_secrets: Vec<(String, String)>,
    /// How many service tokens the account may have.
    pub max_service_tokens: Option<usize>,
    /// Nobody has switched Access on for the account.
    pub is_off: bool,
    /// How many applications the account may have.
    pub max_apps: Option<usize>,
    /// How many reusable policies the account may have.
    pub max_policies: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub id: String,
    /// The application that it was made for; a reusable one has none.
    pub app: Option<String>,
    /// What was written, without what only Cloudflare writes.
    pub body: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: String,
    pub body: Map<String, Value>,
}

/// The lists of rules that policies and groups have.
pub(super) static LISTS: [&str; 3] = ["include", "require", "exclude"];
/// What only Cloudflare writes; sent, it is passed over.
const READ_ONLY: [&str; 7] =
    ["id", "app_count", "reusable", "precedence", "account_id", "created_at", "updated_at"];

// 11021, 12130, 12132, 12135 and 9999 are codes that people report of the real API. Which of its rules answers with
// which is known of some only; the others are given the nearest.

pub(super) fn invalid(why: &str) -> Refusal {
    Refusal::new(400, 12130, format!("access.api.error.invalid_request: {why}"))
}

pub(super) fn conflict(why: &str) -> Refusal {
    Refusal::new(409, 12132, format!("access.api.error.conflict: {why}"))
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(404, 12135, "access.api.error.not_found")
}

/// The fields of a body, without those that only Cloudflare writes.
pub(super) fn written(body: &Value, read_only: &[&str]) -> Map<String, Value> {
    let mut fields = body.as_object().cloned().unwrap_or_default();
    fields.retain(|key, _| !read_only.contains(&key.as_str()));
    fields
}

/// `fields` over the defaults that the API adds.
pub(super) fn over(defaults: Value, fields: &Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut all) = defaults else { unreachable!("defaults are fields") };
    all.extend(fields.clone());
    all
}

impl Access {
    pub(super) fn check_is_on(&self) -> Result<(), Refusal> {
        let words =
            "access.api.error.not_enabled: Access is not enabled. Visit the Access dashboard and enable it.";
        if self.is_off { Err(Refusal::new(400, 9999, words)) } else { Ok(()) }
    }

    pub(super) fn has_identity_provider(&self, id: &Value) -> bool {
        self.identity_providers.iter().any(|provider| provider["id"] == *id)
    }

    /// Policies need an include rule; each rule is of one kind, and what it names is there.
    pub(super) fn check_rules(&self, fields: &Map<String, Value>) -> Result<(), Refusal> {
        let rules = |list: &str| fields.get(list).and_then(Value::as_array).into_iter().flatten();
        if rules("include").next().is_none() {
            return Err(invalid("at least one include rule is needed"));
        }
        LISTS.iter().flat_map(|list| rules(list)).try_for_each(|rule| self.check_rule(rule))
    }

    fn check_rule(&self, rule: &Value) -> Result<(), Refusal> {
        let mut kinds = rule.as_object().into_iter().flatten();
        let (Some((kind, what)), None) = (kinds.next(), kinds.next()) else {
            return Err(invalid("a rule is of exactly one kind"));
        };
        let text = |key: &str| what[key].as_str().unwrap_or_default();
        let has = |all: &[Value], id: &Value| all.iter().any(|one| one["id"] == *id);
        let is_good = match kind.as_str() {
            "login_method" => self.has_identity_provider(&what["id"]),
            "service_token" => has(&self.service_tokens, &what["token_id"]),
            "group" => self.groups.iter().any(|group| what["id"] == group.id),
            "ip" => is_network(text("ip")),
            "geo" => {
                text("country_code").len() == 2
                    && text("country_code").bytes().all(|b| b.is_ascii_uppercase())
            }
            "email" => {
                text("email").split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty())
            }
            "email_domain" => !text("domain").is_empty() && !text("domain").contains('@'),
            _ => true,
        };
        if is_good { Ok(()) } else { Err(invalid(&format!("the rule {rule} is not valid"))) }
    }

    /// How many applications link a policy.
    pub(super) fn app_count(&self, policy: &str) -> usize {
        self.apps.iter().filter(|app| app.links.iter().any(|link| link.policy == policy)).count()
    }

    fn reusable(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(|policy| policy.app.is_none())
    }

    pub(super) fn policy_json(&self, policy: &Policy) -> Value {
        let mut answer = over(
            json!({
                "approval_required": false,
                "exclude": [],
                "isolation_required": false,
                "purpose_justification_required": false,
                "require": [],
                "session_duration": "24h",
            }),
            &policy.body,
        );
        answer.insert("id".into(), json!(policy.id));
        answer.insert("created_at".into(), json!(LONG_AGO));
        answer.insert("updated_at".into(), json!(LONG_AGO));
        answer.insert("reusable".into(), json!(policy.app.is_none()));
        Value::Object(answer)
    }

    fn reusable_json(&self, policy: &Policy) -> Value {
        let mut answer = self.policy_json(policy);
        answer["app_count"] = json!(self.app_count(&policy.id));
        answer
    }
}

/// Reusable policies.
impl State {
    pub fn create_policy(&mut self, body: &Value) -> Outcome {
        if self.access.max_policies.is_some_and(|max| self.access.reusable().count() >= max) {
            return Err(invalid("maximum number of policies has been reached"));
        }
        let policy = Policy { id: self.uuid(), app: None, body: self.read_policy(body)? };
        let answer = self.access.reusable_json(&policy);
        self.access.policies.push(policy);
        Ok(answer)
    }

    pub fn put_policy(&mut self, id: &str, body: &Value) -> Outcome {
        let fields = self.read_policy(body)?;
        let index = self.policy_index(id)?;
        self.access.policies[index].body = fields;
        self.get_policy(id)
    }

    pub fn delete_policy(&mut self, id: &str) -> Outcome {
        let index = self.policy_index(id)?;
        match self.access.app_count(id) {
            0 => drop(self.access.policies.remove(index)),
            count => return Err(conflict(&format!("the policy is used by {count} application(s)"))),
        }
        Ok(json!({ "id": id }))
    }

    pub(super) fn get_policy(&self, id: &str) -> Outcome {
        Ok(self.access.reusable_json(&self.access.policies[self.policy_index(id)?]))
    }

    pub(super) fn list_policies(&self) -> Vec<Value> {
        self.access.reusable().map(|policy| self.access.reusable_json(policy)).collect()
    }

    pub(super) fn read_policy(&self, body: &Value) -> Result<Map<String, Value>, Refusal> {
        let fields = written(body, &READ_ONLY);
        self.access.check_rules(&fields)?;
        Ok(fields)
    }

    fn policy_index(&self, id: &str) -> Result<usize, Refusal> {
        let is_it = |policy: &Policy| policy.id == id && policy.app.is_none();
        self.access.policies.iter().position(is_it).ok_or_else(not_found)
    }
}

/// Groups of Access itself, which rules of policies can name.
impl State {
    pub fn create_group(&mut self, body: &Value) -> Outcome {
        let fields = self.read_group(body)?;
        let group = Group { id: self.uuid(), body: fields };
        self.access.groups.push(group.clone());
        Ok(group.to_json())
    }

    pub(super) fn put_group(&mut self, id: &str, body: &Value) -> Outcome {
        let fields = self.read_group(body)?;
        let index = self.group_index(id)?;
        self.access.groups[index].body = fields;
        self.get_group(id)
    }

    pub(super) fn delete_group(&mut self, id: &str) -> Outcome {
        let index = self.group_index(id)?;
        let names_it = |rule: &Value| rule["group"]["id"] == id;
        let bodies = self.access.policies.iter().map(|policy| &policy.body);
        let rules = bodies.flat_map(|body| LISTS.iter().filter_map(move |list| body.get(*list)?.as_array()));
        if rules.flatten().any(names_it) {
            return Err(conflict("the group is used by a policy"));
        }
        self.access.groups.remove(index);
        Ok(json!({ "id": id }))
    }

    pub(super) fn get_group(&self, id: &str) -> Outcome {
        Ok(self.access.groups[self.group_index(id)?].to_json())
    }

    pub(super) fn list_groups(&self, name: Option<&str>) -> Vec<Value> {
        let fits =
            |group: &&Group| name.is_none_or(|name| group.body.get("name").is_some_and(|own| own == name));
        self.access.groups.iter().filter(fits).map(Group::to_json).collect()
    }

    fn read_group(&self, body: &Value) -> Result<Map<String, Value>, Refusal> {
        let fields = written(body, &READ_ONLY);
        self.access.check_rules(&fields)?;
        Ok(fields)
    }

    fn group_index(&self, id: &str) -> Result<usize, Refusal> {
        self.access.groups.iter().position(|group| group.id == id).ok_or_else(not_found)
    }
}

impl Group {
    fn to_json(&self) -> Value {
        let mut answer = over(json!({ "exclude": [], "require": [] }), &self.body);
        // What is written as a yes or no is answered as rules.
        answer.remove("is_default");
        answer.insert("id".into(), json!(self.id));
        Value::Object(answer)
    }
}

/// What can be listed only.
impl State {
    pub fn add_identity_provider(&mut self, name: &str, kind: &str) -> String {
        let id = self.uuid();
        let provider = json!({ "id": id, "name": name, "type": kind, "config": {} });
        self.access.identity_providers.push(provider);
        id
    }
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}
