//! What holds for any rules of ours and of others.

use proptest::prelude::*;
use serde_json::json;

use super::super::super::hostname::covers;
use super::*;

fn any_route() -> impl Strategy<Value = Service> {
    let timeout = proptest::option::of(1_u32..3);
    ("(\\*\\.)?([ab]\\.){1,2}io", "(/[xy]){0,2}", "http://[pq]", timeout).prop_map(
        |(name, path, to, connect_timeout)| Service {
            origin_request: OriginRequest { connect_timeout, ..OriginRequest::default() },
            ..service(&name, &path, &to)
        },
    )
}

fn any_foreign() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        Just(String::new()),
        "\\^?/[xy](/[xy])?",
        Just("(x|y)$".to_owned()),
        Just("^/(x|y)".to_owned()),
        Just("(".to_owned())
    ];
    let name = prop_oneof!["(\\*\\.)?([ab]\\.){1,2}io", Just(String::new()), Just("*".to_owned())];
    (name, path, "http://[pq]", any::<bool>()).prop_map(|(name, path, to, extra)| {
        let mut rule = json!({"hostname": name, "service": to});
        if !path.is_empty() {
            rule["path"] = path.into();
        }
        if extra {
            rule["originRequest"] = json!({"connectTimeout": 3});
        }
        rule
    })
}

fn is_catch_all(rule: &Value) -> bool {
    ["", "*"].contains(&rule["hostname"].as_str().unwrap_or(""))
        && rule["path"].as_str().unwrap_or("").is_empty()
}

fn foreign_of(config: &Value, applied: &[IngressRule]) -> Vec<Value> {
    let ids: Vec<RuleId> = applied.iter().map(IngressRule::id).collect();
    let id = |rule: &Value| RuleId {
        hostname: rule["hostname"].as_str().unwrap_or("").into(),
        path: rule["path"].as_str().unwrap_or("").into(),
    };
    let rules = config["ingress"].as_array().unwrap().iter();
    rules.filter(|rule| !is_catch_all(rule) && !ids.contains(&id(rule))).cloned().collect()
}

proptest! {
    #[test]
    fn merging_keeps_its_promises(
        before in proptest::collection::vec(any_route(), 0..6),
        now in proptest::collection::vec(any_route(), 0..6),
        foreign in proptest::collection::vec(any_foreign(), 0..6),
        contact in proptest::sample::select(vec![Contact::Written, Contact::Confirmed]),
    ) {
        // Given a tunnel with foreign rules to which an earlier set of ours was applied.
        let mut list: Vec<Value> = foreign.into_iter().filter(|rule| !is_catch_all(rule)).collect();
        list.push(json!({"service": "http_status:404"}));
        let start = json!({"ingress": list, "warp-routing": {"enabled": true}});
        let first = merged(&[], &wanted_rules(&before), &start, contact);
        let wanted = wanted_rules(&now);

        // When another set is wanted.
        let outcome = merged(&first.applied_after, &wanted, &first.config, contact);

        // Then exactly one catch-all ends the list,
        let ingress = outcome.config["ingress"].as_array().unwrap();
        prop_assert_eq!(ingress.iter().filter(|rule| is_catch_all(rule)).count(), 1);
        prop_assert!(is_catch_all(ingress.last().unwrap()));
        // foreign rules are untouched and in order, but for those that a person gave us,
        let mut theirs = foreign_of(&first.config, &first.applied_after);
        if contact == Contact::Written {
            prop_assert_eq!(&theirs, &foreign_of(&outcome.config, &outcome.applied_after));
            prop_assert!(outcome.adopted.is_empty());
        } else {
            let kept = foreign_of(&outcome.config, &outcome.applied_after);
            theirs.retain(|rule| kept.contains(rule));
            prop_assert_eq!(theirs, kept);
        }
        prop_assert_eq!(&outcome.config["warp-routing"], &start["warp-routing"]);
        // every wanted rule is there or a conflict,
        for rule in &wanted {
            let there = ingress.iter().filter(|r| r["service"] == rule.service.as_str()
                && r["hostname"] == rule.hostname.as_str()
                && r.get("path").and_then(Value::as_str) == rule.path.as_deref()).count();
            let conflict = outcome.conflicts.iter().any(|c| c.wanted == *rule);
            prop_assert!(there >= 1 || conflict, "{:?} {}", rule, outcome.config);
            let is_applied = outcome.applied_after.iter().any(|applied| applied.as_wanted() == *rule);
            prop_assert_eq!(is_applied, !conflict);
            // none of ours stands behind a foreign rule that takes all its requests,
            let shadowed = ingress.iter().take_while(|r| r["hostname"] != rule.hostname.as_str() || r["service"] != rule.service.as_str())
                .any(|r| r.get("path").is_none() && covers(r["hostname"].as_str().unwrap_or(""), &rule.hostname));
            prop_assert!(conflict || !shadowed || rule.path.is_none() , "{:?} {}", rule, outcome.config);
        }
        // and merging again, even with what was known before the answer, changes nothing.
        for applied in [&outcome.applied_after, &outcome.applied_before] {
            let again = merged(applied, &wanted, &outcome.config, contact);
            prop_assert_eq!(&again.config, &outcome.config);
            prop_assert!(!again.changed);
            prop_assert_eq!(&again.applied_after, &outcome.applied_after);
        }
    }

    #[test]
    fn a_crash_before_the_write_loses_no_rule(
        before in proptest::collection::vec(any_route(), 0..6),
        now in proptest::collection::vec(any_route(), 0..6),
    ) {
        let first = merged(&[], &wanted_rules(&before), &Value::Null, Contact::First);
        let wanted = wanted_rules(&now);
        let lost = merged(&first.applied_after, &wanted, &first.config, Contact::Written);
        // The PUT never arrived: what was there is still recognised as ours and goes.
        let retried = merged(&lost.applied_before, &wanted, &first.config, Contact::Written);
        prop_assert_eq!(retried.config, lost.config);
        prop_assert!(retried.foreign.is_empty());
    }
}
