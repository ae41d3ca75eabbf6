//! Tables and properties of wanted rules and of the merge.

use proptest::prelude::*;
use serde_json::json;

use super::super::hostname::covers;
use super::super::route::RouteKey;
use super::*;

fn service(name: &str, path: &str, to: &str) -> Service {
    Service {
        key: RouteKey { hostname: name.into(), path: path.into() },
        service: to.into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        has_access_labels: false,
    }
}

fn rules(routes: &[(&str, &str, &str)]) -> Vec<IngressRule> {
    let services: Vec<Service> = routes.iter().map(|(name, path, to)| service(name, path, to)).collect();
    wanted_rules(&services)
}

fn lines(config: &Value) -> Vec<String> {
    let rules = config["ingress"].as_array().unwrap().iter();
    rules
        .map(|rule| {
            let field = |name| rule.get(name).and_then(Value::as_str).unwrap_or("");
            format!("{}{} {}", field("hostname"), field("path"), field("service")).trim().to_owned()
        })
        .collect()
}

fn merged(
    applied: &[IngressRule],
    wanted: &[IngressRule],
    observed: &Value,
    contact: Contact,
) -> MergeOutcome {
    merge(applied, wanted, observed, contact).unwrap()
}

#[test]
fn rules_are_ordered_by_specificity() {
    let wanted = rules(&[
        ("*.example.com", "", "http://a"),
        ("app.example.com", "", "http://b"),
        ("*.lab.example.com", "", "http://c"),
        ("app.example.com", "/api/v1", "http://d"),
        ("*.example.com", "/long/path", "http://e"),
        ("app.example.com", "/api", "http://f"),
    ]);
    let order: Vec<String> =
        wanted.iter().map(|r| format!("{}{}", r.hostname, r.path.as_deref().unwrap_or(""))).collect();
    assert_eq!(
        order,
        [
            "app.example.com^/api/v1(/|$)",
            "app.example.com^/api(/|$)",
            "app.example.com",
            "*.lab.example.com",
            "*.example.com^/long/path(/|$)",
            "*.example.com",
        ]
    );
}

#[test]
fn options_are_written_for_web_services_only() {
    let options = OriginRequest { no_tls_verify: Some(true), ..OriginRequest::default() };
    let with = |to| {
        IngressRule::new(&Service { origin_request: options.clone(), ..service("a.example.com", "", to) })
    };
    assert_eq!(
        with("https://app").to_json(),
        json!({"hostname": "a.example.com", "service": "https://app", "originRequest": {"noTLSVerify": true}})
    );
    assert_eq!(with("tcp://app:1").to_json(), json!({"hostname": "a.example.com", "service": "tcp://app:1"}));
}

#[test]
fn a_fresh_tunnel_gets_our_rules_and_a_catch_all() {
    let wanted = rules(&[("a.example.com", "/x", "http://a")]);
    let outcome = merged(&[], &wanted, &Value::Null, Contact::First);
    assert_eq!(lines(&outcome.config), ["a.example.com^/x(/|$) http://a", "http_status:404"]);
    assert!(outcome.changed && !outcome.waiting);
    assert_eq!((outcome.applied_before, outcome.applied_after), (wanted.clone(), wanted));
    assert!(!merged(&[], &[], &Value::Null, Contact::First).changed, "nothing wanted, nothing written");
}

#[test]
fn first_contact_with_foreign_content_waits_and_changes_nothing() {
    let wanted = rules(&[("a.example.com", "", "http://a")]);
    for observed in [
        json!({"ingress": [{"hostname": "b.example.com", "service": "http://b"}, {"service": "http_status:404"}]}),
        json!({"ingress": [{"service": "http_status:404"}], "warp-routing": {"enabled": true}}),
        json!({"ingress": [{"service": "http_status:404"}], "originRequest": {"connectTimeout": 5}}),
    ] {
        let outcome = merged(&[], &wanted, &observed, Contact::First);
        assert!(outcome.waiting && !outcome.changed && outcome.foreign.len() == 1, "{observed}");
        assert_eq!((outcome.config, outcome.applied_before), (observed, vec![]));
    }
    let defaults = json!({"ingress": [{"service": "http_status:503"}], "warp-routing": {"enabled": false}, "originRequest": {}});
    let outcome = merged(&[], &wanted, &defaults, Contact::First);
    assert!(!outcome.waiting, "what the API fills in is nobody's");
    assert_eq!(lines(&outcome.config), ["a.example.com http://a", "http_status:503"], "its catch-all stays");
}

#[test]
fn foreign_rules_and_keys_survive_and_an_equal_rule_becomes_ours() {
    let foreign = json!({"hostname": "b.example.com", "service": "http://b", "originRequest": {"connectTimeout": 7, "x": [1]}});
    let equal = json!({"hostname": "A.example.com", "path": "/api", "service": "http://a/", "originRequest": {"caPool": "/ca"}});
    let other = json!({"hostname": "c.example.com", "service": "http://elsewhere"});
    let observed = json!({
        "ingress": [foreign, equal, other, {"service": "hello_world", "odd": 1}],
        "warp-routing": {"enabled": true}, "someday": {"a": 1.5},
    });
    let wanted = rules(&[
        ("a.example.com", "/api", "http://a"),
        ("c.example.com", "", "http://c"),
        ("d.example.com", "", "http://d"),
    ]);

    let outcome = merged(&[], &wanted, &observed, Contact::Confirmed);

    let ingress = outcome.config["ingress"].as_array().unwrap();
    assert!(ingress.contains(&foreign) && ingress.contains(&other));
    assert_eq!(ingress.last(), Some(&json!({"service": "hello_world", "odd": 1})));
    assert!(ingress.contains(&json!({
        "hostname": "a.example.com", "path": "^/api(/|$)", "service": "http://a", "originRequest": {"caPool": "/ca"}
    })));
    assert_eq!(
        (&outcome.config["warp-routing"], &outcome.config["someday"]),
        (&observed["warp-routing"], &observed["someday"])
    );
    assert_eq!(outcome.adopted, [wanted[0].id()]);
    let conflicts: Vec<_> =
        outcome.conflicts.iter().map(|c| (c.wanted.hostname.as_str(), c.service.as_str())).collect();
    assert_eq!(conflicts, [("c.example.com", "http://elsewhere")]);
    assert_eq!(outcome.applied_after, [wanted[0].clone(), wanted[2].clone()]);
}

#[test]
fn options_of_a_rule_that_becomes_ours_stay_unless_a_label_sets_them() {
    let options = json!({"noTLSVerify": true, "httpHostHeader": "theirs", "connectTimeout": 3});
    let equal = json!({"hostname": "a.example.com", "service": "https://a", "originRequest": options});
    let observed = json!({"ingress": [equal, {"service": "http_status:404"}]});
    let with_host = |host: Option<&str>| {
        let origin_request =
            OriginRequest { http_host_header: host.map(str::to_owned), ..OriginRequest::default() };
        wanted_rules(&[Service { origin_request, ..service("a.example.com", "", "https://a") }])
    };
    let waiting = merged(&[], &with_host(None), &observed, Contact::First);
    assert!(matches!(&waiting.foreign[0], Foreign::Rule { equal_to: Some(_), .. }), "{waiting:?}");

    let ours = merged(&[], &with_host(Some("ours")), &observed, Contact::Confirmed);
    let kept = json!({"noTLSVerify": true, "httpHostHeader": "ours", "connectTimeout": 3});
    assert_eq!(ours.config["ingress"][0]["originRequest"], kept);
    assert!(!merged(&ours.applied_after, &with_host(Some("ours")), &ours.config, Contact::Confirmed).changed);

    // What a label set goes with the label, what was there before stays.
    let without = merged(&ours.applied_after, &with_host(None), &ours.config, Contact::Confirmed);
    assert_eq!(
        without.config["ingress"][0]["originRequest"],
        json!({"noTLSVerify": true, "connectTimeout": 3})
    );
}

#[test]
fn an_equal_rule_without_confirmation_is_left_alone_and_shown() {
    let observed = json!({"ingress": [{"hostname": "a.example.com", "service": "http://a"}, {"service": "http_status:404"}]});
    let wanted = rules(&[("a.example.com", "", "http://a")]);
    let outcome = merged(&[], &wanted, &observed, Contact::Written);
    assert!(!outcome.changed && outcome.applied_after.is_empty());
    assert!(outcome.conflicts[0].is_equal);
}

#[test]
fn only_what_was_applied_is_removed_and_hand_edits_of_ours_are_undone() {
    let applied = rules(&[("a.example.com", "", "http://a"), ("b.example.com", "", "http://b")]);
    let wanted = rules(&[("b.example.com", "", "http://b")]);
    let observed = json!({"ingress": [
        {"hostname": "a.example.com", "service": "http://a"},
        {"hostname": "b.example.com", "service": "http://hand-edited", "originRequest": {"noTLSVerify": true, "http2Origin": false}},
        {"hostname": "c.example.com", "service": "http://c"},
        {"service": "http_status:404"},
    ]});
    let outcome = merged(&applied, &wanted, &observed, Contact::Written);
    assert_eq!(
        lines(&outcome.config),
        ["b.example.com http://b", "c.example.com http://c", "http_status:404"]
    );
    assert_eq!(outcome.config["ingress"][0]["originRequest"], json!({"http2Origin": false}));
    assert_eq!(
        outcome.applied_before.len(),
        2,
        "until the answer is there, the removed rule is still known as ours"
    );
    assert_eq!(outcome.applied_after, wanted);
}

#[test]
fn ours_stand_before_what_shadows_them_and_behind_what_they_would_shadow() {
    for (foreign, ours, expected) in [
        (vec![("*.x.io", "")], ("a.x.io", ""), vec!["a.x.io o", "*.x.io f", "end"]),
        (vec![("a.x.io", "^/api")], ("a.x.io", ""), vec!["a.x.io^/api f", "a.x.io o", "end"]),
        (vec![("a.x.io", "")], ("a.x.io", "/api"), vec!["a.x.io^/api(/|$) o", "a.x.io f", "end"]),
        (
            vec![("a.x.io", ""), ("*.x.io", "")],
            ("*.x.io", "/api"),
            vec!["a.x.io f", "*.x.io^/api(/|$) o", "*.x.io f", "end"],
        ),
        (
            vec![("b.x.io", ""), ("*.y.io", "")],
            ("*.x.io", ""),
            vec!["b.x.io f", "*.x.io o", "*.y.io f", "end"],
        ),
        (
            vec![("*.x.io", ""), ("a.x.io", "^/api")],
            ("a.x.io", ""),
            vec!["a.x.io o", "*.x.io f", "a.x.io^/api f", "end"],
        ),
        (
            vec![("*.x.io", "^/foo"), ("a.x.io", "^/api")],
            ("a.x.io", ""),
            vec!["*.x.io^/foo f", "a.x.io^/api f", "a.x.io o", "end"],
        ),
        (vec![("", "^/health")], ("a.x.io", ""), vec!["a.x.io o", "^/health f", "end"]),
    ] {
        let mut list: Vec<Value> = foreign
            .iter()
            .map(|(name, path)| match *path {
                "" => json!({"hostname": name, "service": "f"}),
                _ => json!({"hostname": name, "path": path, "service": "f"}),
            })
            .collect();
        list.push(json!({"service": "end"}));
        let wanted = rules(&[(ours.0, ours.1, "o")]);
        let outcome = merged(&[], &wanted, &json!({ "ingress": list }), Contact::Confirmed);
        assert_eq!(lines(&outcome.config), expected);
    }
}

#[test]
fn a_catch_all_in_the_middle_moves_to_the_end() {
    let observed = json!({"ingress": [
        {"hostname": "*", "service": "http_status:410"},
        {"hostname": "*.w.example.com", "service": "http://w"},
        {"service": "http_status:404"},
    ]});
    let outcome = merged(&[], &[], &observed, Contact::Confirmed);
    assert_eq!(lines(&outcome.config), ["*.w.example.com http://w", "* http_status:410"]);
}

#[test]
fn what_cannot_be_merged_is_an_error() {
    assert_eq!(merge(&[], &[], &json!([]), Contact::First), Err(MergeError::NotAnObject));
    assert_eq!(merge(&[], &[], &json!({"ingress": {}}), Contact::First), Err(MergeError::NotAList));
}

fn any_route() -> impl Strategy<Value = Service> {
    ("(\\*\\.)?([ab]\\.){1,2}io", "(/[xy]){0,2}", "http://[pq]")
        .prop_map(|(name, path, to)| service(&name, &path, &to))
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
            prop_assert_eq!(outcome.applied_after.contains(rule), !conflict);
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
