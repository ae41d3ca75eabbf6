//! What would be one too many for the account is refused before Cloudflare refuses it.

use lightship::actors::master::{Account, MasterError};
use lightship::domain::access::TokenDraft;
use lightship::domain::account_limits::{AccountLimits, Limited};
use serde_json::json;

use super::APP;
use super::access::{group, groups, guarded};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Fault, Op, Trouble};

const SECOND: &str = "second.example.com";

async fn limited(standin: CloudflareStandIn, limits: AccountLimits) -> TestAccount {
    TestAccount::set_up(standin, |settings| settings.limits = limits).await
}

#[actix_web::test]
async fn an_application_too_many_makes_its_route_wait_with_the_figures() {
    // given: an application of others, and room for one more
    let standin = guarded(&[APP, SECOND]);
    standin.add_app(json!({ "type": "self_hosted", "name": "theirs", "domain": "theirs.example.com" }));
    let limits = AccountLimits { applications: 2, ..AccountLimits::default() };
    let test = limited(standin, limits).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    test.until_state("a", APP, "published").await;
    // when
    test.claims_protected("a", SECOND, groups(&["staff"])).await;
    // then
    let reason = test.until_state("a", SECOND, "blocked").await.reason.unwrap();
    assert!(reason.contains("has 2 Access applications and may have 2"), "{reason}");
    assert!(reason.contains("`cloudflare.max_access_applications`"), "{reason}");
    test.until_quiet().await;
    assert_eq!(test.standin.calls_of(Op::CreateApp).len(), 1, "nothing was tried that had to fail");
    assert_eq!(test.standin.edge(SECOND, "/"), Edge::NoRecord);
    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");
}

#[actix_web::test]
async fn the_last_place_is_there_again_after_a_call_that_made_nothing() {
    for trouble in
        [Trouble::ServerError, Trouble::Refused { status: 400, code: 1, message: "not now".into() }]
    {
        // given: room for one, whose making fails once
        let limits = AccountLimits { service_tokens: 1, ..AccountLimits::default() };
        let test = limited(CloudflareStandIn::start(), limits).await;
        test.standin.inject(Fault::on(Op::CreateServiceToken, trouble.clone()));
        let draft = || TokenDraft::read("ours", None).unwrap();
        test.account.create_service_token(draft(), "alice").await.unwrap_err();

        // when, then
        test.account.create_service_token(draft(), "alice").await.unwrap();
        let refused =
            test.account.create_service_token(TokenDraft::read("more", None).unwrap(), "alice").await;
        assert!(matches!(refused, Err(MasterError::AccountFull(_))), "{trouble:?}: {refused:?}");
    }
}

#[actix_web::test]
async fn a_policy_too_many_makes_its_route_wait_too() {
    let standin = guarded(&[APP]);
    standin.add_policy(json!({ "name": "theirs", "decision": "deny", "include": [{ "everyone": {} }] }));
    let test = limited(standin, AccountLimits { policies: 1, ..AccountLimits::default() }).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    let reason = test.until_state("a", APP, "blocked").await.reason.unwrap();
    assert!(reason.contains("`cloudflare.max_access_policies`"), "{reason}");
    test.until_quiet().await;
    assert!(test.standin.calls_of(Op::CreatePolicy).is_empty());
}

#[actix_web::test]
async fn a_tunnel_or_a_service_token_too_many_is_refused_to_who_asks() {
    let standin = CloudflareStandIn::start();
    standin.add_tunnel("theirs", "cloudflare");
    standin.add_service_token("theirs");
    let limits = AccountLimits { tunnels: 1, service_tokens: 1, ..AccountLimits::default() };
    let test = limited(standin, limits).await;
    let tunnel = test.account.provide_tunnel("ours", std::time::Duration::from_secs(20)).await;
    let token = test.account.create_service_token(TokenDraft::read("ours", None).unwrap(), "alice").await;
    for (refused, setting) in
        [(tunnel.map(drop), "`cloudflare.max_tunnels`"), (token.map(drop), "`cloudflare.max_service_tokens`")]
    {
        match refused {
            Err(MasterError::AccountFull(reason)) => assert!(reason.contains(setting), "{reason}"),
            other => panic!("{setting}: {other:?}"),
        }
    }
    assert!(test.standin.calls_of(Op::CreateTunnel).is_empty());
    assert!(test.standin.calls_of(Op::CreateServiceToken).is_empty());
    // A tunnel that is there is found whatever the limit says.
    let found = test.account.provide_tunnel("theirs", std::time::Duration::from_secs(20)).await.unwrap();
    assert!(!found.is_made);
}

#[actix_web::test]
async fn what_the_account_has_is_counted_and_where_nobody_counts_nothing_is_refused() {
    let standin = CloudflareStandIn::start();
    for number in 0..120 {
        standin.add_service_token(&format!("t{number}"));
    }
    let limits = AccountLimits { service_tokens: 0, applications: 7, ..AccountLimits::default() };
    let test = limited(standin, limits).await;
    let uses = test.account.limits().await.unwrap();
    let of = |kind| uses.iter().find(|one| one.kind == kind).unwrap();
    assert_eq!((of(Limited::ServiceTokens).used, of(Limited::ServiceTokens).limit), (Some(120), None));
    assert_eq!((of(Limited::Applications).used, of(Limited::Applications).limit), (Some(0), Some(7)));
    test.account.create_service_token(TokenDraft::read("ours", None).unwrap(), "alice").await.unwrap();
    // What may not be counted is not shown as none.
    test.standin.take_right("Access: Apps");
    let uses = test.account.limits().await.unwrap();
    let apps = uses.iter().find(|one| one.kind == Limited::Applications).unwrap();
    assert!(
        apps.used.is_none() && apps.reason.as_ref().unwrap().contains("Access: Apps and Policies Write"),
        "{apps:?}"
    );
}
