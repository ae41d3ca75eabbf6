//! More calls are due than Cloudflare allows: they wait for their turn, and nothing is said to have failed.

use std::time::Duration;

use lightship::actors::master::Account;
use lightship::domain::id::TunnelId;

use crate::support::account::TestAccount;
use crate::support::cloudflare::{Call, Fault, Op, Trouble};
use crate::support::until::until;

const FIRST: &str = "first.example.com";

/// An agent with one route that is published, and next to no calls left.
async fn nearly_used_up(test: &TestAccount) -> TunnelId {
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", FIRST).await;
    test.until_state("a", FIRST, "published").await;
    test.until_quiet().await;
    // Each makes three calls.
    while test.account.status().await.unwrap().calls_left >= 3 {
        test.account.provide_tunnel("edge", Duration::from_secs(10)).await.unwrap();
    }
    tunnel
}

/// Claims a dozen names, and returns them when one of them is said to wait.
async fn a_dozen(test: &TestAccount) -> Vec<String> {
    let names: Vec<String> = (0..12).map(|number| format!("app-{number:02}.example.com")).collect();
    let routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "http://app:80")).collect();
    test.claim_many("a", &routes).await;
    let waits = async || test.status_of("a", &names[11]).await.filter(|row| row.reason.is_some());
    let row = until("a route says that it waits", waits).await;
    assert_eq!(row.state, "publishing");
    assert!(row.reason.unwrap().contains("waits for its turn: Cloudflare allows 1,200 calls"));
    names
}

async fn until_published(test: &TestAccount, names: &[String]) {
    for name in names {
        let what = format!("`{name}` is published and never failed");
        until(&what, async || {
            let row = test.status_of("a", name).await?;
            assert_ne!(row.state, "failed", "{row:?}");
            (row.state == "published").then_some(())
        })
        .await;
    }
    test.until_quiet().await;
}

#[actix_web::test]
async fn names_that_wait_for_their_turn_are_publishing_and_cost_one_call_each() {
    let test = TestAccount::start().await;
    let tunnel = nearly_used_up(&test).await;

    let names = a_dozen(&test).await;
    until_published(&test, &names).await;

    assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 1 + names.len());
    assert!(test.standin.calls_of(Op::ListRecords).is_empty());
    assert_eq!(test.account.plan().await.unwrap().failed, []);
    test.until_tunnel(&tunnel, "applied").await;
}

#[actix_web::test]
async fn a_change_comes_before_names_that_wait_for_their_turn() {
    let test = TestAccount::start().await;
    nearly_used_up(&test).await;
    let mut names = a_dozen(&test).await;

    test.claims("a", "late.example.com").await;
    names.push("late.example.com".into());
    until_published(&test, &names).await;

    let calls = test.standin.calls();
    let is_about_it =
        |call: &Call| call.body.as_ref().is_some_and(|b| b.to_string().contains("late.example.com"));
    let its_rule = calls.iter().position(|call| call.op == Some(Op::PutConfig) && is_about_it(call));
    let other = calls.iter().rposition(|call| call.op == Some(Op::CreateRecord) && !is_about_it(call));
    assert!(its_rule.is_some() && its_rule < other, "others waited still: {its_rule:?}, {other:?}");
    assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 1 + names.len());
    assert!(test.standin.calls_of(Op::ListRecords).is_empty(), "nobody looks for what was never sent");
}

#[actix_web::test]
async fn calls_that_were_made_before_a_restart_count_after_it() {
    // given
    let test = TestAccount::start().await;
    nearly_used_up(&test).await;
    let before = test.standin.calls().len();
    // when: it is started again and again
    let mut test = test;
    for _ in 0..5 {
        test = test.restart_unchecked(async |_| {}).await;
        test.until_quiet().await;
    }
    // then
    let made = test.standin.calls().len() - before;
    assert!(made <= 60, "{made} calls");
    assert!(test.account.status().await.unwrap().calls_left < 60);
}

#[actix_web::test]
async fn a_pause_that_cloudflare_asked_for_holds_after_a_restart() {
    // given
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.standin.inject(Fault::on(Op::GetConfig, Trouble::RateLimited(Some(3))));
    test.claims("a", FIRST).await;
    test.until_state("a", FIRST, "failed").await;
    let limited = test.standin.calls().len();
    // when
    let test = test.restart_unchecked(async |_| {}).await;
    test.until_state("a", FIRST, "published").await;
    // then
    let calls = test.standin.calls();
    let waited = calls[limited].arrived - calls[limited - 1].arrived;
    assert!(waited >= Duration::from_millis(2_900), "{waited:?}");
}
