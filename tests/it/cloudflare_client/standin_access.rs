//! What the stand-in itself keeps of Access: what Cloudflare would refuse it refuses, and what breaks the contract it
//! reports.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Setup, app, policy};
use crate::support::cloudflare::{ACCOUNT, TOKEN};

/// Asks as any client might; returns status and envelope.
async fn ask(setup: &Setup, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/accounts/{ACCOUNT}/access/{path}", setup.standin.base_url());
    let mut request = http.request(method, url).bearer_auth(TOKEN);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn post(setup: &Setup, path: &str, body: Value) -> (u16, Value) {
    ask(setup, Method::POST, path, Some(body)).await
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

#[tokio::test]
async fn policies_with_rules_that_mean_nothing_are_refused() {
    let setup = Setup::start();
    let refused = [
        json!([]),
        json!([{ "everyone": {}, "email": { "email": "a@example.com" } }]),
        json!([{ "login_method": { "id": "nobody" } }]),
        json!([{ "service_token": { "token_id": "nobody" } }]),
        json!([{ "group": { "id": "nobody" } }]),
        json!([{ "ip": { "ip": "10.0.0.0/33" } }]),
        json!([{ "ip": { "ip": "here" } }]),
        json!([{ "geo": { "country_code": "germany" } }]),
        json!([{ "email": { "email": "nobody" } }]),
        json!([{ "email_domain": { "domain": "@example.com" } }]),
    ];
    for include in refused {
        let (status, answer) = post(&setup, "policies", with(policy("p"), "include", include.clone())).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (400, &json!(12130)), "{include}: {answer}");
    }
    let (provider, token) =
        (setup.standin.add_identity_provider("G", "google"), setup.standin.add_service_token("t"));
    let (_, group) = post(&setup, "groups", json!({ "name": "g", "include": [{ "everyone": {} }] })).await;
    for rule in [
        json!({ "login_method": { "id": provider } }),
        json!({ "service_token": { "token_id": token } }),
        json!({ "group": { "id": group["result"]["id"] } }),
        json!({ "ip": { "ip": "2001:db8::/32" } }),
        json!({ "geo": { "country_code": "DE" } }),
        json!({ "any_valid_service_token": {} }),
        json!({ "github-organization": { "name": "us", "identity_provider_id": provider } }),
    ] {
        let (status, answer) = post(&setup, "policies", with(policy("p"), "include", json!([rule]))).await;
        assert_eq!(status, 201, "{rule}: {answer}");
    }
}

#[tokio::test]
async fn service_tokens_tell_a_secret_once_and_stay_while_a_policy_names_them() {
    let setup = Setup::start();
    let (status, made) = post(&setup, "service_tokens", json!({ "name": "ci", "duration": "24h" })).await;
    let (id, first) = (made["result"]["id"].as_str().unwrap(), &made["result"]["client_secret"]);
    assert!(status == 201 && first.is_string(), "{made}");
    let (status, second) = post(&setup, "service_tokens", json!({ "name": "ci" })).await;
    assert_eq!(status, 201, "names may be there twice: {second}");
    let (_, listed) = ask(&setup, Method::GET, "service_tokens", None).await;
    assert_eq!(listed["result"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(first.as_str().unwrap()), "{listed}");
    let (status, rotated) = ask(&setup, Method::POST, &format!("service_tokens/{id}/rotate"), None).await;
    assert_eq!(status, 200, "{rotated}");
    assert_ne!(&rotated["result"]["client_secret"], first);
    let place = format!("service_tokens/{id}");
    let (status, put) = ask(&setup, Method::PUT, &place, Some(json!({ "name": "cd" }))).await;
    assert_eq!((status, &put["result"]["name"]), (200, &json!("cd")));
    let rule = json!([{ "service_token": { "token_id": id } }]);
    let policy = setup.standin.add_policy(with(policy("p"), "include", rule));
    let (status, refused) = ask(&setup, Method::DELETE, &place, None).await;
    assert_eq!((status, &refused["errors"][0]["code"]), (409, &json!(12132)), "{refused}");
    assert_eq!(ask(&setup, Method::DELETE, &format!("policies/{policy}"), None).await.0, 200);
    assert_eq!(ask(&setup, Method::DELETE, &place, None).await.0, 200);
    assert_eq!(ask(&setup, Method::DELETE, &place, None).await.0, 404);
    for body in [json!({ "name": " " }), json!({ "name": "x", "duration": "soon" })] {
        let (status, refused) = post(&setup, "service_tokens", body).await;
        assert_eq!(status, 400, "{refused}");
    }
}

#[tokio::test]
async fn applications_that_could_not_be_are_refused() {
    let setup = Setup::start();
    let first = setup.standin.add_policy(policy("first"));
    let second = setup.standin.add_policy(policy("second"));
    let base = || app("app.example.com", &[]);
    let twice = |id: &str, at: i64| json!({ "id": id, "precedence": at });
    for body in [
        app("app.example.com", &["nobody"]),
        with(base(), "policies", json!([twice(&first, 1), twice(&second, 1)])),
        with(base(), "policies", json!([twice(&first, 1), twice(&first, 2)])),
        with(base(), "policies", json!([twice(&first, 1), policy("own")])),
        app("app.elsewhere.net", &[]),
        app("notexample.com", &[]),
        app("app.example.com:8443", &[]),
        app("app.example.com/?a=b", &[]),
        app("a*b*.example.com", &[]),
        with(base(), "auto_redirect_to_identity", json!(true)),
        with(base(), "allowed_idps", json!(["nobody"])),
        with(base(), "session_duration", json!("a day")),
        with(base(), "destinations", json!([{ "type": "public", "uri": "other.example.com" }])),
    ] {
        let (status, answer) = post(&setup, "apps", body.clone()).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (400, &json!(12130)), "{body}: {answer}");
    }
    assert!(setup.standin.state().access.apps.is_empty());
}

#[tokio::test]
async fn a_domain_belongs_to_one_application() {
    let setup = Setup::start();
    let two = ["a.example.com", "b.example.com/x"].map(|uri| json!({ "type": "public", "uri": uri }));
    setup.standin.add_app(with(app("a.example.com", &[]), "destinations", json!(two)));

    for domain in ["a.example.com", "A.example.com", "b.example.com/x", "b.example.com/x/"] {
        let (status, answer) = post(&setup, "apps", app(domain, &[])).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (409, &json!(12132)), "{domain}: {answer}");
    }
    for domain in ["a.example.com/y", "b.example.com", "*.example.com"] {
        assert_eq!(post(&setup, "apps", app(domain, &[])).await.0, 201, "{domain}");
    }
    // Names are another matter: they may be there twice.
    let again = with(app("c.example.com", &[]), "name", json!("a.example.com"));
    assert_eq!(post(&setup, "apps", again).await.0, 201);
}

#[tokio::test]
async fn a_put_replaces_all_but_id_and_audience_and_answers_hold_defaults() {
    let setup = Setup::start();
    let (first, second) =
        (setup.standin.add_policy(policy("first")), setup.standin.add_policy(policy("second")));
    let body = with(app("app.example.com", &[&first]), "custom_deny_message", json!("no"));
    let (status, made) = post(&setup, "apps", body).await;
    assert_eq!((status, &made["result"]["session_duration"]), (201, &json!("24h")), "nobody sent it");
    let id = made["result"]["id"].as_str().unwrap().to_owned();

    // The order of the list is not the order of the policies.
    let links = json!([{ "id": first, "precedence": 7 }, { "id": second, "precedence": 3 }]);
    let body = with(with(app("app.example.com", &[]), "policies", links), "aud", json!("mine"));
    let (status, changed) = ask(&setup, Method::PUT, &format!("apps/{id}"), Some(body)).await;

    let changed = &changed["result"];
    assert_eq!((status, &changed["id"], &changed["aud"]), (200, &json!(id), &made["result"]["aud"]));
    assert_eq!(changed["custom_deny_message"], Value::Null, "what is not sent is gone");
    let names: Vec<_> =
        changed["policies"].as_array().unwrap().iter().map(|policy| &policy["name"]).collect();
    assert_eq!(names, ["second", "first"]);
    let (_, in_use) = ask(&setup, Method::GET, &format!("policies/{first}"), None).await;
    assert_eq!(in_use["result"]["app_count"], 1);
}

#[tokio::test]
async fn policies_of_one_application_live_and_go_with_it() {
    let setup = Setup::start();
    let id = setup.standin.add_app(app("app.example.com", &[]));
    let path = format!("apps/{id}/policies");

    let (status, made) = post(&setup, &path, policy("own")).await;
    assert_eq!(
        (status, &made["result"]["precedence"], &made["result"]["reusable"]),
        (201, &json!(1), &json!(false))
    );
    let own = format!("{path}/{}", made["result"]["id"].as_str().unwrap());
    let clash = with(policy("clash"), "precedence", json!(1));
    assert_eq!(post(&setup, &path, clash).await.0, 400);
    let (_, changed) =
        ask(&setup, Method::PUT, &own, Some(with(policy("mine"), "precedence", json!(4)))).await;
    assert_eq!((&changed["result"]["name"], &changed["result"]["precedence"]), (&json!("mine"), &json!(4)));
    let (_, listed) = ask(&setup, Method::GET, &path, None).await;
    assert_eq!(listed["result"], json!([ask(&setup, Method::GET, &own, None).await.1["result"]]));
    assert_eq!(setup.client.list_access_policies().await.unwrap(), [], "it is no reusable one");
    assert_eq!(ask(&setup, Method::DELETE, &own, None).await.0, 200);
    assert_eq!(ask(&setup, Method::DELETE, &own, None).await.0, 404);

    post(&setup, &path, policy("last")).await;
    setup.client.delete_access_app(&id.into()).await.unwrap();
    assert!(setup.standin.state().access.policies.is_empty());
}

#[tokio::test]
async fn reusable_policies_are_not_written_through_an_application() {
    let setup = Setup::start();
    let shared = setup.standin.add_policy(policy("shared"));
    let id = setup.standin.add_app(app("app.example.com", &[&shared]));

    let linked = format!("apps/{id}/policies/{shared}");
    assert_eq!(ask(&setup, Method::GET, &linked, None).await.1["result"]["name"], "shared");
    assert_eq!(ask(&setup, Method::PUT, &linked, Some(policy("mine"))).await.0, 400);
    assert_eq!(ask(&setup, Method::DELETE, &linked, None).await.0, 400);
    assert_eq!(post(&setup, &format!("apps/{id}/policies"), policy("own")).await.0, 400, "no mixture");
    let elsewhere = setup.standin.add_app(app("b.example.com", &[]));
    let not_linked = format!("apps/{elsewhere}/policies/{shared}");
    assert_eq!(ask(&setup, Method::GET, &not_linked, None).await.0, 404);

    // Unlinked first, it can go.
    assert_eq!(ask(&setup, Method::DELETE, &format!("policies/{shared}"), None).await.0, 409);
    ask(&setup, Method::PUT, &format!("apps/{id}"), Some(app("app.example.com", &[]))).await;
    assert_eq!(ask(&setup, Method::DELETE, &format!("policies/{shared}"), None).await.0, 200);
}

#[tokio::test]
async fn groups_are_kept_while_a_policy_names_them() {
    let setup = Setup::start();
    let group = json!({ "name": "team", "include": [{ "email_domain": { "domain": "example.com" } }] });
    let (status, made) = post(&setup, "groups", group.clone()).await;
    assert_eq!(status, 201);
    let id = made["result"]["id"].as_str().unwrap();
    let rule = json!([{ "group": { "id": id } }]);
    let (_, user) = post(&setup, "policies", with(policy("p"), "include", rule)).await;
    let path = format!("groups/{id}");

    assert_eq!(ask(&setup, Method::DELETE, &path, None).await.0, 409);
    let renamed = with(group, "name", json!("crew"));
    assert_eq!(ask(&setup, Method::PUT, &path, Some(renamed)).await.1["result"]["name"], "crew");
    assert_eq!(ask(&setup, Method::GET, "groups?name=team", None).await.1["result"], json!([]));
    assert_eq!(ask(&setup, Method::GET, "groups?name=crew", None).await.1["result"][0]["id"], id);
    let user = user["result"]["id"].as_str().unwrap();
    assert_eq!(ask(&setup, Method::DELETE, &format!("policies/{user}"), None).await.0, 200);
    assert_eq!(ask(&setup, Method::DELETE, &path, None).await.0, 200);
    assert_eq!(ask(&setup, Method::GET, &path, None).await.0, 404);
}

#[tokio::test]
async fn requests_outside_the_contract_are_reported() {
    let setup = Setup::start();
    let id = setup.standin.add_app(app("app.example.com", &[]));
    let own = format!("apps/{id}/policies");
    let bad = [
        (Method::POST, "policies", Some(with(policy("p"), "decision", json!("maybe")))),
        (Method::POST, "policies", Some(json!({ "name": "p", "decision": "allow" }))),
        (Method::POST, "apps", Some(json!({ "type": "self_hosted", "name": "x" }))),
        (Method::POST, "apps", Some(with(app("b.example.com", &[]), "type", json!("selfhosted")))),
        (Method::POST, own.as_str(), Some(json!({ "name": "p", "include": [] }))),
        (Method::POST, "groups", Some(json!({ "name": "g" }))),
        (Method::GET, "apps?names=x", None),
        (Method::POST, "service_tokens", Some(json!({ "duration": "24h" }))),
        (
            Method::POST,
            "identity_providers",
            Some(json!({ "name": "PIN", "type": "onetimepin", "config": {} })),
        ),
        (Method::DELETE, "policies/x", Some(json!({}))),
    ];
    for (method, path, body) in bad {
        let (status, answer) = ask(&setup, method, path, body).await;
        assert!((400..500).contains(&status), "{path}: {answer}");
        assert!(!setup.standin.take_violations().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn who_watches_sees_every_change_and_its_complaints_count() {
    let setup = Setup::start();
    let policy_id = setup.standin.add_policy(policy("people"));
    setup.standin.on_change(|state| match state.access.apps.is_empty() {
        true => Ok(()),
        false => Err("an application is there".into()),
    });

    setup.client.list_access_apps().await.unwrap();
    setup.client.create_access_policy(&policy("more")).await.unwrap();
    setup.client.create_access_app(&app("nobody.elsewhere.net", &[])).await.unwrap_err();
    setup.standin.assert_no_violations();

    setup.client.create_access_app(&app("app.example.com", &[&policy_id])).await.unwrap();
    let complaints = setup.standin.take_violations();
    assert!(complaints[0].ends_with("/access/apps: after this: an application is there"), "{complaints:?}");
}
