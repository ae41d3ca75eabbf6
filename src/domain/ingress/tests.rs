//! Tables of wanted rules and of the merge.

mod properties;

use serde_json::json;

use super::super::access::AccessAsk;
use super::super::route::{AccessCheck, RouteKey};
use super::*;

fn service(name: &str, path: &str, to: &str) -> Service {
    Service {
        key: RouteKey { hostname: name.into(), path: path.into() },
        service: to.into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        access: AccessAsk::Nothing,
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
fn times_are_written_as_whole_seconds_and_what_the_connector_checks_as_an_object() {
    let origin_request = OriginRequest {
        connect_timeout: Some(90),
        keep_alive_connections: Some(5),
        ca_pool: Some("/ca.pem".into()),
        access: Some(AccessCheck { required: true, team_name: "team".into(), aud_tag: vec!["aa".into()] }),
        ..OriginRequest::default()
    };
    let rule = IngressRule::new(&Service { origin_request, ..service("a.example.com", "", "https://app") });
    assert_eq!(
        rule.to_json()["originRequest"],
        json!({
            "connectTimeout": 90, "keepAliveConnections": 5, "caPool": "/ca.pem",
            "access": {"required": true, "teamName": "team", "audTag": ["aa"]}
        })
    );
}

#[test]
fn what_the_api_fills_in_for_options_is_no_difference() {
    let wanted = rules(&[("a.example.com", "", "https://a")]);
    let filled = json!({
        "connectTimeout": 0, "keepAliveConnections": 0, "noHappyEyeballs": false, "caPool": "", "proxyType": "",
        "access": {"required": false, "teamName": "", "audTag": []}
    });
    let rule = json!({"hostname": "a.example.com", "service": "https://a", "originRequest": filled});
    let observed = json!({"ingress": [rule, {"service": "http_status:404"}]});
    assert!(!merged(&wanted, &wanted, &observed, Contact::Written).changed);
}

#[test]
fn what_somebody_set_before_labels_could_is_his_and_stays() {
    let stored = json!({"hostname": "a.example.com", "service": "https://a"});
    let old: IngressRule = serde_json::from_value(stored).unwrap();
    let options = json!({"connectTimeout": 7, "noTLSVerify": true, "caPool": "/ca"});
    let rule = json!({"hostname": "a.example.com", "service": "https://a", "originRequest": options});
    let observed = json!({"ingress": [rule, {"service": "http_status:404"}]});
    let wanted = rules(&[("a.example.com", "", "https://a")]);
    assert_eq!(old.as_wanted(), wanted[0], "a new release alone is no change");

    let first = merged(&[old], &wanted, &observed, Contact::Written);
    let stays = json!({"connectTimeout": 7, "caPool": "/ca"});
    assert_eq!(first.config["ingress"][0]["originRequest"], stays, "what labels could set is undone as ever");
    assert!(!merged(&first.applied_after, &wanted, &first.config, Contact::Written).changed);

    // What is set in it from now on is undone.
    let mut edited = first.config.clone();
    edited["ingress"][0]["originRequest"]["tlsTimeout"] = 3.into();
    let again = merged(&first.applied_after, &wanted, &edited, Contact::Written);
    assert_eq!(again.config["ingress"][0]["originRequest"], stays);
}

#[test]
fn a_rule_of_ours_is_found_whatever_somebody_wrote_as_its_options() {
    for options in
        [json!({"connectTimeout": "30s"}), json!({"connectTimeout": 1.5}), json!("odd"), json!({"x": 1})]
    {
        let rule = json!({"hostname": "a.example.com", "service": "https://a", "originRequest": options});
        let id = RuleId { hostname: "a.example.com".into(), path: String::new() };
        let found = rule_there(&json!({"ingress": [rule]}), &id).unwrap();
        assert_eq!(found.service, "https://a", "{options}");
    }
}

#[test]
fn a_fresh_tunnel_gets_our_rules_and_a_catch_all() {
    let wanted = rules(&[("a.example.com", "/x", "http://a")]);
    let outcome = merged(&[], &wanted, &Value::Null, Contact::First);
    assert_eq!(lines(&outcome.config), ["a.example.com^/x(/|$) http://a", "http_status:404"]);
    assert!(outcome.changed && !outcome.waiting);
    assert_eq!(outcome.applied_before, [IngressRule { unseen: true, ..wanted[0].clone() }]);
    assert_eq!(outcome.applied_after, wanted);
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
    let kept = IngressRule { kept: vec!["caPool".into()], ..wanted[0].clone() };
    assert_eq!(outcome.applied_after, [kept, wanted[2].clone()]);
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
fn a_write_that_nobody_saw_makes_only_just_what_it_wrote_ours() {
    // given: a write of which nobody knows whether it arrived
    let wanted = wanted_rules(&[Service {
        origin_request: OriginRequest { no_tls_verify: Some(true), ..OriginRequest::default() },
        ..service("a.example.com", "/x", "https://a")
    }]);
    let sent = merged(&[], &wanted, &Value::Null, Contact::First);
    let there = |service: &str, options: Value| {
        let rule = json!({"hostname": "a.example.com", "path": "^/x(/|$)", "service": service, "originRequest": options});
        json!({"ingress": [rule, {"service": "http_status:404"}]})
    };
    for (service, options, is_ours) in [
        ("https://a", json!({"noTLSVerify": true}), true),
        ("https://a", json!({"noTLSVerify": true, "http2Origin": false, "httpHostHeader": ""}), true),
        ("https://theirs", json!({"noTLSVerify": true}), false),
        ("https://a", json!({}), false),
        ("https://a", json!({"noTLSVerify": true, "http2Origin": true}), false),
    ] {
        let observed = there(service, options);
        // when
        let first = merged(&sent.applied_before, &wanted, &observed, Contact::First);
        let wanted_no_more = merged(&sent.applied_before, &[], &observed, Contact::Written);
        // then
        assert_eq!(first.waiting, !is_ours, "{observed}");
        assert_eq!(wanted_no_more.changed, is_ours, "{observed}: what is not ours is not taken away");
        if is_ours {
            assert_eq!((first.changed, first.applied_after), (false, wanted.clone()));
        }
    }
    // Once it was seen, whatever somebody makes of it is ours.
    let edited = there("https://theirs", json!({}));
    assert!(merged(&sent.applied_after, &wanted, &edited, Contact::Written).changed);
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
