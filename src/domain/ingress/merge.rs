//! Joins what was applied last, what is wanted now and what was just read: a three-way merge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::hostname::parse_hostname;
use super::super::origin::parse_service;
use super::super::path::plain_path;
use super::place::{self, Placed, text};
use super::{IngressRule, RuleId, own_options};

/// Service of a tunnel that has no answer of its own for unknown names.
const NOT_FOUND: &str = "http_status:404";

/// A configuration that nobody can merge anything into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It is not an object.
    #[error(
        "the tunnel's configuration is not an object, so nothing is written to it; look at it in the dashboard of Cloudflare"
    )]
    NotAnObject,
    /// Its rules are not a list.
    #[error(
        "`ingress` of the tunnel's configuration is not a list, so nothing is written to it; look at it in the dashboard of Cloudflare"
    )]
    NotAList,
}

/// How well we know a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// We never wrote to it, and no person agreed to it: foreign content makes it wait.
    First,
    /// We wrote to it, when it held nothing foreign; what came later stays, and nothing waits.
    Written,
    /// A person agreed to what is in it: equal rules become ours.
    Confirmed,
}

/// Who confirms a tunnel in which nothing foreign was found.
pub const SYSTEM: &str = "system";

impl Contact {
    /// Reads it from who confirmed the tunnel, if anybody did.
    pub fn of(confirmed_by: Option<&str>) -> Self {
        match confirmed_by {
            None => Self::First,
            Some(SYSTEM) => Self::Written,
            Some(_) => Self::Confirmed,
        }
    }
}

/// Something in a configuration that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// An ingress rule.
    Rule {
        /// Host name, path.
        id: RuleId,
        /// Where it points; empty if it cannot be read.
        service: String,
        /// The wanted rule that it is equal to: a person's agreement makes it ours. Told only while that is missing.
        equal_to: Option<RuleId>,
    },
    /// Another key of the configuration, such as `warp-routing`.
    Key(String),
}

/// A wanted rule whose place is taken by a foreign one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleConflict {
    /// The rule that is not written.
    pub wanted: IngressRule,
    /// Where the foreign one points.
    pub service: String,
    /// True if it points where ours would: it works, but we neither change nor remove it.
    pub is_equal: bool,
}

/// What is to be written, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeOutcome {
    /// The whole configuration to PUT.
    pub config: Value,
    /// True if it differs from what was read; else nothing is to be written.
    pub changed: bool,
    /// Write to `applied_rules` before the PUT: whatever may be ours if the answer never comes.
    pub applied_before: Vec<IngressRule>,
    /// Write to `applied_rules` after the PUT: what is ours now.
    pub applied_after: Vec<IngressRule>,
    /// Rules of ours that are not there yet as they are to be.
    pub fresh: Vec<RuleId>,
    /// What others wrote.
    pub foreign: Vec<Foreign>,
    /// Wanted rules that are not written.
    pub conflicts: Vec<RuleConflict>,
    /// Foreign rules that are ours from now on.
    pub adopted: Vec<RuleId>,
    /// True if nothing may be written to this tunnel, DNS included, until a person agrees.
    pub waiting: bool,
}

/// The observed list, taken apart.
struct Observed {
    /// First rule for each of our ids, as it stands there.
    ours: BTreeMap<RuleId, Map<String, Value>>,
    foreign: Vec<Value>,
    catch_all: Option<Value>,
}

/// Joins `wanted` rules with the configuration that was just read (`null` for a fresh tunnel).
///
/// Merging the outcome once more changes nothing. Fails if the configuration has no shape that could be kept.
pub fn merge(
    applied: &[IngressRule],
    wanted: &[IngressRule],
    observed: &Value,
    contact: Contact,
) -> Result<MergeOutcome, MergeError> {
    let empty = Map::new();
    let (config, rules) = read_config(observed, &empty)?;
    let mut parts = take_apart(rules, applied);
    if contact == Contact::First {
        let foreign = list_foreign(&parts.foreign, config, wanted);
        if !foreign.is_empty() {
            return Ok(waits(applied, wanted, observed, foreign, &parts));
        }
    }
    let claims = match_foreign(wanted, &mut parts, contact);
    let before: BTreeMap<RuleId, &IngressRule> = applied.iter().map(|rule| (rule.id(), rule)).collect();
    let ours: Vec<Placed> = wanted
        .iter()
        .filter(|rule| !claims.conflicts.iter().any(|conflict| conflict.wanted.id() == rule.id()))
        .map(|rule| {
            let id = rule.id();
            let there = parts.ours.get(&id).cloned().unwrap_or_default();
            let stays = |name: &String| {
                claims.adopted.contains(&id) || before.get(&id).is_some_and(|rule| rule.leaves(name))
            };
            Placed { rule: rule.keeping(own_options(&there).filter(stays)), there }
        })
        .collect();
    let is_fresh = |placed: &&Placed| {
        placed.rule.written_over(&placed.there).as_object().is_none_or(|rule| *rule != placed.there)
    };
    let fresh = ours.iter().filter(is_fresh).map(|placed| placed.rule.id()).collect();
    let applied_after: Vec<IngressRule> = ours.iter().map(|placed| placed.rule.clone()).collect();
    let written = applied_after
        .iter()
        .map(|rule| IngressRule { unseen: !parts.ours.contains_key(&rule.id()), ..rule.clone() });
    let applied_before = union(written.collect(), applied);
    let foreign = list_foreign(&parts.foreign, config, &[]);
    let mut list = place::interleave(&ours, &parts.foreign);
    list.push(parts.catch_all.unwrap_or_else(|| serde_json::json!({ "service": NOT_FOUND })));
    let changed = list != rules && !(list.len() == 1 && rules.is_empty());
    let mut config = config.clone();
    config.insert("ingress".into(), Value::Array(list));
    Ok(MergeOutcome {
        config: Value::Object(config),
        changed,
        applied_before,
        applied_after,
        fresh,
        foreign,
        conflicts: claims.conflicts,
        adopted: claims.adopted,
        waiting: false,
    })
}

/// Returns the rules of ours that are not there as they were written, each with what stands there under its name.
pub fn changed_rules(applied: &[IngressRule], observed: &Value) -> Vec<(IngressRule, Option<Value>)> {
    let rules = observed.get("ingress").and_then(Value::as_array);
    let there = |id: &RuleId| rules.into_iter().flatten().find(|rule| rule_id(rule) == *id);
    let seen = applied.iter().filter(|rule| !rule.unseen);
    let changed = seen.filter_map(|rule| match there(&rule.id()) {
        Some(Value::Object(found)) if rule.stands_in(found) => None,
        found => Some((rule.clone(), found.cloned())),
    });
    changed.collect()
}

/// Returns the rules that others made, as they stand there; not the one that catches all.
pub fn foreign_rules(applied: &[IngressRule], observed: &Value) -> Result<Vec<Value>, MergeError> {
    let empty = Map::new();
    let (_, rules) = read_config(observed, &empty)?;
    Ok(take_apart(rules, applied).foreign)
}

/// Returns a configuration and its rules; `empty` stands for that of a fresh tunnel.
fn read_config<'v>(
    observed: &'v Value,
    empty: &'v Map<String, Value>,
) -> Result<(&'v Map<String, Value>, &'v [Value]), MergeError> {
    let config = match observed {
        Value::Null => empty,
        Value::Object(config) => config,
        _ => return Err(MergeError::NotAnObject),
    };
    match config.get("ingress") {
        None | Some(Value::Null) => Ok((config, &[])),
        Some(Value::Array(rules)) => Ok((config, rules)),
        Some(_) => Err(MergeError::NotAList),
    }
}

fn waits(
    applied: &[IngressRule],
    wanted: &[IngressRule],
    observed: &Value,
    foreign: Vec<Foreign>,
    parts: &Observed,
) -> MergeOutcome {
    let conflicts = wanted.iter().filter_map(|rule| {
        let there = parts.foreign.iter().find(|there| is_same_route(rule, there))?;
        let service = text(there, "service").to_owned();
        // An equal rule becomes ours on confirmation, so it is no conflict yet.
        (!is_same_service(&rule.service, &service)).then(|| RuleConflict {
            wanted: rule.clone(),
            service,
            is_equal: false,
        })
    });
    MergeOutcome {
        config: observed.clone(),
        changed: false,
        applied_before: applied.to_vec(),
        applied_after: applied.to_vec(),
        fresh: Vec::new(),
        foreign,
        conflicts: conflicts.collect(),
        adopted: Vec::new(),
        waiting: true,
    }
}

/// Returns the rule of this id as it stands in a configuration.
pub fn rule_there(observed: &Value, id: &RuleId) -> Option<IngressRule> {
    let rules = observed.get("ingress")?.as_array()?;
    let mut rule = rules.iter().find(|rule| rule_id(rule) == *id)?.clone();
    serde_json::from_value(rule.clone()).ok().or_else(|| {
        // Somebody wrote options in it that the connector does not read either.
        rule.as_object_mut()?.remove("originRequest");
        serde_json::from_value(rule).ok()
    })
}

struct Claims {
    conflicts: Vec<RuleConflict>,
    adopted: Vec<RuleId>,
}

/// Compares wanted rules with foreign ones of the same route; adopted ones change sides.
fn match_foreign(wanted: &[IngressRule], parts: &mut Observed, contact: Contact) -> Claims {
    let mut claims = Claims { conflicts: Vec::new(), adopted: Vec::new() };
    for rule in wanted {
        // Once ours stands there, a foreign rule behind it for the same route gets no request and stays.
        if parts.ours.contains_key(&rule.id()) {
            continue;
        }
        let Some(at) = parts.foreign.iter().position(|there| is_same_route(rule, there)) else { continue };
        let service = text(&parts.foreign[at], "service").to_owned();
        let is_equal = is_same_service(&rule.service, &service);
        if !is_equal || contact != Contact::Confirmed {
            claims.conflicts.push(RuleConflict { wanted: rule.clone(), service, is_equal });
            continue;
        }
        if let Value::Object(there) = parts.foreign.remove(at) {
            parts.ours.insert(rule.id(), there);
        }
        claims.adopted.push(rule.id());
    }
    claims
}

fn take_apart(rules: &[Value], applied: &[IngressRule]) -> Observed {
    let applied: BTreeMap<RuleId, &IngressRule> = applied.iter().map(|rule| (rule.id(), rule)).collect();
    let mut parts = Observed { ours: BTreeMap::new(), foreign: Vec::new(), catch_all: None };
    for rule in rules {
        let id = rule_id(rule);
        match rule {
            // A second catch-all is never reached, and a configuration with two is refused.
            Value::Object(_) if is_catch_all(rule) => {
                parts.catch_all = parts.catch_all.or_else(|| Some(rule.clone()))
            }
            Value::Object(there)
                if applied.get(&id).is_some_and(|rule| rule.is_written_in(there))
                    && !parts.ours.contains_key(&id) =>
            {
                parts.ours.insert(id, there.clone());
            }
            _ => parts.foreign.push(rule.clone()),
        }
    }
    parts
}

fn list_foreign(rules: &[Value], config: &Map<String, Value>, wanted: &[IngressRule]) -> Vec<Foreign> {
    let equal_to = |there: &Value| {
        let is_equal = |rule: &&IngressRule| {
            is_same_route(rule, there) && is_same_service(&rule.service, text(there, "service"))
        };
        wanted.iter().find(is_equal).map(IngressRule::id)
    };
    let rules = rules.iter().map(|rule| Foreign::Rule {
        id: rule_id(rule),
        service: text(rule, "service").to_owned(),
        equal_to: equal_to(rule),
    });
    let keys = config.iter().filter(|(name, value)| *name != "ingress" && !is_default(value));
    rules.chain(keys.map(|(name, _)| Foreign::Key(name.clone()))).collect()
}

/// Says whether a key holds only what the API fills in by itself, such as `{"enabled": false}`.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Object(inner) => inner.values().all(is_default),
        // Somebody chose it.
        Value::Number(_) => false,
        other => super::is_off(other),
    }
}

fn union(mut first: Vec<IngressRule>, second: &[IngressRule]) -> Vec<IngressRule> {
    let ids: BTreeSet<RuleId> = first.iter().map(IngressRule::id).collect();
    first.extend(second.iter().filter(|rule| !ids.contains(&rule.id())).cloned());
    first
}

fn rule_id(rule: &Value) -> RuleId {
    RuleId { hostname: text(rule, "hostname").to_ascii_lowercase(), path: text(rule, "path").to_owned() }
}

fn is_catch_all(rule: &Value) -> bool {
    matches!(text(rule, "hostname"), "" | "*") && text(rule, "path").is_empty()
}

/// Says whether a foreign rule is for the very requests that a wanted one is for, however its path is written.
fn is_same_route(rule: &IngressRule, there: &Value) -> bool {
    let hostname = text(there, "hostname");
    let same_name = parse_hostname(hostname).map_or(hostname == rule.hostname, |kept| kept == rule.hostname);
    let path = text(there, "path");
    let own = rule.path.as_deref().unwrap_or_default();
    let meaning = |path: &str| if path.is_empty() { Some(String::new()) } else { plain_path(path) };
    same_name && (path == own || meaning(path).is_some_and(|plain| meaning(own) == Some(plain)))
}

fn is_same_service(wanted: &str, there: &str) -> bool {
    wanted == there || parse_service(there).is_ok_and(|kept| kept == wanted)
}
