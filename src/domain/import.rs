//! Rules that somebody made in a tunnel, and what becomes of them if a person takes them over as rules of his own.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::difference::in_words;
use super::hostname::{covers, is_wildcard, kept_form};
use super::ingress::{Contact, IngressRule, MergeError, foreign_rules, in_order, merge, rule_there};
use super::manual_rule::as_manual;
use super::path::kept_path;
use super::route::{RouteKey, Service};

/// A rule of somebody else.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignRule {
    /// As it stands there.
    pub there: Value,
    /// What it asks for, if it can be taken over; else why not.
    pub spec: Result<Service, String>,
    /// What would be written in another way; empty if nothing is.
    pub changes: Vec<String>,
}

/// All that others made in a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// In the order in which they stand there.
    pub rules: Vec<ForeignRule>,
    /// True if rules would stand in another order once these are taken over.
    pub order_changes: bool,
}

/// Says what would become of the rules of others in a configuration, of which `applied` are ours and to which `wanted` are
/// to be added, if those that `is_meant` are taken over.
pub fn preview(
    applied: &[IngressRule],
    wanted: &[IngressRule],
    observed: &Value,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Preview, MergeError> {
    let found = foreign_rules(applied, observed)?;
    let ours = applied.iter().filter(|rule| !rule.unseen && rule_there(observed, &rule.id()).is_some());
    let mut taken: BTreeSet<RouteKey> =
        ours.map(|rule| key(&rule.hostname, rule.path.as_deref().unwrap_or_default())).collect();
    let mut rules = Vec::new();
    for there in found.iter().filter_map(Value::as_object) {
        let is_first = taken.insert(key(text(there, "hostname"), text(there, "path")));
        if is_meant(text(there, "hostname")) {
            rules.push(foreign_rule(there, is_first));
        }
    }
    let to_take: Vec<IngressRule> =
        rules.iter().filter_map(|rule| Some(IngressRule::new(rule.spec.as_ref().ok()?))).collect();
    let before = merge(applied, wanted, observed, Contact::Confirmed)?;
    let all = in_order(wanted.iter().chain(&to_take).cloned().collect());
    let after = merge(applied, &all, observed, Contact::Confirmed)?;
    Ok(Preview { order_changes: names(&before.config) != names(&after.config), rules })
}

/// True if one of these names it: as it is written, or `*.example.com` for all below.
pub fn is_named(hostname: &str, names: &[String]) -> bool {
    names.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        name == hostname || (is_wildcard(&name) && covers(&name, hostname))
    })
}

/// The connector uses the first rule of a name and path.
fn foreign_rule(there: &Map<String, Value>, is_first: bool) -> ForeignRule {
    let spec = match is_first {
        true => as_manual(there),
        false => Err("an earlier rule gets all its requests".to_owned()),
    };
    let changes = match &spec {
        Ok(spec) => {
            let after = IngressRule::new(spec).as_adopted(there);
            after.as_object().map(|after| in_words(there, after)).unwrap_or_default()
        }
        Err(_) => Vec::new(),
    };
    ForeignRule { there: Value::Object(there.clone()), spec, changes }
}

fn text<'r>(rule: &'r Map<String, Value>, field: &str) -> &'r str {
    rule.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn key(hostname: &str, pattern: &str) -> RouteKey {
    RouteKey { hostname: kept_form(hostname), path: kept_path(pattern) }
}

/// What tells the rules of a configuration apart, in their order.
fn names(config: &Value) -> Vec<(String, String)> {
    let rules = config.get("ingress").and_then(Value::as_array);
    let text = |rule: &Value, field: &str| {
        rule.get(field).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase()
    };
    rules.into_iter().flatten().map(|rule| (text(rule, "hostname"), text(rule, "path"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(observed: &Value) -> Preview {
        preview(&[], &[], observed, |_| true).unwrap()
    }

    #[test]
    fn what_is_taken_over_stays_as_it_is_byte_for_byte() {
        let odd = json!({"hostname": "nas.example.com", "path": "\\.(jpg|png)$", "service": "https://10.0.0.5:5001",
            "originRequest": {"noTLSVerify": true, "connectTimeout": 30, "bastionMode": true, "ipRules": [1]}, "id": "x1"});
        let plain = json!({"hostname": "app.example.com", "service": "http://app:80"});
        let observed = json!({"ingress": [odd, plain, {"service": "http_status:404"}], "warp-routing": {"enabled": true}});
        let seen = all(&observed);
        assert_eq!(seen.rules.iter().map(|rule| rule.there.clone()).collect::<Vec<_>>(), [odd, plain]);
        assert!(seen.rules.iter().all(|rule| rule.spec.is_ok() && rule.changes.is_empty()), "{seen:?}");

        let taken: Vec<IngressRule> =
            seen.rules.iter().map(|rule| IngressRule::new(rule.spec.as_ref().unwrap())).collect();
        let merged = merge(&[], &taken, &observed, Contact::Confirmed).unwrap();
        assert_eq!(merged.adopted.len(), 2);
        for rule in observed["ingress"].as_array().unwrap() {
            assert!(merged.config["ingress"].as_array().unwrap().contains(rule), "{rule}");
        }
        assert_eq!(merged.config["warp-routing"], observed["warp-routing"]);
        // What is ours now is not offered again.
        assert_eq!(preview(&merged.applied_after, &taken, &merged.config, |_| true).unwrap().rules, []);
    }

    #[test]
    fn what_would_be_written_in_another_way_is_said() {
        let observed = json!({"ingress": [
            {"hostname": "App.example.com", "service": "http://app:80/"},
            {"path": "/health", "service": "http://app:80"},
            {"service": "http_status:404"},
        ]});
        let seen = all(&observed);
        assert_eq!(
            seen.rules[0].changes,
            [
                "hostname: `\"App.example.com\"` becomes `\"app.example.com\"`",
                "service: `\"http://app:80/\"` becomes `\"http://app:80\"`",
            ]
        );
        assert!(seen.rules[1].spec.as_ref().unwrap_err().contains("every hostname"));
    }

    #[test]
    fn of_several_rules_of_one_name_and_path_the_first_is_taken_as_the_connector_does() {
        // given
        let rule = |name: &str, path: &str, service: &str| json!({"hostname": name, "path": path, "service": service});
        let end = json!({"service": "http_status:404"});
        let observed = json!({"ingress": [
            rule("a.example.com", "^/api(/|$)", "http://first"), rule("A.example.com", "^/api(/|$)", "http://dead"),
            rule("a.example.com", "", "http://other"), rule("b.example.com", "", "ftp://odd"),
            rule("b.example.com", "", "http://dead"), end,
        ]});
        // when
        let seen = all(&observed);
        // then
        let fate = |rule: &ForeignRule| match &rule.spec {
            Ok(spec) => spec.service.clone(),
            Err(reason) => reason.split(' ').take(3).collect::<Vec<_>>().join(" "),
        };
        let fates: Vec<String> = seen.rules.iter().map(fate).collect();
        assert_eq!(fates[..3], ["http://first", "an earlier rule", "http://other"]);
        assert_eq!(fates[4], "an earlier rule", "{fates:?}");
        let one = preview(&[], &[], &observed, |name| name == "A.example.com").unwrap();
        assert!(one.rules[0].spec.is_err(), "chosen alone it gets no request either");

        // given: the first one is ours
        let ours = IngressRule::new(seen.rules[0].spec.as_ref().unwrap());
        // when
        let seen =
            preview(std::slice::from_ref(&ours), std::slice::from_ref(&ours), &observed, |_| true).unwrap();
        // then
        assert_eq!(fate(&seen.rules[0]), "an earlier rule");
    }

    #[test]
    fn another_order_is_said() {
        let rule = |name: &str| json!({"hostname": name, "service": "http://app"});
        let ordered = json!({"ingress": [rule("a.example.com"), rule("*.example.com"), {"service": "http_status:404"}]});
        assert!(!all(&ordered).order_changes);
        let other = json!({"ingress": [rule("z.example.org"), rule("a.example.com"), {"service": "http_status:404"}]});
        assert!(all(&other).order_changes, "ours are sorted by name");
    }

    #[test]
    fn names_are_chosen_as_they_are_written_or_all_below_one() {
        let names = ["app.example.com".to_owned(), "*.lab.example.com".to_owned()];
        for (hostname, is_meant) in [
            ("app.example.com", true),
            ("x.lab.example.com", true),
            ("*.lab.example.com", true),
            ("lab.example.com", false),
            ("other.example.com", false),
        ] {
            assert_eq!(is_named(hostname, &names), is_meant, "{hostname}");
        }
    }
}
