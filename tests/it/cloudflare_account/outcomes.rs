//! Calls whose outcome nobody heard: what they were about is looked at before anything is said of it.

use std::time::Duration;

use lightship::db::cloudflare::list_dns_records;
use serde_json::json;

use super::{APP, content};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Fault, Op, Trouble, ZONE};
use crate::support::until::until;

const OTHER: &str = "b.example.com";
const PATIENCE: Duration = Duration::from_millis(400);

/// The ways to lose an answer.
fn losses() -> [(&'static str, Trouble); 4] {
    [
        ("500", Trouble::ServerError),
        ("502", Trouble::BadGatewayPage),
        ("no answer", Trouble::NeverAnswers),
        ("half an answer", Trouble::HalfAnswer),
    ]
}

/// A route that is published, and nothing left to do.
async fn published(test: &TestAccount) -> lightship::domain::id::TunnelId {
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    tunnel
}

/// What is called published is there.
async fn is_published(test: &TestAccount, what: &str) {
    test.until_state("a", APP, "published").await;
    assert_eq!(test.standin.records(APP).len(), 1, "{what}");
    test.until_quiet().await;
    assert_eq!(test.standin.records(APP).len(), 1, "{what}");
}

#[actix_web::test]
async fn a_name_whose_record_was_deleted_unheard_gets_a_new_one_before_it_is_called_published() {
    for (what, trouble) in losses() {
        // given
        let test = TestAccount::with_time_limit(PATIENCE).await;
        let tunnel = published(&test).await;
        test.standin.inject(Fault::on(Op::DeleteRecord, trouble).after_effect());
        // when
        test.releases("a", APP).await;
        test.until_tunnel(&tunnel, "failed").await;
        assert!(test.standin.records(APP).is_empty());
        test.claims("a", APP).await;
        // then
        is_published(&test, what).await;
        assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP], "{what}");
    }
}

#[actix_web::test]
async fn a_record_that_was_not_deleted_although_it_was_asked_for_is_kept_for_a_name_that_comes_back() {
    // given
    let test = TestAccount::with_time_limit(PATIENCE).await;
    let tunnel = published(&test).await;
    let before = test.standin.records(APP);
    test.standin.inject(Fault::on(Op::DeleteRecord, Trouble::ServerError));
    // when
    test.releases("a", APP).await;
    test.until_tunnel(&tunnel, "failed").await;
    test.claims("a", APP).await;
    // then
    is_published(&test, "it was never deleted").await;
    assert_eq!(test.standin.records(APP), before);
}

#[actix_web::test]
async fn a_record_that_was_made_unheard_is_found_and_not_made_twice() {
    for (what, trouble) in losses() {
        // given
        let test = TestAccount::with_time_limit(PATIENCE).await;
        let tunnel = test.enrolled("a", "edge").await;
        test.standin.inject(Fault::on(Op::CreateRecord, trouble).after_effect());
        // when
        test.claims("a", APP).await;
        // then
        is_published(&test, what).await;
        assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 1, "{what}");
        let rows = list_dns_records(&test.db, &tunnel).await.unwrap();
        assert!(rows[0].is_settled && rows[0].record_id.is_some(), "{what}: {rows:?}");
    }
}

#[actix_web::test]
async fn a_record_that_was_led_here_or_not_is_not_called_right_before_somebody_looked() {
    for is_applied in [true, false] {
        for (what, trouble) in losses() {
            // given: somebody led it elsewhere
            let test = TestAccount::with_time_limit(PATIENCE).await;
            let tunnel = published(&test).await;
            test.standin.state().records[0].content = "elsewhere.example.net".into();
            let fault = Fault::on(Op::PutRecord, trouble);
            test.standin.inject(if is_applied { fault.after_effect() } else { fault });
            test.standin.inject(Fault::on(Op::ListRecords, Trouble::Slow(Duration::ZERO)));
            // when
            test.interval_passes().await;
            // then: it is put right soon, and not at the next comparison
            test.standin.until("it leads here", |state| state.records[0].content == content(&tunnel)).await;
            test.until_quiet().await;
            is_published(&test, what).await;
            let rows = list_dns_records(&test.db, &tunnel).await.unwrap();
            assert!(rows[0].is_settled, "{what}: {rows:?}");
        }
    }
}

#[actix_web::test]
async fn a_process_that_ends_while_a_record_is_deleted_leaves_a_name_that_is_looked_at() {
    for is_applied in [true, false] {
        // given
        let test = TestAccount::with_time_limit(Duration::from_secs(60)).await;
        let tunnel = published(&test).await;
        let fault = Fault::on(Op::DeleteRecord, Trouble::NeverAnswers);
        test.standin.inject(if is_applied { fault.after_effect() } else { fault });
        test.releases("a", APP).await;
        test.standin.until("it is asked for", |_| test.standin.calls_of(Op::DeleteRecord).len() == 1).await;
        until("it took effect", async || (test.standin.records(APP).is_empty() == is_applied).then_some(()))
            .await;
        // when
        test.claims("a", APP).await;
        let test = test.restart_unchecked(async |_| {}).await;
        // then
        is_published(&test, &format!("applied: {is_applied}")).await;
        assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
    }
}

#[actix_web::test]
async fn a_rule_that_was_removed_unheard_is_not_called_published_while_cloudflare_is_away() {
    // given: two names, and the write that removes one of them is never heard of again
    let test = TestAccount::with_time_limit(Duration::from_secs(60)).await;
    let tunnel = published(&test).await;
    test.claims("a", OTHER).await;
    test.until_state("a", OTHER, "published").await;
    test.until_quiet().await;
    test.standin.inject(Fault::on(Op::PutConfig, Trouble::NeverAnswers).after_effect());
    test.releases("a", APP).await;
    until("it is removed", async || (test.standin.hostnames(tunnel.as_str()) == [OTHER]).then_some(())).await;
    // when
    test.claims("a", APP).await;
    let away = async |standin: &CloudflareStandIn| standin.inject(Fault::any(Trouble::ServerError).always());
    let test = test.restart_unchecked(away).await;
    test.until_tunnel(&tunnel, "failed").await;
    // then
    assert_ne!(test.status_of("a", APP).await.map(|row| row.state), Some("published".into()));
    test.standin.heal();
    is_published(&test, "after that").await;
    let mut names = test.standin.hostnames(tunnel.as_str());
    names.sort();
    assert_eq!(names, [APP, OTHER]);
}

#[actix_web::test]
async fn a_configuration_that_was_written_unheard_is_read_before_it_is_written_again() {
    for (what, trouble) in losses() {
        // given: every answer to a write is lost for a while
        let test = TestAccount::with_time_limit(PATIENCE).await;
        let tunnel = published(&test).await;
        test.standin.inject(Fault::on(Op::PutConfig, trouble).after_effect().times(2));
        // when
        test.claims("a", OTHER).await;
        test.until_state("a", OTHER, "published").await;
        test.until_quiet().await;
        // then
        let mut names = test.standin.hostnames(tunnel.as_str());
        names.sort();
        assert_eq!(names, [APP, OTHER], "{what}");
        let calls = test.standin.calls();
        let of_config: Vec<Op> = calls
            .iter()
            .filter_map(|call| call.op.filter(|op| matches!(op, Op::GetConfig | Op::PutConfig)))
            .collect();
        for (at, op) in of_config.iter().enumerate().filter(|(_, op)| **op == Op::PutConfig) {
            assert_eq!(of_config[at - 1], Op::GetConfig, "{what}: {op:?} in {of_config:?}");
        }
    }
}

#[actix_web::test]
async fn a_tunnel_that_was_made_unheard_is_found_and_not_made_twice() {
    for (what, trouble) in losses() {
        // given
        let test = TestAccount::with_time_limit(PATIENCE).await;
        test.standin.inject(Fault::on(Op::CreateTunnel, trouble).after_effect());
        // when
        test.enrolled("a", "edge").await;
        // then
        assert_eq!(test.standin.state().tunnels.len(), 1, "{what}");
        assert_eq!(test.standin.calls_of(Op::CreateTunnel).len(), 1, "{what}");
    }
}

#[actix_web::test]
async fn what_a_comparison_found_broken_is_put_right_at_once_while_others_are_still_to_be_compared() {
    // given: many names, and Cloudflare is slow to list records
    let test = TestAccount::with_time_limit(Duration::from_secs(60)).await;
    let tunnel = test.enrolled("a", "edge").await;
    let names: Vec<String> = (0..6).map(|number| format!("app-{number}.example.com")).collect();
    let routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "http://app:80")).collect();
    test.claim_many("a", &routes).await;
    for name in &names {
        test.until_state("a", name, "published").await;
    }
    test.until_quiet().await;
    test.standin.state().records.retain(|record| record.name != names[0]);
    let before = test.standin.calls().len();
    // when: the second look hangs, and a change comes
    test.standin.inject(Fault::on(Op::ListRecords, Trouble::Slow(Duration::ZERO)).times(2));
    test.standin.inject(Fault::on(Op::ListRecords, Trouble::Slow(Duration::from_secs(3))));
    test.interval_passes().await;
    // then
    test.standin.until("it is back", |state| state.records.iter().any(|one| one.name == names[0])).await;
    let made = test.standin.calls().split_off(before);
    let looks = made.iter().filter(|call| call.op == Some(Op::ListRecords)).count();
    assert!(looks <= 3, "it is made again before the others are looked at: {looks} looks");
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    assert_eq!(test.standin.hostnames(tunnel.as_str()).len(), 7);
}

#[actix_web::test]
async fn a_comparison_whose_repair_fails_tries_it_again_soon() {
    // given
    let test = TestAccount::with_time_limit(PATIENCE).await;
    published(&test).await;
    test.standin.state().records.clear();
    test.standin.inject(Fault::on(Op::CreateRecord, Trouble::ServerError).times(2));
    // when
    test.interval_passes().await;
    // then: long before the next comparison
    test.standin.until("it is back", |state| state.records.len() == 1).await;
    is_published(&test, "after two failures").await;
}

#[actix_web::test]
async fn what_others_write_while_our_write_has_to_wait_is_kept() {
    // given: what comes between the read and the write takes its time
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    test.delays_rules(Duration::from_secs(1));
    let reads = test.standin.calls_of(Op::GetConfig).len();
    // when
    let routes: Vec<String> = (0..3).map(|number| format!("app-{number}.example.com")).collect();
    test.claim_many("a", &routes.iter().map(|name| (name.as_str(), "http://app:80")).collect::<Vec<_>>())
        .await;
    test.standin.until("it is read", |_| test.standin.calls_of(Op::GetConfig).len() > reads).await;
    let theirs = json!({ "service": "http://theirs:1", "hostname": "theirs.example.com" });
    let (_, mut config) = test.standin.config(tunnel.as_str());
    config["ingress"].as_array_mut().unwrap().insert(0, theirs.clone());
    test.standin.write_config(tunnel.as_str(), config);
    // then
    for name in &routes {
        test.until_state("a", name, "published").await;
    }
    let (_, config) = test.standin.config(tunnel.as_str());
    let rules = config["ingress"].as_array().unwrap();
    let there = rules.iter().find(|rule| rule["hostname"] == "theirs.example.com").expect("it is kept");
    assert_eq!(there.to_string(), theirs.to_string(), "its keys keep their order too");
    assert_eq!(test.standin.records(&routes[0])[0].zone_id, test.standin.zone_id(ZONE));
}
