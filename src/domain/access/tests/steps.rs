//! Steps, by tables and on a model of an account that a step is carried out on.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::domain::id::{ApplicationId, PolicyId};

fn found_policy(id: &str, name: &str, body: Value) -> FoundPolicy {
    let mut all =
        json!({"id": id, "name": name, "reusable": true, "created_at": "t", "session_duration": null});
    all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    FoundPolicy { id: PolicyId::new(id), name: name.into(), body: all }
}

/// A policy as Cloudflare has it once it was sent.
fn kept(id: &str, wanted: &WantedPolicy) -> FoundPolicy {
    found_policy(id, &wanted.name, wanted.body.clone())
}

fn staff_policy() -> WantedPolicy {
    application(&key(""), &asks(&["staff"])).policies.remove(1)
}

fn row(wanted: &WantedPolicy, id: Option<&str>) -> OwnPolicy {
    OwnPolicy { key: wanted.key.clone(), id: id.map(PolicyId::new) }
}

#[test]
fn a_policy_is_made_kept_written_or_in_the_way() {
    let wanted = staff_policy();
    let right = kept("p1", &wanted);
    let wrong =
        found_policy("p1", &wanted.name, json!({"decision": "bypass", "include": [{"everyone": {}}]}));
    let renamed = found_policy(
        "p1",
        "theirs",
        wanted
            .body
            .as_object()
            .map(|b| {
                let mut b = b.clone();
                b.insert("name".into(), "theirs".into());
                Value::Object(b)
            })
            .unwrap(),
    );
    let other = found_policy("p9", "theirs", json!({"decision": "allow", "include": []}));
    let (mine, lost, old) = (row(&wanted, Some("p1")), row(&wanted, None), row(&wanted, Some("gone")));
    let of_another =
        OwnPolicy { key: PolicyKey::Group { group: GroupId::new("ci"), position: 0 }, ..mine.clone() };
    for (found, own, expected) in [
        (vec![], None, "create"),
        (vec![other.clone()], None, "create"),
        (vec![right.clone()], None, "blocked"),
        (vec![right.clone()], Some(&of_another), "blocked"),
        (vec![other.clone(), right.clone()], Some(&mine), "keep p1"),
        (vec![wrong.clone()], Some(&mine), "update p1"),
        (vec![renamed.clone()], Some(&mine), "update p1"),
        (vec![other.clone()], Some(&mine), "create"),
        // The answer to its making was lost, or it was made anew by hand under its name.
        (vec![right.clone()], Some(&lost), "keep p1"),
        (vec![wrong.clone()], Some(&lost), "update p1"),
        (vec![renamed], Some(&lost), "create"),
        (vec![right.clone()], Some(&old), "keep p1"),
        (vec![other.clone()], Some(&lost), "create"),
        // It was made twice: the right one counts.
        (vec![FoundPolicy { id: PolicyId::new("p0"), ..wrong }, right], Some(&lost), "keep p1"),
    ] {
        let step = policy_step(&wanted, &found, own);
        let said = match &step {
            PolicyStep::Keep { id } => format!("keep {id}"),
            PolicyStep::Create => "create".into(),
            PolicyStep::Update { id, .. } => format!("update {id}"),
            PolicyStep::Blocked { reason } if reason.contains("not known to be ours") => "blocked".into(),
            PolicyStep::Blocked { reason } => reason.clone(),
        };
        assert_eq!(said, expected, "{found:?} {own:?}");
    }
}

#[test]
fn ours_is_written_over_what_is_there_and_what_nobody_knows_stays() {
    let wanted = staff_policy();
    let there =
        json!({"decision": "allow", "include": [], "purpose_justification_required": true, "odd": {"k": 1}});
    let found = [found_policy("p1", &wanted.name, there)];
    let PolicyStep::Update { body, .. } = policy_step(&wanted, &found, Some(&row(&wanted, Some("p1"))))
    else {
        panic!("it differs")
    };
    let mut expected = wanted.body.clone();
    expected["purpose_justification_required"] = true.into();
    expected["odd"] = json!({"k": 1});
    assert_eq!(body, expected);
}

#[test]
fn what_cloudflare_makes_of_a_policy_is_no_difference() {
    let wanted = staff_policy();
    let mut body = wanted.body.clone();
    body["exclude"] = json!([{"geo": {"country_code": "DE", "added": null}}]);
    body["approval_required"] = false.into();
    body["session_duration"] = "24h".into();
    assert!(is_policy_as_wanted(&wanted, &kept("p", &WantedPolicy { body: body.clone(), ..wanted.clone() })));
    for (field, other) in [
        ("decision", json!("bypass")),
        ("include", json!([email("a@example.com"), {"everyone": {}}])),
        ("require", json!([])),
        ("require", Value::Null),
        ("exclude", json!([])),
    ] {
        let mut changed = body.clone();
        changed[field] = other;
        let found = kept("p", &WantedPolicy { body: changed, ..wanted.clone() });
        assert!(!is_policy_as_wanted(&wanted, &found), "{field}");
    }
}

fn found_app(id: &str, raw: Value) -> FoundApplication {
    let raw: Map<String, Value> = raw.as_object().unwrap().clone();
    let domain = raw.get("domain").and_then(Value::as_str).unwrap_or_default().to_owned();
    FoundApplication { id: ApplicationId::new(id), aud: Some(format!("aud of {id}")), domain, raw }
}

/// What Cloudflare answers about an application that was sent so: with its own words, and with defaults that nobody sent.
fn answered(id: &str, body: &Value) -> FoundApplication {
    let mut raw = json!({
        "id": id, "uid": id, "aud": format!("aud of {id}"), "created_at": "t", "enable_binding_cookie": false,
        "http_only_cookie_attribute": true, "custom_deny_url": null, "tags": [],
        "self_hosted_domains": [body["domain"]],
    });
    raw.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    found_app(id, raw)
}

fn ids(wanted: &WantedApplication) -> Vec<PolicyId> {
    (0..wanted.policies.len()).map(|i| PolicyId::new(format!("p{i}"))).collect()
}

fn ours() -> BTreeSet<PolicyId> {
    (0..9).map(|i| PolicyId::new(format!("p{i}"))).collect()
}

fn step(
    wanted: &WantedApplication,
    found: &[FoundApplication],
    own: Option<&OwnApplication>,
) -> ApplicationStep {
    application_step(wanted, &ids(wanted), &ours(), found, own)
}

fn told(step: &ApplicationStep) -> String {
    match step {
        ApplicationStep::Keep { id, aud } => format!("keep {id} {}", aud.as_deref().unwrap_or("?")),
        ApplicationStep::Create { .. } => "create".into(),
        ApplicationStep::Update { id, .. } => format!("update {id}"),
        ApplicationStep::Blocked { reason } => format!("blocked: {reason}"),
    }
}

/// What would be sent to make it.
fn body(wanted: &WantedApplication) -> Value {
    match step(wanted, &[], None) {
        ApplicationStep::Create { body } => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_application_is_made_with_all_that_is_ours() {
    let wanted = application(&key("/api"), &asks(&["staff"]));
    assert_eq!(
        body(&wanted),
        json!({
            "type": "self_hosted", "name": "DockFlare-app.example.com-api", "domain": "app.example.com/api",
            "session_duration": "30m", "app_launcher_visible": false, "allowed_idps": ["idp-1"],
            "auto_redirect_to_identity": true,
            "policies": [{"id": "p0", "precedence": 1}, {"id": "p1", "precedence": 2}],
        })
    );
}

#[test]
fn an_application_is_kept_written_made_anew_or_in_the_way() {
    let wanted = application(&key(""), &asks(&["staff"]));
    let sent = body(&wanted);
    let with = |field: &str, value: Value| {
        let mut changed = sent.clone();
        changed[field] = value;
        changed
    };
    let right = answered("a1", &sent);
    let mine = OwnApplication { id: Some(ApplicationId::new("a1")) };
    let (lost, old) = (OwnApplication { id: None }, OwnApplication { id: Some(ApplicationId::new("gone")) });
    let theirs = found_app(
        "a9",
        json!({"type": "self_hosted", "name": "Theirs", "domain": "App.example.com/", "policies": ["x"]}),
    );
    let elsewhere =
        found_app("a8", json!({"type": "self_hosted", "name": "Else", "domain": "app.example.com/deeper"}));
    let by_list = found_app(
        "a7",
        json!({"type": "self_hosted", "name": "List", "domain": "b.io", "self_hosted_domains": ["b.io", "app.example.com"]}),
    );
    let by_place = found_app(
        "a6",
        json!({"type": "self_hosted", "name": "Place", "destinations": [{"type": "public", "uri": "app.example.com/*"}]}),
    );
    let link = found_app("a5", json!({"type": "bookmark", "name": "Link", "domain": "app.example.com"}));
    let not_ours = answered("a1", &with("policies", json!([{"id": "x", "precedence": 1}])));
    for (found, own, expected) in [
        (vec![], None, "create"),
        (vec![elsewhere.clone(), link], None, "create"),
        (vec![right.clone()], None, "blocked"),
        (vec![theirs.clone()], None, "blocked: application `Theirs` (a9) that is not ours"),
        (vec![by_list], None, "blocked: application `List`"),
        (vec![by_place], None, "blocked: application `Place`"),
        (vec![elsewhere, right.clone()], Some(&mine), "keep a1 aud of a1"),
        (vec![right.clone(), theirs.clone()], Some(&mine), "blocked: application `Theirs`"),
        (vec![], Some(&mine), "create"),
        (vec![theirs], Some(&mine), "blocked"),
        // The answer to its making was lost, or it was made anew by us under its name.
        (vec![right.clone()], Some(&lost), "keep a1"),
        (vec![right.clone()], Some(&old), "keep a1"),
        (vec![not_ours.clone()], Some(&lost), "blocked"),
        (vec![answered("a1", &with("name", json!("Other")))], Some(&lost), "blocked"),
        // Whatever somebody made of it.
        (vec![not_ours], Some(&mine), "update a1"),
        (vec![answered("a1", &with("name", json!("Other")))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("type", json!("ssh")))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("domain", json!("b.io")))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("domain", json!("app.example.com/*")))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("self_hosted_domains", json!(["b.io"])))], Some(&mine), "update a1"),
        (
            vec![answered("a1", &with("destinations", json!([{"type": "public", "uri": "b.io"}])))],
            Some(&mine),
            "update a1",
        ),
        (vec![answered("a1", &with("session_duration", json!("720h")))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("app_launcher_visible", json!(true)))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("auto_redirect_to_identity", json!(false)))], Some(&mine), "update a1"),
        (vec![answered("a1", &with("allowed_idps", json!([])))], Some(&mine), "update a1"),
        (
            vec![answered(
                "a1",
                &with("policies", json!([{"id": "p1", "precedence": 1}, {"id": "p0", "precedence": 2}])),
            )],
            Some(&mine),
            "update a1",
        ),
        (
            vec![answered(
                "a1",
                &with(
                    "policies",
                    json!([{"id": "x", "precedence": 0}, {"id": "p0", "precedence": 1}, {"id": "p1", "precedence": 2}]),
                ),
            )],
            Some(&mine),
            "update a1",
        ),
        // Another spelling of the same.
        (vec![answered("a1", &with("session_duration", json!("0h30m0s")))], Some(&mine), "keep a1"),
        (vec![answered("a1", &with("domain", json!("APP.example.com/")))], Some(&mine), "keep a1"),
        (
            vec![answered(
                "a1",
                &with(
                    "policies",
                    json!([{"id": "p1", "precedence": 5, "name": "n"}, {"id": "p0", "precedence": 2}]),
                ),
            )],
            Some(&mine),
            "keep a1",
        ),
        (
            vec![answered(
                "a1",
                &with("destinations", json!([{"type": "public", "uri": "app.example.com"}])),
            )],
            Some(&mine),
            "keep a1",
        ),
    ] {
        let said = told(&step(&wanted, &found, own));
        assert!(said.starts_with(expected), "{said}, not {expected}: {found:?}");
    }
}

#[test]
fn without_all_its_policies_an_application_waits() {
    let wanted = application(&key(""), &asks(&["staff"]));
    for some in [&[][..], &[PolicyId::new("p0")]] {
        let step = application_step(&wanted, some, &ours(), &[], None);
        assert!(told(&step).contains("waits for the others"), "{step:?}");
    }
}

#[test]
fn what_others_added_to_an_application_of_ours_stays() {
    let wanted = application(&key(""), &asks(&["ci"]));
    let mine = OwnApplication { id: Some(ApplicationId::new("a1")) };
    let foreign = json!({
        "type": "self_hosted", "name": "Other", "domain": "b.io", "cors_headers": {"allow_all_origins": true},
        "nobody_knows": [1, {"deep": "x"}], "id": "a1", "aud": "x", "logo_url": null,
        "destinations": [{"type": "public", "uri": "b.io"}], "self_hosted_domains": ["b.io"],
    });
    let ApplicationStep::Update { body, .. } =
        step(&wanted, &[found_app("a1", foreign.clone())], Some(&mine))
    else {
        panic!("it differs")
    };
    assert_eq!(
        (&body["cors_headers"], &body["nobody_knows"]),
        (&foreign["cors_headers"], &foreign["nobody_knows"])
    );
    assert_eq!(
        body["destinations"],
        json!([{"type": "public", "uri": "app.example.com"}, {"type": "public", "uri": "b.io"}])
    );
    for gone in ["id", "aud", "logo_url", "self_hosted_domains"] {
        assert_eq!(body.get(gone), None, "{gone}");
    }
    let listed = json!({"type": "self_hosted", "name": "Other", "domain": "b.io", "self_hosted_domains": ["b.io"], "destinations": []});
    let ApplicationStep::Update { body, .. } = step(&wanted, &[found_app("a1", listed)], Some(&mine)) else {
        panic!("it differs")
    };
    assert_eq!(
        (&body["self_hosted_domains"], body.get("destinations")),
        (&json!(["app.example.com", "b.io"]), None)
    );
}

#[test]
fn a_route_of_a_zone_is_covered_by_the_application_of_the_zone_alone() {
    let zone =
        |domain: &str| found_app("z", json!({"type": "self_hosted", "name": "Zone", "domain": domain}));
    let route = |hostname: &str| RouteKey { hostname: hostname.into(), path: String::new() };
    let (all, part) = (zone("*.example.com"), zone("*.example.com/api"));
    for (hostname, found, words) in [
        ("app.example.com", vec![all.clone()], None),
        ("app.example.com", vec![part.clone(), all.clone()], None),
        ("*.example.com", vec![all.clone()], None),
        ("deep.app.example.com", vec![all.clone()], Some("does not cover `deep.app.example.com`")),
        ("app.example.com", vec![part], Some("there is none; make it")),
        ("app.example.com", vec![zone("*.app.example.com")], Some("there is none")),
        (
            "app.example.com",
            vec![found_app("z", json!({"type": "bookmark", "domain": "*.example.com"}))],
            Some("there is none"),
        ),
        ("example.com", vec![all.clone()], Some("does not cover `example.com`")),
        ("app.example.net", vec![all], Some("does not cover")),
    ] {
        let said = zone_application(&route(hostname), "example.com", &found);
        match words {
            None => assert_eq!(said.unwrap().id, ApplicationId::new("z")),
            Some(words) => assert!(said.unwrap_err().contains(words), "{hostname}"),
        }
    }
}

/// An account that carries steps out as Cloudflare does: PUT replaces, ids are given, defaults are filled in.
#[derive(Debug, Clone, Default)]
struct Model {
    policies: Vec<FoundPolicy>,
    apps: Vec<FoundApplication>,
    made: usize,
}

impl Model {
    fn id(&mut self) -> String {
        self.made += 1;
        format!("made-{}", self.made)
    }

    fn policy(&mut self, wanted: &WantedPolicy, step: PolicyStep) -> Option<PolicyId> {
        let (id, body) = match step {
            PolicyStep::Keep { id } => return Some(id),
            PolicyStep::Blocked { .. } => return None,
            PolicyStep::Create => (PolicyId::new(self.id()), wanted.body.clone()),
            PolicyStep::Update { id, body } => (id, body),
        };
        let name = body["name"].as_str().unwrap().to_owned();
        let there = FoundPolicy { id: id.clone(), ..found_policy(id.as_str(), &name, body) };
        match self.policies.iter_mut().find(|policy| policy.id == id) {
            Some(policy) => *policy = there,
            None => self.policies.push(there),
        }
        Some(id)
    }

    fn app(&mut self, step: ApplicationStep) -> Option<ApplicationId> {
        let (id, body) = match step {
            ApplicationStep::Keep { id, .. } => return Some(id),
            ApplicationStep::Blocked { .. } => return None,
            ApplicationStep::Create { body } => (ApplicationId::new(self.id()), body),
            ApplicationStep::Update { id, body } => (id, body),
        };
        let there = answered(id.as_str(), &body);
        match self.apps.iter_mut().find(|app| app.id == id) {
            Some(app) => *app = there,
            None => self.apps.push(there),
        }
        Some(id)
    }
}

fn any_selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ab]@[xy]\\.io".prop_map(|address| email(&address)),
        "[xy]\\.io".prop_map(|domain| json!({"email_domain": {"domain": domain}})),
        "10\\.[0-9]\\.0\\.0/16".prop_map(|ip| json!({"ip": {"ip": ip}})),
        "(DE|fr)".prop_map(|code| json!({"geo": {"country_code": code}})),
        Just(json!({"everyone": {}})),
        Just(json!({"any_valid_service_token": {}})),
        Just(json!({"login_method": {"id": "Google"}})),
        "[a-c]{3}".prop_map(|name| json!({"made_tomorrow": {"name": name, "more": [1, true]}})),
    ]
}

fn any_rules() -> impl Strategy<Value = Vec<PolicySpec>> {
    let list = |least| proptest::collection::vec(any_selector(), least..4);
    let decision = proptest::sample::select(vec!["allow", "deny", "block", "non_identity", "bypass"]);
    let policy = (decision, list(1), list(0), list(0)).prop_map(|(decision, include, require, exclude)| {
        json!({"decision": decision, "include": include, "require": require, "exclude": exclude})
    });
    proptest::collection::vec(policy, 1..4).prop_map(|rules| policies(Value::Array(rules)))
}

/// Applications and policies of others, or ones that somebody changed by hand.
fn any_app(name: &'static str) -> impl Strategy<Value = Value> {
    let domain =
        proptest::sample::select(vec!["app.example.com", "app.example.com/api", "b.io", "*.example.com"]);
    let links = proptest::collection::vec(proptest::sample::select(vec!["p0", "x", "y"]), 0..3);
    (domain, links, any::<bool>(), "[a-z]{1,5}").prop_map(move |(domain, links, flag, extra)| {
        let links: Vec<Value> = links.into_iter().map(|id| json!({"id": id, "precedence": 1})).collect();
        json!({
            "type": "self_hosted", "name": name, "domain": domain, "policies": links, "session_duration": "1h",
            "app_launcher_visible": flag, "x_foreign": {"k": extra}, "self_hosted_domains": [domain],
        })
    })
}

proptest! {
    #[test]
    fn after_a_step_the_next_one_is_to_keep_and_what_is_foreign_is_as_it_was(
        rules in any_rules(),
        path in proptest::sample::select(vec!["", "/api"]),
        foreign_apps in proptest::collection::vec(any_app("Theirs"), 0..3),
        of_ours in proptest::option::of(any_app("DockFlare-app.example.com")),
        foreign_policy in any_selector(),
        has_row in any::<bool>(),
    ) {
        // given: an account with things of others, and maybe an application of ours that somebody changed
        let wanted = application(&key(path), &AccessAsk::Own { options: AppOptions::default(), policies: rules });
        let mut model = Model::default();
        model.policies.push(found_policy("theirs", "Theirs", json!({"decision": "allow", "include": [foreign_policy]})));
        model.apps.extend(foreign_apps.iter().enumerate().map(|(i, raw)| found_app(&format!("theirs-{i}"), raw.clone())));
        let own = of_ours.as_ref().map(|raw| {
            model.apps.push(found_app("ours", raw.clone()));
            OwnApplication { id: has_row.then(|| ApplicationId::new("ours")) }
        });
        let before = model.clone();

        // when: every step is carried out
        let mut ids = Vec::new();
        for policy in &wanted.policies {
            let lost = row(policy, None);
            let step = policy_step(policy, &model.policies, Some(&lost));
            let id = model.policy(policy, step).unwrap();
            // then: the next one keeps it, by its id and, should the answer be lost, by its name
            for own in [row(policy, Some(id.as_str())), lost] {
                prop_assert_eq!(policy_step(policy, &model.policies, Some(&own)), PolicyStep::Keep { id: id.clone() });
            }
            ids.push(id);
        }
        let ours: BTreeSet<PolicyId> = ids.iter().cloned().collect();
        let own = own.unwrap_or_default();
        let first = application_step(&wanted, &ids, &ours, &model.apps, Some(&own));
        let made = model.app(first.clone());

        // then: it is kept from now on, or somebody else's stands in the way and says so
        match made {
            Some(id) => {
                for own in [OwnApplication { id: Some(id.clone()) }, OwnApplication { id: None }] {
                    let next = application_step(&wanted, &ids, &ours, &model.apps, Some(&own));
                    prop_assert!(matches!(&next, ApplicationStep::Keep { id: kept, .. } if *kept == id), "{:?}", next);
                }
                let app = model.apps.iter().find(|app| app.id == id).unwrap();
                prop_assert!(is_as_wanted(&wanted, &ids, app));
                if let (Some(there), true) = (&of_ours, id.as_str() == "ours") {
                    prop_assert_eq!(&app.raw["x_foreign"], &there["x_foreign"]);
                }
            }
            None => {
                let in_the_way = model.apps.iter().any(|app| app.domain == wanted.domain);
                prop_assert!(in_the_way, "{:?}", first);
            }
        }
        let is_foreign = |id: &str| id.starts_with("theirs");
        let apps = |model: &Model| model.apps.iter().filter(|a| is_foreign(a.id.as_str())).cloned().collect::<Vec<_>>();
        prop_assert_eq!(apps(&model), apps(&before));
        prop_assert_eq!(&model.policies[0], &before.policies[0]);
    }
}
