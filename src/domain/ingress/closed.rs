//! Rules for routes that may not be reached: where another rule would get their requests, one that answers 503.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::access::AccessAsk;
use super::super::hostname::{covers, is_wildcard};
use super::super::path::{is_expression, lies_within, plain_path};
use super::super::route::{OriginRequest, RouteKey, Service};
use super::place::text;
use super::{IngressRule, RuleId, wanted_rules};

/// What answers for a route that waits.
pub const CLOSED: &str = "http_status:503";

/// Returns the rules of `open` routes in order, with one that answers [`CLOSED`] in the place of each of the `closed` ones whose
/// requests another rule would get, one of ours or one of the `foreign` ones. No request that belongs to a closed route
/// reaches a service.
pub fn guarded_rules<'a>(
    open: impl IntoIterator<Item = &'a Service>,
    closed: impl IntoIterator<Item = &'a RouteKey>,
    foreign: &[RuleId],
) -> Vec<IngressRule> {
    let open: Vec<&Service> = open.into_iter().collect();
    let others = Others::new(&open, foreign);
    let needed = closed.into_iter().filter(|key| others.may_answer_for(key));
    let guards: Vec<Service> = needed.map(guard).collect();
    // A route that is in both lists is closed: of two with one key the first counts.
    wanted_rules(guards.iter().chain(open))
}

/// Returns the rules of somebody else that lead to a service, the one for all other names included.
pub fn foreign_services(observed: &Value, ours: &[IngressRule]) -> Vec<RuleId> {
    let ours: BTreeSet<RuleId> = ours.iter().map(IngressRule::id).collect();
    let rules = observed.get("ingress").and_then(Value::as_array).into_iter().flatten();
    let leads_to_one = |rule: &&Value| !text(rule, "service").starts_with("http_status:");
    let ids = rules.filter(leads_to_one).map(|rule| RuleId {
        hostname: text(rule, "hostname").to_ascii_lowercase(),
        path: text(rule, "path").to_owned(),
    });
    ids.filter(|id| !ours.contains(id)).collect()
}

fn guard(key: &RouteKey) -> Service {
    Service {
        key: key.clone(),
        service: CLOSED.to_owned(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        access: AccessAsk::Nothing,
    }
}

/// Open routes, by what finds those that might answer for another one, and what others have beside them.
struct Others<'a> {
    by_name: BTreeMap<&'a str, Vec<&'a RouteKey>>,
    wildcards: Vec<&'a RouteKey>,
    foreign: &'a [RuleId],
}

impl<'a> Others<'a> {
    fn new(open: &[&'a Service], foreign: &'a [RuleId]) -> Self {
        let mut others = Self { by_name: BTreeMap::new(), wildcards: Vec::new(), foreign };
        for key in open.iter().map(|service| &service.key) {
            match is_wildcard(&key.hostname) {
                true => others.wildcards.push(key),
                false => others.by_name.entry(&key.hostname).or_default().push(key),
            }
        }
        others
    }

    /// Exact names come before wildcards, so what an exact name gets of a wildcard's requests is its own anyway.
    fn may_answer_for(&self, key: &RouteKey) -> bool {
        let of_name = self.by_name.get(key.hostname.as_str()).into_iter().flatten();
        of_name
            .chain(&self.wildcards)
            .any(|other| shares_names(&key.hostname, &other.hostname) && shares_paths(&key.path, &other.path))
            || self.foreign.iter().any(|rule| rule.shares_requests(&RuleId::of(key)))
    }
}

fn shares_names(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

fn shares_paths(one: &str, other: &str) -> bool {
    // What an expression matches is anybody's guess.
    is_expression(one) || is_expression(other) || lies_within(one, other) || lies_within(other, one)
}

impl RuleId {
    /// True if some request might be for both of two rules; of expressions that cannot be compared it is.
    pub fn shares_requests(&self, other: &Self) -> bool {
        let path =
            |rule: &Self| if rule.path.is_empty() { Some(String::new()) } else { plain_path(&rule.path) };
        shares_names(&self.hostname, &other.hostname)
            && match (path(self), path(other)) {
                (Some(one), Some(other)) => shares_paths(&one, &other),
                _ => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn key(hostname: &str, path: &str) -> RouteKey {
        RouteKey { hostname: hostname.into(), path: path.into() }
    }

    /// A route whose service tells which one it is.
    fn service(key: &RouteKey) -> Service {
        Service { service: format!("http://{}", key.to_string().replace(['*', '/'], "-")), ..guard(key) }
    }

    /// Which rule answers, as the connector finds it: the first one whose name and expression match.
    fn answers<'r>(rules: &'r [IngressRule], hostname: &str, path: &str) -> Option<&'r IngressRule> {
        rules.iter().find(|rule| {
            let is_name = match rule.hostname.strip_prefix('*') {
                Some(end) => hostname.ends_with(end),
                None => rule.hostname == hostname,
            };
            is_name && rule.path.as_deref().is_none_or(|path_of| Regex::new(path_of).unwrap().is_match(path))
        })
    }

    #[test]
    fn a_closed_route_has_a_rule_only_where_another_one_would_answer() {
        for (open, closed, expected) in [
            (vec![("a.x.io", "")], ("b.x.io", ""), vec!["a.x.io"]),
            (vec![("a.x.io", "")], ("a.x.io", "/admin"), vec!["a.x.io/admin 503", "a.x.io"]),
            (
                vec![("a.x.io", "/admin/deep")],
                ("a.x.io", "/admin"),
                vec!["a.x.io/admin/deep", "a.x.io/admin 503"],
            ),
            (vec![("a.x.io", "/api")], ("a.x.io", "/admin"), vec!["a.x.io/api"]),
            (vec![("a.x.io", "/adm")], ("a.x.io", "/admin"), vec!["a.x.io/adm"]),
            (vec![("*.x.io", "")], ("a.x.io", ""), vec!["a.x.io 503", "*.x.io"]),
            (vec![("*.x.io", "/api")], ("a.x.io", ""), vec!["a.x.io 503", "*.x.io/api"]),
            (vec![("*.x.io", "/api/v1")], ("a.x.io", "/api"), vec!["a.x.io/api 503", "*.x.io/api/v1"]),
            (vec![("*.y.io", "")], ("a.x.io", ""), vec!["*.y.io"]),
            (vec![("a.x.io", "")], ("*.x.io", ""), vec!["a.x.io"]),
            (vec![("*.io", "")], ("*.x.io", ""), vec!["*.x.io 503", "*.io"]),
            (vec![("a.x.io", "")], ("a.x.io", ""), vec!["a.x.io 503"]),
        ] {
            let open: Vec<Service> = open.iter().map(|(name, path)| service(&key(name, path))).collect();
            let rules = guarded_rules(&open, [&key(closed.0, closed.1)], &[]);
            let told = rules.iter().map(|rule| {
                let path = rule.path.as_deref().and_then(plain_path).unwrap_or_default();
                let end = if rule.service == CLOSED { " 503" } else { "" };
                format!("{}{path}{end}", rule.hostname)
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "{closed:?}");
        }
    }

    #[test]
    fn rules_share_requests_if_one_could_be_for_both() {
        let rule = |name: &str, path: &str| RuleId { hostname: name.into(), path: path.into() };
        for (one, other, expected) in [
            (rule("a.x.io", "^/api(/|$)"), rule("*.x.io", ""), true),
            (rule("a.x.io", "^/api(/|$)"), rule("a.x.io", "/api/v1"), true),
            (rule("a.x.io", "^/api(/|$)"), rule("a.x.io", "^/app(/|$)"), false),
            (rule("a.x.io", "^/api(/|$)"), rule("a.x.io", "^/(app|web)$"), true),
            (rule("a.x.io", "^/api(/|$)"), rule("", ""), true),
            (rule("a.x.io", ""), rule("b.x.io", ""), false),
        ] {
            assert_eq!((one.shares_requests(&other), other.shares_requests(&one)), (expected, expected));
        }
    }

    #[test]
    fn a_rule_of_somebody_else_does_not_answer_for_a_closed_route_either() {
        let ours = IngressRule::new(&service(&key("a.x.io", "")));
        let end = |service: &str| serde_json::json!({ "service": service });
        let theirs = |name: &str, service: &str| serde_json::json!({ "hostname": name, "service": service });
        for (rules, is_needed) in [
            (vec![end("http_status:404")], false),
            (vec![end("http://proxy")], true),
            (vec![theirs("*.x.io", "http://theirs"), end("http_status:404")], true),
            (vec![theirs("*.x.io", "http_status:410"), end("http_status:404")], false),
            (vec![theirs("*.y.io", "http://theirs"), end("http_status:404")], false),
            (vec![ours.to_json(), end("http_status:404")], false),
        ] {
            let observed = serde_json::json!({ "ingress": rules });
            let foreign = foreign_services(&observed, std::slice::from_ref(&ours));
            let rules = guarded_rules([], [&key("a.x.io", "")], &foreign);
            assert_eq!(
                rules.iter().map(|rule| rule.service.as_str()).collect::<Vec<_>>(),
                vec![CLOSED; is_needed.into()],
                "{observed}"
            );
        }
    }

    fn any_key() -> impl Strategy<Value = RouteKey> {
        ("(\\*\\.)?([ab]\\.){1,2}io", "(/[xy.]{1,2}){0,3}").prop_map(|(name, path)| key(&name, &path))
    }

    fn any_request() -> impl Strategy<Value = (String, String)> {
        ("([abc]\\.){1,3}io", "(/[xyz.]{1,2}){0,4}/?")
    }

    proptest! {
        #[test]
        fn no_request_of_a_closed_route_reaches_a_service_and_all_others_reach_theirs(
            routes in proptest::collection::btree_map(any_key(), any::<bool>(), 0..12),
            requests in proptest::collection::vec(any_request(), 1..20),
        ) {
            // given: routes, some of them closed, and the order in which they would be tried if all were open
            let services: Vec<Service> = routes.keys().map(service).collect();
            let all = wanted_rules(&services);
            let is_closed = |key: &RouteKey| routes[key];
            let closed: BTreeSet<&RouteKey> = routes.keys().filter(|key| is_closed(key)).collect();
            let of_closed: BTreeSet<String> = closed.iter().map(|key| service(key).service).collect();
            // when
            let rules = guarded_rules(services.iter().filter(|service| !is_closed(&service.key)), closed, &[]);
            // then
            let paths = routes.keys().map(|key| (key.hostname.replace('*', "c"), key.path.clone()));
            let below = routes.keys().map(|key| (key.hostname.replace('*', "a"), format!("{}/x", key.path)));
            for (hostname, path) in requests.into_iter().chain(paths).chain(below) {
                let meant = answers(&all, &hostname, &path).map(|rule| rule.service.clone());
                let got = answers(&rules, &hostname, &path).map(|rule| rule.service.clone());
                match meant {
                    Some(meant) if of_closed.contains(&meant) => {
                        prop_assert!(got.is_none() || got.as_deref() == Some(CLOSED), "{hostname}{path} {got:?} {rules:?}");
                    }
                    meant => prop_assert_eq!(got, meant, "{}{}", hostname, path),
                }
            }
            // nobody stands in a place without a reason
            for guard in rules.iter().filter(|rule| rule.service == CLOSED) {
                prop_assert!(rules.iter().any(|rule| rule.service != CLOSED && rule.id().shares_requests(&guard.id())));
            }
        }
    }
}
