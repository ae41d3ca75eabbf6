//! Calls about Access: applications, reusable policies, and what they refer to.

use std::time::Duration;

use lightship::cloudflare::CfError;
use lightship::domain::id::{ApplicationId, PolicyId};
use serde_json::{Value, json};

use super::{Setup, app, policy};
use crate::support::cloudflare::{Fault, Op, Trouble};

#[tokio::test]
async fn applications_are_made_found_replaced_and_deleted() {
    let setup = Setup::start();
    let policy = setup.standin.add_policy(policy("people"));

    let made = setup.client.create_access_app(&app("app.example.com", &[&policy])).await.unwrap();
    assert!(made.aud.as_ref().is_some_and(|aud| aud.len() == 64), "{made:?}");
    assert_eq!(setup.client.read_access_app(&made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(setup.client.list_access_apps().await.unwrap(), std::slice::from_ref(&made));
    assert_eq!(made.raw["policies"][0]["precedence"], 1);

    let moved = setup.client.put_access_app(&made.id, &app("other.example.com/x", &[&policy])).await.unwrap();
    assert_eq!((&moved.id, &moved.aud), (&made.id, &made.aud));
    assert_eq!(moved.raw["destinations"], json!([{ "type": "public", "uri": "other.example.com/x" }]));

    setup.client.delete_access_app(&made.id).await.unwrap();
    setup.client.delete_access_app(&made.id).await.expect("gone already is no error");
    assert_eq!(setup.client.read_access_app(&made.id).await.unwrap(), None);
}

#[tokio::test]
async fn applications_are_found_by_their_first_domain_or_a_part_of_it() {
    let setup = Setup::start();
    for domain in ["app.example.com", "my-app.example.com", "app.example.com/x", "else.example.com"] {
        setup.standin.add_app(app(domain, &[]));
    }
    let second = ["first.example.com", "app.example.com/second"];
    let destinations = second.map(|uri| json!({ "type": "public", "uri": uri }));
    let mut body = app(second[0], &[]);
    body["destinations"] = json!(destinations);
    setup.standin.add_app(body);

    let found = setup.client.find_access_apps("app.example.com").await.unwrap();

    let domains: Vec<_> = found.iter().map(|app| app.raw["domain"].as_str().unwrap()).collect();
    assert_eq!(domains, ["app.example.com", "my-app.example.com", "app.example.com/x"]);
    assert_eq!(setup.client.list_access_apps().await.unwrap().len(), 5, "a list has them all");
}

#[tokio::test]
async fn policies_are_made_found_by_their_exact_name_replaced_and_deleted() {
    let setup = Setup::start();
    setup.standin.add_policy(policy("people-2"));

    let made = setup.client.create_access_policy(&policy("people")).await.unwrap();
    assert_eq!(setup.client.find_access_policies("people").await.unwrap(), std::slice::from_ref(&made));
    assert_eq!(setup.client.read_access_policy(&made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(made.raw["reusable"], true);

    let mut body = policy("people");
    body["decision"] = json!("bypass");
    let changed = setup.client.put_access_policy(&made.id, &body).await.unwrap();
    assert_eq!((changed.id, &changed.raw["decision"]), (made.id.clone(), &json!("bypass")));

    setup.client.delete_access_policy(&made.id).await.unwrap();
    setup.client.delete_access_policy(&made.id).await.expect("gone already is no error");
    assert_eq!(setup.client.read_access_policy(&made.id).await.unwrap(), None);
    assert_eq!(setup.client.list_access_policies().await.unwrap().len(), 1);
}

#[tokio::test]
async fn ways_to_sign_in_and_service_tokens_are_listed() {
    let setup = Setup::start();
    let pin = setup.standin.add_identity_provider("", "onetimepin");
    let google = setup.standin.add_identity_provider("Our Google", "google");
    let token = setup.standin.add_service_token("backup");

    let providers = setup.client.list_identity_providers().await.unwrap();
    let providers: Vec<_> =
        providers.iter().map(|one| (one.id.as_str(), one.name.as_str(), one.kind.as_str())).collect();
    assert_eq!(providers, [(pin.as_str(), "", "onetimepin"), (google.as_str(), "Our Google", "google")]);
    let tokens = setup.client.list_service_tokens().await.unwrap();
    assert_eq!((tokens[0].id.as_str(), tokens[0].name.as_str(), tokens.len()), (token.as_str(), "backup", 1));
}

#[tokio::test]
async fn all_pages_are_read_whatever_the_total_says() {
    let setup = Setup::start();
    for n in 0..230 {
        setup.standin.add_app(app(&format!("app-{n}.example.com"), &[]));
        setup.standin.add_policy(policy(&format!("policy-{n}")));
        setup.standin.add_identity_provider(&format!("idp-{n}"), "google");
        setup.standin.add_service_token(&format!("token-{n}"));
    }

    for total in [None, Some(1), Some(100_000)] {
        for op in [Op::ListApps, Op::ListPolicies, Op::ListIdentityProviders, Op::ListServiceTokens] {
            if let Some(total) = total {
                setup.standin.inject(Fault::on(op, Trouble::WrongTotal(total)).times(3));
            }
        }
        let client = &setup.client;
        let last_app = client.list_access_apps().await.unwrap().pop().unwrap();
        assert_eq!(last_app.raw["name"], "app-229.example.com");
        assert_eq!(client.list_access_policies().await.unwrap()[229].name, "policy-229");
        assert_eq!(client.find_access_policies("policy-228").await.unwrap().len(), 1);
        assert_eq!(client.list_identity_providers().await.unwrap()[229].name, "idp-229");
        assert_eq!(client.list_service_tokens().await.unwrap()[229].name, "token-229");
        setup.standin.heal();
    }

    assert_eq!(setup.standin.calls_of(Op::ListApps).len(), 9);
    assert_eq!(setup.standin.calls_of(Op::ListServiceTokens).len(), 9);
}

#[tokio::test]
async fn keys_that_nobody_here_knows_come_and_go_untouched() {
    let setup = Setup::start();
    let mut body = app("app.example.com", &[]);
    body["from_next_year"] = json!({ "deep": [1, 2.5, null, "x"] });
    let id = ApplicationId::new(setup.standin.add_app(body));
    let mut rules = policy("people");
    rules["from_next_year"] = json!([{ "a": 1 }]);
    let policy_id = PolicyId::new(setup.standin.add_policy(rules));

    let read = setup.client.read_access_app(&id).await.unwrap().unwrap();
    let mut over = read.raw.clone();
    over.insert("session_duration".into(), json!("1h"));
    let written = setup.client.put_access_app(&id, &Value::Object(over)).await.unwrap();
    let policy = setup.client.read_access_policy(&policy_id).await.unwrap().unwrap();
    setup.client.put_access_policy(&policy_id, &Value::Object(policy.raw.clone())).await.unwrap();

    assert_eq!(written.raw["from_next_year"], json!({ "deep": [1, 2.5, null, "x"] }));
    assert_eq!(written.raw["session_duration"], "1h");
    assert_eq!(setup.client.read_access_policy(&policy_id).await.unwrap(), Some(policy));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_uncertain_and_not_sent_again() {
    let setup = Setup::start();
    let client = &setup.client;
    let lose = |op: Op, trouble: Trouble| setup.standin.inject(Fault::on(op, trouble).after_effect());
    let lost = |error: CfError| assert!(error.is_uncertain() && error.is_transient(), "{error}");

    for (n, trouble) in
        [Trouble::HalfAnswer, Trouble::ServerError, Trouble::BadGatewayPage].into_iter().enumerate()
    {
        lose(Op::CreatePolicy, trouble.clone());
        let name = format!("policy-{n}");
        lost(client.create_access_policy(&policy(&name)).await.unwrap_err());
        let found =
            client.find_access_policies(&name).await.unwrap().pop().expect("it took effect all the same");

        lose(Op::CreateApp, trouble.clone());
        let domain = format!("app-{n}.example.com");
        lost(client.create_access_app(&app(&domain, &[found.id.as_str()])).await.unwrap_err());
        let made =
            client.find_access_apps(&domain).await.unwrap().pop().expect("it took effect all the same");

        lose(Op::PutApp, trouble.clone());
        lost(client.put_access_app(&made.id, &app(&domain, &[])).await.unwrap_err());
        assert_eq!(client.read_access_app(&made.id).await.unwrap().unwrap().raw["policies"], json!([]));

        lose(Op::PutPolicy, trouble.clone());
        lost(client.put_access_policy(&found.id, &policy("renamed")).await.unwrap_err());
        assert_eq!(client.read_access_policy(&found.id).await.unwrap().unwrap().name, "renamed");

        lose(Op::DeleteApp, trouble.clone());
        lost(client.delete_access_app(&made.id).await.unwrap_err());
        client.delete_access_app(&made.id).await.expect("gone, as was wanted");

        lose(Op::DeletePolicy, trouble);
        lost(client.delete_access_policy(&found.id).await.unwrap_err());
        assert_eq!(client.read_access_policy(&found.id).await.unwrap(), None);
    }

    for op in [Op::CreatePolicy, Op::CreateApp, Op::PutApp, Op::PutPolicy] {
        assert_eq!(setup.standin.calls_of(op).len(), 3, "{op:?}");
    }
}

#[tokio::test]
async fn only_cloudflares_own_word_says_that_something_is_gone() {
    let setup = Setup::start();
    let (app_id, policy_id) = (ApplicationId::new("a/../b?c=d"), PolicyId::new("nobody"));

    let error = setup.client.put_access_app(&app_id, &app("app.example.com", &[])).await.unwrap_err();
    assert!(error.is_access_object_gone(), "{error}");
    let error = setup.client.put_access_policy(&policy_id, &policy("people")).await.unwrap_err();
    assert!(error.is_access_object_gone(), "{error}");

    for trouble in [
        Trouble::NotFoundPage,
        Trouble::Refused { status: 404, code: 7003, message: "Could not route to".into() },
        Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() },
    ] {
        setup.standin.inject(Fault::any(trouble).times(4));
        setup.client.read_access_app(&app_id).await.expect_err("not known to be gone");
        setup.client.delete_access_app(&app_id).await.expect_err("not known to be gone");
        setup.client.read_access_policy(&policy_id).await.expect_err("not known to be gone");
        setup.client.delete_access_policy(&policy_id).await.expect_err("not known to be gone");
    }
}

#[tokio::test]
async fn what_is_in_the_way_is_a_conflict() {
    let setup = Setup::start();
    let policy = setup.standin.add_policy(policy("people"));
    setup.standin.add_app(app("app.example.com", &[&policy]));

    let taken = setup.client.create_access_app(&app("APP.example.com/", &[])).await.unwrap_err();
    let in_use = setup.client.delete_access_policy(&PolicyId::new(policy)).await.unwrap_err();

    for error in [taken, in_use] {
        assert!(error.is_access_conflict() && error.is_about_content() && !error.is_uncertain(), "{error}");
    }
}

#[tokio::test]
async fn a_missing_right_is_named_as_cloudflare_names_it() {
    let setup = Setup::start();
    let client = &setup.client;
    let named = |error: CfError, right: &str| {
        assert!(error.is_denied() && !error.is_transient(), "{error}");
        assert_eq!(error.missing_right(), Some(right));
        assert!(error.to_string().contains(&format!("the API token lacks the right `{right}`")), "{error}");
    };
    let apps = "Access: Apps and Policies Write";

    // A token that may only read.
    setup.standin.take_right("Access: Apps and Policies Write");
    assert_eq!(client.list_access_apps().await.unwrap(), []);
    named(client.create_access_app(&app("app.example.com", &[])).await.unwrap_err(), apps);
    named(client.create_access_policy(&policy("people")).await.unwrap_err(), apps);

    setup.standin.take_right("Access: ");
    named(client.list_access_apps().await.unwrap_err(), apps);
    named(client.find_access_policies("people").await.unwrap_err(), apps);
    named(client.read_access_app(&ApplicationId::new("x")).await.unwrap_err(), apps);
    named(
        client.list_identity_providers().await.unwrap_err(),
        "Access: Organizations, Identity Providers, and Groups Read",
    );
    named(client.list_service_tokens().await.unwrap_err(), "Access: Service Tokens Read");

    assert_eq!(client.refusal(), None, "the token itself is good");
    assert_eq!(client.list_zones().await.unwrap().len(), 1);
    setup.standin.give_rights_back();
    client.create_access_policy(&policy("people")).await.unwrap();
}

#[tokio::test]
async fn an_account_without_access_is_told_in_cloudflares_words() {
    let setup = Setup::start();
    setup.standin.state().access.is_off = true;
    for error in [
        setup.client.list_access_apps().await.unwrap_err(),
        setup.client.read_access_app(&ApplicationId::new("x")).await.unwrap_err(),
        setup.client.delete_access_app(&ApplicationId::new("x")).await.unwrap_err(),
        setup.client.list_identity_providers().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("Access is not enabled"), "{error}");
    }
}

#[tokio::test]
async fn an_account_that_is_full_refuses_with_cloudflares_words() {
    let setup = Setup::start();
    setup.standin.add_app(app("a.example.com", &[]));
    setup.standin.add_policy(policy("people"));
    {
        let mut state = setup.standin.state();
        (state.access.max_apps, state.access.max_policies) = (Some(1), Some(1));
    }

    for error in [
        setup.client.create_access_app(&app("b.example.com", &[])).await.unwrap_err(),
        setup.client.create_access_policy(&policy("more")).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("maximum number of") && error.is_about_content(), "{error}");
    }
    let id = setup.client.list_access_apps().await.unwrap()[0].id.clone();
    setup.client.put_access_app(&id, &app("b.example.com", &[])).await.expect("a change needs no room");
}

#[tokio::test]
async fn answers_that_are_late_large_or_odd_are_refused() {
    let setup = Setup::start();
    let client = setup.client.with_time_limit(Duration::from_millis(300));
    setup.standin.inject(Fault::on(Op::ListPolicies, Trouble::NeverAnswers));
    let late = client.list_access_policies().await.unwrap_err();
    assert!(late.to_string().contains("no answer within 0.3 s"), "{late}");

    for (result, words) in [
        (json!([{ "id": "a", "name": "x".repeat(9 << 20) }]), "larger than 8 MiB"),
        (json!([{ "name": "x" }]), "an application has no id"),
        (json!("none"), "invalid type"),
    ] {
        setup.standin.inject(Fault::on(Op::ListApps, Trouble::Result(result)));
        let error = setup.client.list_access_apps().await.unwrap_err();
        assert!(matches!(error, CfError::Malformed { .. }) && error.to_string().contains(words), "{error}");
    }

    setup.standin.inject(Fault::on(Op::CreateApp, Trouble::Result(Value::Null)));
    let empty = setup.client.create_access_app(&app("app.example.com", &[])).await.unwrap_err();
    assert!(empty.is_uncertain() && empty.to_string().contains("the result is missing"), "{empty}");

    setup.standin.inject(Fault::on(Op::ListApps, Trouble::RateLimited(Some(3))));
    let held = setup.client.list_access_apps().await.unwrap_err();
    assert_eq!(held.retry_after(), Some(Duration::from_secs(3)), "{held}");
}
