//! Ingress rules: what we want in a tunnel's configuration, and how it gets there without touching what
//! others wrote.
//!
//! [`wanted_rules`] turns routes into rules, [`merge`] joins them with the configuration as it was just read.
//! A rule is ours if its (hostname, path) was written to `applied_rules` and, as long as we never saw ours there, if
//! it is just what we wrote; everything else is foreign and stays as it is. Where ours go among foreign ones is decided
//! in `place`.

mod closed;
mod merge;
mod place;
#[cfg(test)]
mod tests;
mod trial;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hostname::is_wildcard;
use super::origin_option::{options_for, own_fields};
use super::path::{is_expression, kept_path, path_regex};
use super::route::{OriginRequest, RouteKey, Service};

pub use closed::{CLOSED, foreign_services, gets_requests_of, guarded_rules};
pub use merge::{
    Contact, Foreign, MergeError, MergeOutcome, RuleConflict, SYSTEM, changed_rules, foreign_rules, merge,
    rule_there,
};
pub use trial::Trial;

/// What tells two rules of one tunnel apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleId {
    /// Host name of the rule.
    pub hostname: String,
    /// Its path expression as it is in the configuration; empty for the whole host.
    pub path: String,
}

impl RuleId {
    /// Returns that of a route's rule.
    pub fn of(key: &RouteKey) -> Self {
        Self { hostname: key.hostname.clone(), path: path_regex(&key.path).unwrap_or_default() }
    }

    /// Returns the route whose rule it is.
    pub fn route(&self) -> RouteKey {
        RouteKey { hostname: self.hostname.clone(), path: kept_path(&self.path) }
    }
}

/// A rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    /// Host name; may start with `*.`.
    pub hostname: String,
    /// Path expression, anchored and escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where requests go.
    pub service: String,
    /// Options; nothing is written if none is set.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub origin_request: OriginRequest,
    /// Options that were set in a rule of somebody else when it became ours; they stay, as no label sets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// True from before it is written until it was seen in the configuration: until then only a rule that is just like
    /// it can be ours. Somebody else may have made another one, and our write may never have arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// False in what an earlier release wrote down, whose labels set `FIRST_OPTIONS` only: what somebody set of the
    /// others in it meanwhile is not ours, and stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_all_options: bool,
}

/// Options that labels could set from the beginning.
const FIRST_OPTIONS: [&str; 6] = [
    "noTLSVerify",
    "originServerName",
    "httpHostHeader",
    "http2Origin",
    "disableChunkedEncoding",
    "matchSNItoHost",
];

fn is_unset(options: &OriginRequest) -> bool {
    *options == OriginRequest::default()
}

impl IngressRule {
    /// Makes the rule of a route, with the options that its service has a use for.
    pub fn new(service: &Service) -> Self {
        Self {
            hostname: service.key.hostname.clone(),
            path: path_regex(&service.key.path),
            service: service.service.clone(),
            origin_request: options_for(&service.service, &service.origin_request),
            kept: Vec::new(),
            unseen: false,
            has_all_options: true,
        }
    }

    /// Returns what tells it apart.
    pub fn id(&self) -> RuleId {
        RuleId { hostname: self.hostname.clone(), path: self.path.clone().unwrap_or_default() }
    }

    /// Returns the rule as labels ask for it.
    pub fn as_wanted(&self) -> Self {
        Self { kept: Vec::new(), unseen: false, has_all_options: true, ..self.clone() }
    }

    /// True if the rule that stands there under its name is the one that was written.
    fn is_written_in(&self, there: &Map<String, Value>) -> bool {
        !self.unseen || self.written_over(there).as_object() == Some(there)
    }

    /// True if the rule that stands there is this one, and nobody changed what we set of it.
    fn stands_in(&self, there: &Map<String, Value>) -> bool {
        let left = own_options(there).filter(|name| self.leaves(name));
        self.keeping(left).written_over(there).as_object() == Some(there)
    }

    /// True if this option was somebody else's in it, whatever labels can set now.
    fn leaves(&self, option: &str) -> bool {
        let is_newer = !self.has_all_options && !FIRST_OPTIONS.contains(&option);
        is_newer || self.kept.iter().any(|kept| kept == option)
    }

    /// Returns the rule with those of `options` that no label sets.
    fn keeping(&self, options: impl Iterator<Item = String>) -> Self {
        let set = serde_json::to_value(&self.origin_request).unwrap_or_default();
        Self { kept: options.filter(|name| set.get(name).is_none()).collect(), ..self.clone() }
    }

    /// Returns what becomes of a rule of somebody else that stands there when it becomes this one of ours.
    pub fn as_adopted(&self, there: &Map<String, Value>) -> Value {
        self.keeping(own_options(there)).written_over(there)
    }

    /// Returns the rule as it is written to a configuration.
    pub fn to_json(&self) -> Value {
        self.written_over(&Map::new())
    }

    /// Returns the rule written over the one that stands there: what labels cannot set is kept.
    ///
    /// An own option that is off there and unset here stays, because the API fills in such defaults and a
    /// rule must not differ for ever.
    fn written_over(&self, there: &Map<String, Value>) -> Value {
        let mut rule = there.clone();
        rule.insert("hostname".into(), self.hostname.clone().into());
        rule.insert("service".into(), self.service.clone().into());
        match &self.path {
            Some(path) => drop(rule.insert("path".into(), path.clone().into())),
            None if rule.get("path").is_some_and(|path| !is_off(path)) => drop(rule.remove("path")),
            None => {}
        }
        let had_options = rule.get("originRequest").is_some_and(Value::is_object);
        let mut options = rule.get("originRequest").and_then(Value::as_object).cloned().unwrap_or_default();
        options.retain(|name, value| !is_own(name) || is_off(value) || self.kept.contains(name));
        if let Ok(Value::Object(own)) = serde_json::to_value(&self.origin_request) {
            options.extend(own);
        }
        if !options.is_empty() || (had_options && there_is_empty(there)) {
            rule.insert("originRequest".into(), Value::Object(options));
        } else {
            rule.remove("originRequest");
        }
        Value::Object(rule)
    }
}

/// True for the options towards a service that labels can set; others in a rule of ours were set by somebody else.
fn is_own(option: &str) -> bool {
    own_fields().any(|own| own == option)
}

/// Returns the options that labels could set and that are set in the rule that stands there.
fn own_options(there: &Map<String, Value>) -> impl Iterator<Item = String> {
    let options = there.get("originRequest").and_then(Value::as_object);
    let is_set =
        move |name: &&str| options.and_then(|all| all.get(*name)).is_some_and(|value| !is_off(value));
    own_fields().filter(is_set).map(str::to_owned)
}

fn there_is_empty(there: &Map<String, Value>) -> bool {
    there.get("originRequest").and_then(Value::as_object).is_some_and(Map::is_empty)
}

/// Says whether a value is what the API fills in for "not set".
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(inner) => inner.is_empty(),
        Value::Object(inner) => inner.values().all(is_off),
    }
}

/// Returns the rules of routes in the order in which the connector must try them.
///
/// Exact names come before wildcards and narrow wildcards before wide ones, since the first match wins; for
/// one name the longer path comes first. Ties are settled by name, so that one set has one order.
pub fn wanted_rules<'a>(routes: impl IntoIterator<Item = &'a Service>) -> Vec<IngressRule> {
    let mut routes: Vec<&Service> = routes.into_iter().collect();
    routes.sort_by_key(|route| specificity(&route.key.hostname, &route.key.path));
    routes.dedup_by(|a, b| a.key == b.key);
    routes.into_iter().map(IngressRule::new).collect()
}

/// Returns rules that are ready already in that order.
pub fn in_order(mut rules: Vec<IngressRule>) -> Vec<IngressRule> {
    rules.sort_by_cached_key(|rule| {
        let pattern = rule.path.as_deref().unwrap_or_default();
        specificity(&rule.hostname, &kept_path(pattern))
    });
    rules
}

/// The smaller, the earlier.
type Rank = (bool, Reverse<usize>, Extent, Reverse<usize>, String, String);

/// How much of a name a rule takes. An expression comes behind paths, also behind those that hold the place of a route which
/// may not be reached: what it matches is not to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Path,
    Expression,
    Whole,
}

fn specificity(hostname: &str, path: &str) -> Rank {
    let wildcard = is_wildcard(hostname) || hostname.is_empty() || hostname == "*";
    let depth = if wildcard {
        hostname.split('.').filter(|part| *part != "*" && !part.is_empty()).count()
    } else {
        0
    };
    let extent = match path {
        "" => Extent::Whole,
        path if is_expression(path) => Extent::Expression,
        _ => Extent::Path,
    };
    (wildcard, Reverse(depth), extent, Reverse(path.len()), hostname.to_owned(), path.to_owned())
}
