//! What a plan shows of protection, with its reasons.

use lightship::actors::master::{Account, ChangeKind};
use lightship::domain::access::AccessAsk;

use super::APP;
use super::access::{group, groups, published};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Fault, Op, Trouble};

#[actix_web::test]
async fn a_plan_shows_protection_before_what_makes_a_route_reachable() {
    // given
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.standin.inject(Fault::on(Op::ListPolicies, Trouble::ServerError).always());

    // when
    test.claims_protected("a", APP, groups(&["staff"])).await;
    test.until_state("a", APP, "failed").await;
    let plan = test.account.plan().await.unwrap();

    // then
    let kinds: Vec<ChangeKind> = plan.changes.iter().map(|change| change.kind).collect();
    assert_eq!(
        kinds,
        [ChangeKind::CreatePolicy, ChangeKind::CreateApplication, ChangeKind::AddRule, ChangeKind::CreateDns]
    );
    let [policy, application, ..] = &plan.changes[..] else { panic!("{plan:?}") };
    assert!(policy.name.contains("staff") && policy.detail.contains("ann@example.com"), "{policy:?}");
    assert!(application.name == APP && application.detail.contains(&policy.name), "{application:?}");
    assert!(application.reason.contains("container `app`"), "{application:?}");
    test.standin.heal();
}

#[actix_web::test]
async fn what_is_in_place_is_not_in_a_plan_and_what_differs_is() {
    // given
    let (test, _) = published(CloudflareStandIn::start()).await;
    assert_eq!(test.account.plan().await.unwrap().changes, []);

    // when a group lets others in, and Cloudflare does not take it
    test.standin.inject(Fault::on(Op::PutPolicy, Trouble::ServerError).always());
    test.sets_group(group("staff", &["bob@example.com"])).await;
    test.standin.until("it was tried", |_| !test.standin.calls_of(Op::PutPolicy).is_empty()).await;

    // then
    let plan = test.account.plan().await.unwrap();
    let change = plan.changes.iter().find(|change| change.kind == ChangeKind::ChangePolicy).unwrap();
    assert!(change.detail.contains("bob@example.com"), "{change:?}");

    // when nothing asks for it any more
    test.standin.heal();
    test.standin.inject(Fault::on(Op::DeleteApp, Trouble::ServerError).always());
    test.asks_for("a", APP, AccessAsk::Nothing).await;
    test.standin.until("it was tried", |_| !test.standin.calls_of(Op::DeleteApp).is_empty()).await;

    // then
    let plan = test.account.plan().await.unwrap();
    assert!(plan.changes.iter().any(|change| change.kind == ChangeKind::DeleteApplication), "{plan:?}");
    test.standin.heal();
}
