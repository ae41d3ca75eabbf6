//! The connector checks Access tokens itself: for whoever reaches it around Access.

use lightship::actors::master::Account;
use lightship::domain::access::{AccessAsk, PUBLIC_BYPASS};
use lightship::domain::id::TunnelId;
use lightship::domain::route::AccessCheck;
use serde_json::{Value, json};

use super::APP;
use super::access::{group, groups, guarded};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Op, TEAM};

fn required() -> AccessCheck {
    AccessCheck { required: true, ..AccessCheck::default() }
}

/// What the connector is told to check for the app.
fn check(test: &TestAccount, tunnel: &TunnelId) -> Value {
    let (_, config) = test.standin.config(tunnel.as_str());
    let rules = config["ingress"].as_array().cloned().unwrap_or_default();
    let rule = rules.into_iter().find(|rule| rule["hostname"] == APP);
    rule.map(|rule| rule["originRequest"]["access"].clone()).unwrap_or_default()
}

fn aud(test: &TestAccount) -> String {
    test.standin.state().access.apps[0].aud.clone()
}

/// A stand-in that complains of each moment at which the app can be reached and its connector does not check for the
/// application that stands before it.
fn checked(standin: CloudflareStandIn) -> CloudflareStandIn {
    standin.on_change(|state| match state.edge(APP, "/") {
        Edge::Reaches { jwt_required: false, .. } => Err(format!("`{APP}` is reached without a check")),
        Edge::Reaches { behind: None, .. } => Err(format!("`{APP}` is reached without an application")),
        _ => Ok(()),
    });
    standin
}

async fn published(test: &TestAccount) -> TunnelId {
    let tunnel = test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_checked("a", APP, groups(&["staff"]), required()).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    tunnel
}

#[actix_web::test]
async fn what_is_left_open_is_the_tag_of_the_application_and_the_team_of_the_account() {
    // given, when
    let test = TestAccount::start_with(checked(guarded(&[APP]))).await;
    let tunnel = published(&test).await;
    // then
    let expected = json!({ "required": true, "teamName": TEAM, "audTag": [aud(&test)] });
    assert_eq!(check(&test, &tunnel), expected);
    let order: Vec<Op> = test.standin.calls().iter().filter_map(|call| call.op).collect();
    let at = |op| order.iter().position(|known| *known == op).unwrap();
    assert!(at(Op::CreateApp) < at(Op::PutConfig), "{order:?}");
    // and nothing more is called, also after a restart, but to compare
    let count = test.standin.calls().len();
    test.account.wake();
    test.until_quiet().await;
    assert_eq!(test.standin.calls().len(), count);
    let puts = test.standin.calls_of(Op::PutConfig).len();
    let test = test.restart().await;
    assert_eq!(test.standin.calls_of(Op::PutConfig).len(), puts);
    assert_eq!(check(&test, &tunnel), expected);
}

#[actix_web::test]
async fn the_team_by_setting_wins_over_reading() {
    let standin = checked(guarded(&[APP]));
    let test =
        TestAccount::set_up(standin, |settings| settings.publish.access_team = Some("others".into())).await;
    let tunnel = published(&test).await;
    assert_eq!(check(&test, &tunnel)["teamName"], "others");
    assert!(test.standin.calls_of(Op::GetOrganization).is_empty());
}

#[actix_web::test]
async fn a_tag_that_changes_is_followed() {
    // given
    let test = TestAccount::start_with(CloudflareStandIn::start()).await;
    let tunnel = published(&test).await;
    let before = aud(&test);
    // when: somebody deletes the application, and a comparison makes another one
    let test = test
        .restart_after(async |standin| {
            let id = standin.state().access.apps[0].id.clone();
            standin.state().delete_app(&id).unwrap();
        })
        .await;
    // then
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    assert_ne!(aud(&test), before);
    assert_eq!(check(&test, &tunnel)["audTag"], json!([aud(&test)]));
}

#[actix_web::test]
async fn a_team_that_is_called_otherwise_is_followed() {
    let test = TestAccount::start_with(CloudflareStandIn::start()).await;
    let tunnel = published(&test).await;
    let test = test
        .restart_after(async |standin| standin.set_auth_domain(Some("renamed.cloudflareaccess.com")))
        .await;
    assert_eq!(check(&test, &tunnel)["teamName"], "renamed");
}

#[actix_web::test]
async fn without_a_team_or_an_application_that_asks_everybody_the_route_waits_and_says_why() {
    for (ask, domain, right, words) in [
        (groups(&["staff"]), None, "", "`publish.access_team`"),
        (groups(&["staff"]), Some("login.example.com"), "", "`publish.access_team`"),
        (
            groups(&["staff"]),
            Some("x.cloudflareaccess.com"),
            "Access: Organizations",
            "`Access: Organizations, Identity Providers, and Groups Read`",
        ),
        (groups(&[PUBLIC_BYPASS]), Some("x.cloudflareaccess.com"), "", "`bypass`"),
        (AccessAsk::Nothing, Some("x.cloudflareaccess.com"), "", "`access_aud_tag`"),
        (AccessAsk::Inherit, Some("x.cloudflareaccess.com"), "", "`access_aud_tag`"),
    ] {
        let standin = checked(CloudflareStandIn::start());
        standin.set_auth_domain(domain);
        if !right.is_empty() {
            standin.take_right(right);
        }
        let test = TestAccount::start_with(standin).await;
        test.enrolled("a", "edge").await;
        test.sets_group(group("staff", &["ann@example.com"])).await;
        test.claims_checked("a", APP, ask, required()).await;
        let reason = test.until_state("a", APP, "blocked").await.reason.unwrap();
        assert!(reason.contains(words), "{words}: {reason}");
        test.until_quiet().await;
        assert_eq!(test.standin.edge(APP, "/"), Edge::NoRecord);
    }
}

#[actix_web::test]
async fn a_right_that_is_taken_away_later_does_not_take_down_what_serves() {
    let test = TestAccount::start_with(checked(guarded(&[APP]))).await;
    let tunnel = published(&test).await;
    let test = test.restart_after(async |standin| standin.take_right("Access: Organizations")).await;
    assert_eq!(check(&test, &tunnel)["teamName"], TEAM, "as it was written");
    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");
}
