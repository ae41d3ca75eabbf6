//! While changes are reviewed nothing of what labels ask for is carried out before a person said yes, but for protection.

use lightship::actors::master::cloudflare_account::PublishSettings;
use lightship::actors::master::{Account, ChangeKind};
use lightship::domain::access::AccessAsk;
use lightship::domain::event::OwnedEvent;
use lightship::domain::publish::{Cause, ChangeMode};

use super::APP;
use super::access::{group, groups, guarded};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Fault, Op, Trouble};

fn reviewed() -> PublishSettings {
    PublishSettings { changes: ChangeMode::Review, ..PublishSettings::default() }
}

fn service_of(test: &TestAccount) -> Option<String> {
    match test.standin.edge(APP, "/") {
        Edge::Reaches { service, .. } => Some(service),
        _ => None,
    }
}

/// Kinds of the changes that the plan shows.
async fn planned(test: &TestAccount) -> Vec<ChangeKind> {
    test.account.plan().await.unwrap().changes.into_iter().map(|change| change.kind).collect()
}

#[actix_web::test]
async fn what_labels_ask_for_waits_for_a_person_from_the_first_to_the_last() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    let tunnel = test.enrolled("a", "edge").await;

    // when it is new
    test.claims("a", APP).await;

    // then
    let row = test.until_state("a", APP, "waiting").await;
    assert_eq!(row.cause, Some(Cause::InReview));
    test.until_quiet().await;
    assert_eq!(test.standin.edge(APP, "/"), Edge::NoRecord);
    assert_eq!(planned(&test).await, [ChangeKind::AddRule, ChangeKind::CreateDns]);
    assert!(test.account.plan().await.unwrap().review);

    // when
    test.apply().await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(service_of(&test).as_deref(), Some("http://app:80"));
    assert_eq!(planned(&test).await, []);

    // when it changes
    test.changes("a", APP, "http://app:81").await;

    // then
    test.until_quiet().await;
    assert_eq!(service_of(&test).as_deref(), Some("http://app:80"));
    assert_eq!(planned(&test).await, [ChangeKind::ChangeRule]);
    test.until_compared().await;
    assert_eq!(service_of(&test).as_deref(), Some("http://app:80"));
    let row = test.until_state("a", APP, "published").await;
    assert!(row.reason.as_ref().is_some_and(|reason| reason.contains("waits for a person")), "{row:?}");
    test.apply().await;
    test.standin
        .until("it is changed", |state| {
            state.tunnel(tunnel.as_str()).unwrap().config.to_string().contains("http://app:81")
        })
        .await;

    // when it goes
    test.releases("a", APP).await;
    test.until_quiet().await;
    test.until_compared().await;

    // then
    assert_eq!(service_of(&test).as_deref(), Some("http://app:81"));
    assert_eq!(planned(&test).await, [ChangeKind::RemoveRule, ChangeKind::DeleteDns]);
    test.apply().await;
    test.standin.until("it is gone", |state| state.records.is_empty()).await;
    test.until_quiet().await;
    assert_eq!(test.standin.hostnames(tunnel.as_str()), Vec::<String>::new());
    let said = test.recorded().await.into_iter().filter_map(|(by, event)| match event {
        OwnedEvent::Reviewed { published, changed, withdrawn, .. } => {
            assert_eq!(by, "alice");
            Some((published.len(), changed.len(), withdrawn.len()))
        }
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [(1, 0, 0), (0, 1, 0), (0, 0, 1)]);
}

#[actix_web::test]
async fn more_protection_goes_at_once_and_less_waits() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "waiting").await;
    test.apply().await;
    test.until_state("a", APP, "published").await;
    assert!(test.standin.edge(APP, "/").is_open());

    // when
    test.asks_for("a", APP, groups(&["staff"])).await;

    // then
    test.standin.until("it is protected", |state| !state.edge(APP, "/").is_open()).await;
    test.until_state("a", APP, "published").await;

    // when
    test.asks_for("a", APP, AccessAsk::Nothing).await;
    test.until_quiet().await;
    test.until_compared().await;

    // then
    assert!(!test.standin.edge(APP, "/").is_open());
    assert!(planned(&test).await.contains(&ChangeKind::DeleteApplication));
    test.apply().await;
    test.standin.until("it is open", |state| state.edge(APP, "/").is_open()).await;
}

#[actix_web::test]
async fn what_waits_and_is_to_keep_somebody_out_is_answered_for_by_no_other_route() {
    // given: a yes to what everybody may reach, below which nothing is protected
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims("a", "*.example.com").await;
    test.until_state("a", "*.example.com", "waiting").await;
    test.apply().await;
    test.until_state("a", "*.example.com", "published").await;
    assert!(test.standin.edge("admin.example.com", "/").is_open());

    // when
    test.claims_protected("a", "admin.example.com", groups(&["staff"])).await;

    // then
    test.standin.until("it is shut", |state| state.edge("admin.example.com", "/") == Edge::Status(503)).await;
    let row = test.until_state("a", "admin.example.com", "waiting").await;
    assert_eq!(row.cause, Some(Cause::InReview));
    assert!(test.standin.edge("other.example.com", "/").is_open());

    // when
    test.apply().await;

    // then
    test.until_state("a", "admin.example.com", "published").await;
    assert!(matches!(test.standin.edge("admin.example.com", "/"), Edge::Reaches { behind: Some(_), .. }));
}

#[actix_web::test]
async fn reviews_begin_with_what_is_published_and_a_restart_changes_nothing() {
    // given
    let test = TestAccount::start_with(guarded(&["closed.example.com"])).await;
    test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;

    // when
    let test = test.restart_publishing(reviewed()).await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(planned(&test).await, []);
    test.changes("a", APP, "http://app:81").await;
    test.claims_protected("a", "closed.example.com", groups(&["staff"])).await;
    test.until_state("a", "closed.example.com", "waiting").await;
    test.until_quiet().await;
    let test = test.restart().await;
    assert_eq!(service_of(&test).as_deref(), Some("http://app:80"));
    assert_eq!(test.standin.edge("closed.example.com", "/"), Edge::NoRecord);
}

#[actix_web::test]
async fn what_others_change_is_put_right_as_a_person_said_yes_to_it() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "waiting").await;
    test.apply().await;
    test.until_state("a", APP, "published").await;
    test.changes("a", APP, "http://app:81").await;
    test.until_quiet().await;

    // when
    test.standin.state().records.clear();
    test.until_compared().await;

    // then
    assert_eq!(service_of(&test).as_deref(), Some("http://app:80"));
}

#[actix_web::test]
async fn what_a_person_orders_himself_does_not_wait() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    let tunnel = test.enrolled("a", "edge").await;

    // when
    test.sets_rule(&tunnel, "nas.example.com", "http://10.0.0.5:5000", AccessAsk::Nothing).await;

    // then
    test.standin.until("it is published", |state| state.edge("nas.example.com", "/").is_open()).await;
    test.until_quiet().await;

    // when
    test.removes_rule(&tunnel, "nas.example.com").await;

    // then
    test.standin.until("it is gone", |state| state.records.is_empty()).await;
}

#[actix_web::test]
async fn a_rule_that_a_person_removed_is_not_kept_for_labels_that_nobody_said_yes_to() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), reviewed()).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.enrolled("b", "other").await;
    test.sets_rule(&tunnel, APP, "http://10.0.0.5:5000", AccessAsk::Nothing).await;
    test.standin.until("it is published", |state| state.edge(APP, "/").is_open()).await;
    test.until_quiet().await;
    test.standin.inject(Fault::on(Op::PutConfig, Trouble::ServerError).always());

    // when
    test.removes_rule(&tunnel, APP).await;
    test.claims("b", APP).await;
    test.standin.heal();

    // then
    test.standin.until("the rule is gone", |state| !state.edge(APP, "/").is_open()).await;
    let row = test.until_state("b", APP, "waiting").await;
    assert_eq!(row.cause, Some(Cause::InReview));
}
