//! What a route needs, and what is to be done about what was found.

mod steps;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::domain::id::{GroupId, IdentityProviderId, ServiceTokenId};
use crate::domain::route::RouteKey;

const MARK: &str = "a1b2c3d4";

fn key(path: &str) -> RouteKey {
    RouteKey { hostname: "app.example.com".into(), path: path.into() }
}

fn idps() -> Vec<IdentityProvider> {
    let idp = |id: &str, name: &str, kind: &str| IdentityProvider {
        id: IdentityProviderId::new(id),
        name: name.into(),
        kind: kind.into(),
    };
    vec![idp("idp-1", "Google", "google"), idp("idp-2", "Code by mail", "onetimepin")]
}

fn tokens() -> Vec<ServiceToken> {
    vec![ServiceToken {
        id: ServiceTokenId::new("token-1"),
        name: "ci".into(),
        client_id: String::new(),
        duration: None,
        expires_at: None,
        last_seen_at: None,
    }]
}

fn policies(value: Value) -> Vec<PolicySpec> {
    parse_rules(&value.to_string()).unwrap()
}

fn allow(include: Value) -> Value {
    json!({"decision": "allow", "include": [include]})
}

fn email(address: &str) -> Value {
    json!({"email": {"email": address}})
}

/// Two groups: one of two policies, and one whose applications behave in another way.
fn groups() -> BTreeMap<GroupId, Group> {
    let group = |id: &str, options: AppOptions, rules: Value| Group {
        id: GroupId::new(id),
        name: id.to_uppercase(),
        options,
        policies: policies(rules),
    };
    let short = AppOptions {
        session_duration: "30m".into(),
        allowed_idps: vec!["google".into()],
        auto_redirect_to_identity: true,
        ..AppOptions::default()
    };
    let staff = json!([
        {"decision": "bypass", "include": [{"ip": {"ip": "10.0.0.0/8"}}]},
        {"decision": "allow", "include": [email("a@example.com")], "require": [{"login_method": {"id": "Google"}}], "exclude": [{"geo": {"country_code": "de"}}]},
    ]);
    let ci = json!([{"decision": "non_identity", "include": [{"service_token": {"token_id": "CI"}}]}]);
    [group("staff", short, staff), group("ci", AppOptions::default(), ci)]
        .into_iter()
        .map(|group| (group.id.clone(), group))
        .collect()
}

fn asks(names: &[&str]) -> AccessAsk {
    AccessAsk::Groups { groups: names.iter().map(|name| GroupId::new(*name)).collect() }
}

fn needed(route: &RouteKey, ask: &AccessAsk) -> Result<Need, String> {
    let (idps, tokens, owner) = (idps(), tokens(), Owner::Known("owner@example.com".into()));
    let account = Account { idps: Some(&idps), tokens: Some(&tokens), owner: Some(&owner) };
    need(route, ask, &groups(), &account, MARK)
}

fn application(route: &RouteKey, ask: &AccessAsk) -> WantedApplication {
    match needed(route, ask) {
        Ok(Need::Application(wanted)) => wanted,
        other => panic!("no application: {other:?}"),
    }
}

#[test]
fn what_asks_for_nothing_needs_nothing_and_the_zone_is_asked_for_by_name() {
    for (ask, expected) in [
        (AccessAsk::Nothing, Need::Nothing),
        (AccessAsk::Public, Need::Nothing),
        (AccessAsk::Inherit, Need::Zone),
    ] {
        assert_eq!(needed(&key("/x y"), &ask), Ok(expected));
    }
}

#[test]
fn all_policies_of_all_groups_come_in_their_order_and_the_first_group_says_how_it_behaves() {
    let wanted = application(&key("/api/v1"), &asks(&["staff", "ci", "staff"]));

    assert_eq!(
        (wanted.domain.as_str(), wanted.name.as_str()),
        ("app.example.com/api/v1", "DockFlare-app.example.com-api-v1")
    );
    let options = AppOptions {
        session_duration: "30m".into(),
        allowed_idps: vec!["idp-1".into()],
        auto_redirect_to_identity: true,
        ..AppOptions::default()
    };
    assert_eq!(wanted.options, options);
    let names: Vec<&str> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Lightship-AccessGroup-staff (a1b2c3d4)",
            "Lightship-AccessGroup-staff #2 (a1b2c3d4)",
            "Lightship-AccessGroup-ci (a1b2c3d4)"
        ]
    );
    assert_eq!(
        wanted.policies[1].body,
        json!({
            "name": "Lightship-AccessGroup-staff #2 (a1b2c3d4)", "decision": "allow",
            "include": [email("a@example.com")],
            "require": [{"login_method": {"id": "idp-1"}}],
            "exclude": [{"geo": {"country_code": "DE"}}],
        })
    );
    assert_eq!(wanted.policies[2].body["include"], json!([{"service_token": {"token_id": "token-1"}}]));
    assert_eq!(wanted.policies.iter().map(|p| p.is_bypass).collect::<Vec<_>>(), [true, false, false]);
    assert!(wanted.has_bypass());
    assert!(!application(&key(""), &asks(&["ci"])).has_bypass());
}

#[test]
fn the_groups_that_are_always_there_are_those_of_dockflare() {
    let public = application(&key(""), &asks(&[PUBLIC_BYPASS]));
    assert_eq!(public.name, "DockFlare-app.example.com");
    assert!(public.has_bypass());
    assert_eq!(public.policies[0].body["include"], json!([{"everyone": {}}]));

    let owner = application(&key(""), &asks(&[AUTHENTICATED]));
    assert_eq!(owner.policies[0].body["include"], json!([{"login_method": {"id": "idp-2"}}]));
    assert_eq!(owner.policies[0].body["require"], json!([email("owner@example.com")]));
}

#[test]
fn rules_of_its_own_are_named_by_what_they_stand_before() {
    let options = AppOptions { name: Some("Shop".into()), ..AppOptions::default() };
    let rules =
        policies(json!([allow(email("a@example.com")), {"decision": "deny", "include": [{"everyone": {}}]}]));
    let wanted = application(&key("/shop"), &AccessAsk::Own { options, policies: rules });

    assert_eq!((wanted.name.as_str(), wanted.options.name.as_deref()), ("Shop", None));
    let names: Vec<&str> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(
        names,
        ["Lightship-app.example.com/shop #1 (a1b2c3d4)", "Lightship-app.example.com/shop #2 (a1b2c3d4)"]
    );
    assert_eq!(wanted.policies[1].key, PolicyKey::Own { domain: wanted.domain, position: 1 });
}

#[test]
fn what_cannot_be_had_waits_and_says_why() {
    let own = |options: AppOptions, rules: Value| AccessAsk::Own { options, policies: policies(rules) };
    let plain = AppOptions::default;
    let okta = json!({"login_method": {"id": "Okta"}});
    for (path, ask, words) in [
        ("", asks(&["staff", "ghosts"]), "group `ghosts` is not known; make it"),
        ("", asks(&[]), "no group is named"),
        ("/a b", asks(&["ci"]), "cannot be told to Access exactly"),
        ("/ü", asks(&["ci"]), "cannot be told to Access exactly"),
        (
            "",
            AccessAsk::Unreadable { reasons: vec!["`x`: odd".into(), "`y`: odder".into()] },
            "`x`: odd; `y`: odder",
        ),
        ("", AccessAsk::of_old_record(true), "an older release"),
        (
            "",
            own(plain(), json!([allow(okta.clone())])),
            "policy 1 of `app.example.com`: the account has no `Okta`",
        ),
        ("", own(plain(), json!([allow(json!({"service_token": {"token_id": "cd"}}))])), "no `cd`"),
        (
            "",
            own(AppOptions { allowed_idps: vec!["Okta".into()], ..plain() }, json!([allow(email("a@x.io"))])),
            "`allowed_idps`: the account has no `Okta`",
        ),
        (
            "",
            own(AppOptions { auto_redirect_to_identity: true, ..plain() }, json!([allow(email("a@x.io"))])),
            "exactly one identity provider",
        ),
        ("", AccessAsk::Own { options: plain(), policies: Vec::new() }, "nobody could come in"),
    ] {
        let said = needed(&key(path), &ask).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_group_that_is_wrong_is_not_used() {
    let mut groups = groups();
    groups.get_mut(&GroupId::new("ci")).unwrap().policies[0].include.clear();
    let said = need(&key(""), &asks(&["ci"]), &groups, &Account::default(), MARK).unwrap_err();
    assert!(said.contains("group `ci` cannot be used") && said.contains("about nobody"), "{said}");
}

#[test]
fn without_a_right_it_waits_and_names_it_and_whoever_needs_it_not_goes_on() {
    let groups = groups();
    let without = |ask: &AccessAsk| need(&key(""), ask, &groups, &Account::default(), MARK);
    for (ask, right) in [
        (asks(&["staff"]), IDENTITY_RIGHT),
        (asks(&[AUTHENTICATED]), IDENTITY_RIGHT),
        (asks(&["ci"]), TOKENS_RIGHT),
    ] {
        assert!(without(&ask).unwrap_err().contains(right), "{ask:?}");
    }
    let idps = idps();
    let no_owner = Account { idps: Some(&idps), ..Account::default() };
    let said = need(&key(""), &asks(&[AUTHENTICATED]), &groups, &no_owner, MARK).unwrap_err();
    assert!(said.contains("was not read yet"), "{said}");
    let unreadable = Account { owner: Some(&Owner::Unreadable), ..no_owner };
    let said = need(&key(""), &asks(&[AUTHENTICATED]), &groups, &unreadable, MARK).unwrap_err();
    assert!(said.contains(MEMBERS_RIGHT), "{said}");
    assert!(matches!(without(&asks(&[PUBLIC_BYPASS])), Ok(Need::Application(_))));
}

#[test]
fn no_two_policies_have_one_name() {
    let group = |id: &str, position| PolicyKey::Group { group: GroupId::new(id), position };
    let own = |domain: &str, position| PolicyKey::Own { domain: domain.into(), position };
    let keys = [
        group("a", 0),
        group("a", 1),
        group("a-2", 0),
        group("a-2", 1),
        own("a.io", 0),
        own("a.io", 10),
        own("a.io/1", 0),
        own("a.io-1", 0),
    ];
    let names: std::collections::BTreeSet<String> =
        keys.iter().map(|key| key.name_at_cloudflare(MARK)).collect();
    assert_eq!(names.len(), keys.len(), "{names:?}");
    assert!(names.iter().all(|name| name.ends_with("(a1b2c3d4)")));
}
