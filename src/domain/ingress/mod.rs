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
use super::origin::options_for;
use super::path::path_regex;
use super::route::{OriginRequest, RouteKey, Service};

pub use closed::{CLOSED, foreign_services, guarded_rules};
pub use merge::{Contact, Foreign, MergeError, MergeOutcome, RuleConflict, SYSTEM, merge, rule_there};
pub use trial::Trial;

/// Options towards a service that labels can set; others in a rule of ours were set by somebody else.
const OWN_OPTIONS: [&str; 6] = [
    "noTLSVerify",
    "originServerName",
    "httpHostHeader",
    "http2Origin",
    "disableChunkedEncoding",
    "matchSNItoHost",
];

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
}

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
        }
    }

    /// Returns what tells it apart.
    pub fn id(&self) -> RuleId {
        RuleId { hostname: self.hostname.clone(), path: self.path.clone().unwrap_or_default() }
    }

    /// Returns the rule as labels ask for it.
    pub fn as_wanted(&self) -> Self {
        Self { kept: Vec::new(), unseen: false, ..self.clone() }
    }

    /// True if the rule that stands there under its name is the one that was written.
    fn is_written_in(&self, there: &Map<String, Value>) -> bool {
        !self.unseen || self.written_over(there).as_object() == Some(there)
    }

    /// Returns the rule with those of `options` that no label sets.
    fn keeping(&self, options: impl Iterator<Item = String>) -> Self {
        let set = serde_json::to_value(&self.origin_request).unwrap_or_default();
        Self { kept: options.filter(|name| set.get(name).is_none()).collect(), ..self.clone() }
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
        options.retain(|name, value| {
            !OWN_OPTIONS.contains(&name.as_str()) || is_off(value) || self.kept.contains(name)
        });
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

/// Returns the options that labels could set and that are set in the rule that stands there.
fn own_options(there: &Map<String, Value>) -> impl Iterator<Item = String> {
    let options = there.get("originRequest").and_then(Value::as_object);
    let is_set =
        move |name: &&str| options.and_then(|all| all.get(*name)).is_some_and(|value| !is_off(value));
    OWN_OPTIONS.into_iter().filter(is_set).map(str::to_owned)
}

fn there_is_empty(there: &Map<String, Value>) -> bool {
    there.get("originRequest").and_then(Value::as_object).is_some_and(Map::is_empty)
}

/// Says whether a value is what the API fills in for "not set".
fn is_off(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value.as_str().is_some_and(str::is_empty)
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

/// The smaller, the earlier.
type Rank = (bool, Reverse<usize>, Reverse<usize>, String, String);

fn specificity(hostname: &str, path: &str) -> Rank {
    let wildcard = is_wildcard(hostname) || hostname.is_empty() || hostname == "*";
    let depth = if wildcard {
        hostname.split('.').filter(|part| *part != "*" && !part.is_empty()).count()
    } else {
        0
    };
    (wildcard, Reverse(depth), Reverse(path.len()), hostname.to_owned(), path.to_owned())
}
