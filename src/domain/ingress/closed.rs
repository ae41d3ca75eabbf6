//! Rules for routes that may not be reached: where another rule would get their requests, one that answers 503.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::access::AccessAsk;
use super::super::hostname::{is_wildcard, may_share_names};
use super::super::path::{kept_path, may_share_requests};
use super::super::route::{OriginRequest, RouteKey, Service};
use super::place::text;
use super::{IngressRule, RuleId, specificity, wanted_rules};

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

/// True if one of these rules leads requests to a service that belong to a route, if that has no rule of its own: it comes behind the
/// route's place. What comes before it has those requests anyway.
pub fn gets_requests_of(route: &RouteKey, rules: &[IngressRule]) -> bool {
    let (place, id) = (specificity(&route.hostname, &route.path), RuleId::of(route));
    rules.iter().filter(|rule| rule.service != CLOSED && rule.id().shares_requests(&id)).any(|rule| {
        let path = kept_path(rule.path.as_deref().unwrap_or_default());
        specificity(&rule.hostname, &path) > place
    })
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

impl IngressRule {
    /// What answers in the place of a route.
    pub fn closed(route: &RouteKey) -> Self {
        Self::new(&guard(route))
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
        of_name.chain(&self.wildcards).any(|other| {
            may_share_names(&key.hostname, &other.hostname) && may_share_requests(&key.path, &other.path)
        }) || self.foreign.iter().any(|rule| rule.shares_requests(&RuleId::of(key)))
    }
}

impl RuleId {
    /// True if some request might be for both of two rules; of expressions that cannot be compared it might.
    pub fn shares_requests(&self, other: &Self) -> bool {
        may_share_names(&self.hostname, &other.hostname)
            && may_share_requests(&kept_path(&self.path), &kept_path(&other.path))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use regex::Regex;

    use super::super::super::path::plain_path;
    use super::super::{Contact, merge};
    use super::*;

    #[test]
    fn a_wider_rule_gets_what_a_narrower_route_leaves_and_a_narrower_one_gets_nothing_of_a_wider() {
        for (route, rule, expected) in [
            (("a.example.com", "/hook"), ("a.example.com", "/"), true),
            (("a.example.com", "/hook"), ("*.example.com", "/"), true),
            (("a.example.com", "/"), ("*.example.com", "/"), true),
            (("a.example.com", "/"), ("a.example.com", "/hook"), false),
            (("*.example.com", "/"), ("a.example.com", "/"), false),
            (("a.example.com", "/hook"), ("a.example.com", "/other"), false),
            (("a.example.com", "/hook"), ("b.example.com", "/"), false),
            (("a.example.com", "/hook"), ("a.example.com", "/hook"), false),
        ] {
            let (route, rule) = (key(route.0, route.1), key(rule.0, rule.1));
            let rules = [IngressRule::new(&service(&rule))];
            assert_eq!(gets_requests_of(&route, &rules), expected, "{route} {rule}");
            let shut = [IngressRule { service: CLOSED.into(), ..rules[0].clone() }];
            assert!(!gets_requests_of(&route, &shut), "it leads nowhere");
        }
    }

    fn key(hostname: &str, path: &str) -> RouteKey {
        RouteKey { hostname: hostname.into(), path: path.into() }
    }

    /// A route whose service tells which one it is.
    fn service(key: &RouteKey) -> Service {
        Service { service: format!("http://{}", key.to_string().replace(['*', '/'], "-")), ..guard(key) }
    }

    /// Rules as the connector has them.
    struct Connector(Vec<(IngressRule, Option<Regex>)>);

    impl Connector {
        fn new(rules: &[IngressRule]) -> Self {
            let read = |rule: &IngressRule| rule.path.as_deref().map(|path| Regex::new(path).unwrap());
            Self(rules.iter().map(|rule| (rule.clone(), read(rule))).collect())
        }

        /// Which rule answers: the first one whose name and expression match.
        fn answers(&self, hostname: &str, path: &str) -> Option<&IngressRule> {
            let found = self.0.iter().find(|(rule, regex)| {
                let is_name = match rule.hostname.strip_prefix('*') {
                    Some(end) => hostname.ends_with(end),
                    None => rule.hostname.is_empty() || rule.hostname == hostname,
                };
                is_name && regex.as_ref().is_none_or(|regex| regex.is_match(path))
            });
            found.map(|(rule, _)| rule)
        }
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

    #[test]
    fn a_guard_stands_before_our_expressions_wherever_rules_of_others_stand() {
        // given: what others made, one of them below the closed path, and an expression of ours that goes before the first
        let observed = serde_json::json!({ "ingress": [
            { "hostname": "*.other.io", "service": "http://other" },
            { "hostname": "a.x.io", "path": "^/admin/deep(/|$)", "service": "http://theirs" },
            { "service": "http_status:404" },
        ] });
        let open = [service(&key("a.x.io", "~\\.php$"))];
        // when
        let rules = guarded_rules(&open, [&key("a.x.io", "/admin")], &foreign_services(&observed, &[]));
        let written = merge(&[], &rules, &observed, Contact::Confirmed).unwrap().config;
        // then
        let written = Connector::new(&ingress_rules(&written));
        let of = |path: &str| written.answers("a.x.io", path).unwrap().service.as_str();
        assert_eq!(of("/admin/x.php"), CLOSED);
        assert_eq!(of("/admin/deep/x"), "http://theirs", "what others made stays reachable");
        assert_eq!(of("/x.php"), open[0].service);
    }

    fn ingress_rules(config: &Value) -> Vec<IngressRule> {
        let rules = config["ingress"].as_array().unwrap().iter();
        rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
    }

    fn any_key() -> impl Strategy<Value = RouteKey> {
        let path = prop_oneof![
            3 => "(/[xy.]{1,2}){0,3}",
            1 => proptest::sample::select(vec!["~[xy]$", "~^/(x|y)", "~/x", "~^/x/?y", "~^/[.]|y"]).prop_map(str::to_owned),
        ];
        ("(\\*\\.)?([ab]\\.){1,2}io", path).prop_map(|(name, path)| key(&name, &path))
    }

    fn any_routes() -> impl Strategy<Value = BTreeMap<RouteKey, bool>> {
        proptest::collection::btree_map(any_key(), any::<bool>(), 0..12)
    }

    fn any_foreign() -> impl Strategy<Value = Value> {
        let path = proptest::sample::select(vec!["^/x/y(/|$)", "^/[xy]", "\\.y$", "^/y(/|$)", "/x", ""]);
        let name = prop_oneof!["(\\*\\.)?([ab]\\.){1,2}io", Just(String::new())];
        let service = proptest::sample::select(vec!["http://theirs", "http_status:410"]);
        (name, path, service).prop_map(
            |(name, path, service)| serde_json::json!({ "hostname": name, "path": path, "service": service }),
        )
    }

    /// Requests, some for each of these routes.
    fn any_requests() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("([abc]\\.){1,3}io", "(/[xyz.]{1,2}){0,4}/?"), 1..20)
    }

    fn with_those_of(
        routes: &BTreeMap<RouteKey, bool>,
        requests: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let path =
            |key: &RouteKey| if key.path.starts_with('~') { "/x/y".to_owned() } else { key.path.clone() };
        let at = routes.keys().map(|key| (key.hostname.replace('*', "c"), path(key)));
        let below = routes.keys().map(|key| (key.hostname.replace('*', "a"), format!("{}/x", path(key))));
        requests.into_iter().chain(at).chain(below).collect()
    }

    /// Routes, some of them closed, and the order in which they would be tried if all were open.
    struct Case {
        services: Vec<Service>,
        closed: BTreeSet<RouteKey>,
        all: Connector,
    }

    impl Case {
        fn new(routes: &BTreeMap<RouteKey, bool>) -> Self {
            let services: Vec<Service> = routes.keys().map(service).collect();
            let closed = routes.iter().filter(|(_, is_closed)| **is_closed).map(|(key, _)| key.clone());
            Self { closed: closed.collect(), all: Connector::new(&wanted_rules(&services)), services }
        }

        fn guarded(&self, foreign: &[RuleId]) -> Vec<IngressRule> {
            let open = self.services.iter().filter(|service| !self.closed.contains(&service.key));
            guarded_rules(open, &self.closed, foreign)
        }

        /// Says what is wrong if one of ours, or nobody, answers so.
        fn wrong(&self, hostname: &str, path: &str, got: Option<&IngressRule>) -> Option<String> {
            let got = got.map(|rule| rule.service.as_str());
            let meant = self.all.answers(hostname, path).map(|rule| rule.service.as_str());
            let is_closed = |meant: &str| {
                self.services.iter().any(|one| one.service == meant && self.closed.contains(&one.key))
            };
            let is_right = match meant {
                Some(meant) if is_closed(meant) => got.is_none() || got == Some(CLOSED),
                meant => got == meant,
            };
            (!is_right).then(|| format!("{hostname}{path}: {got:?} in the place of {meant:?}"))
        }
    }

    proptest! {
        #[test]
        fn no_request_of_a_closed_route_reaches_a_service_and_all_others_reach_theirs(
            routes in any_routes(), requests in any_requests(),
        ) {
            // given
            let case = Case::new(&routes);
            // when
            let rules = case.guarded(&[]);
            // then
            let connector = Connector::new(&rules);
            for (hostname, path) in with_those_of(&routes, requests) {
                let wrong = case.wrong(&hostname, &path, connector.answers(&hostname, &path));
                prop_assert!(wrong.is_none(), "{wrong:?} {rules:?}");
            }
            // nobody stands in a place without a reason
            for guard in rules.iter().filter(|rule| rule.service == CLOSED) {
                prop_assert!(rules.iter().any(|rule| rule.service != CLOSED && rule.id().shares_requests(&guard.id())));
            }
        }

        #[test]
        fn among_rules_of_others_too_no_route_of_ours_answers_for_another_one(
            routes in any_routes(), foreign in proptest::collection::vec(any_foreign(), 0..5), requests in any_requests(),
        ) {
            // given: a tunnel that holds what others made, and a person agreed to that
            let case = Case::new(&routes);
            let end = serde_json::json!({ "service": "http_status:404" });
            let observed = serde_json::json!({ "ingress": foreign.into_iter().chain([end]).collect::<Vec<_>>() });
            // when
            let rules = case.guarded(&foreign_services(&observed, &[]));
            let outcome = merge(&[], &rules, &observed, Contact::Confirmed).unwrap();
            // What has the name and path of somebody else's rule is not written.
            prop_assume!(outcome.conflicts.is_empty());
            // then
            let connector = Connector::new(&ingress_rules(&outcome.config));
            for (hostname, path) in with_those_of(&routes, requests) {
                let got = connector.answers(&hostname, &path);
                if got.is_some_and(|got| rules.iter().any(|rule| rule.id() == got.id())) {
                    let wrong = case.wrong(&hostname, &path, got);
                    prop_assert!(wrong.is_none(), "{wrong:?} {}", outcome.config);
                }
            }
        }
    }
}
