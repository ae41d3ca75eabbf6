//! Rules that Cloudflare does not take: each fails alone, and its neighbours are published.

use lightship::domain::id::TunnelId;
use serde_json::json;

use super::{APP, foreign_config};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble, ZONE};
use crate::support::until::until;

const OK: &str = "ok.example.com";
const BAD: &str = "bad.example.com";
const WORSE: &str = "worse.example.com";

/// Cloudflare refuses every configuration that holds this text.
fn refuse(test: &TestAccount, text: &str, status: u16, code: i64) {
    let message = format!("Bad Configuration: {text}");
    let fault = Fault::on(Op::PutConfig, Trouble::Refused { status, code, message });
    test.standin.inject(fault.about(text).always());
}

fn sorted_names(test: &TestAccount, tunnel: &TunnelId) -> Vec<String> {
    let mut names = test.standin.hostnames(tunnel.as_str());
    names.sort();
    names
}

fn service_of(test: &TestAccount, tunnel: &TunnelId, name: &str) -> String {
    let (_, config) = test.standin.config(tunnel.as_str());
    let rules = config["ingress"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["hostname"] == name).unwrap();
    rule["service"].as_str().unwrap().to_owned()
}

async fn with_a_published_route() -> (TestAccount, TunnelId) {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    (test, tunnel)
}

#[actix_web::test]
async fn one_refused_rule_fails_alone_whatever_the_code() {
    for (status, code) in [(400, 1056), (400, 1003), (422, 9999)] {
        // given
        let (test, tunnel) = with_a_published_route().await;
        refuse(&test, BAD, status, code);
        // when
        test.claim_many("a", &[(BAD, "http://app:80"), (OK, "http://app:80")]).await;
        // then
        test.until_state("a", OK, "published").await;
        let row = test.until_state("a", BAD, "failed").await;
        assert!(row.answer.unwrap().contains("Bad Configuration"), "its own words");
        assert_eq!(sorted_names(&test, &tunnel), [APP, OK]);
        assert_eq!(test.standin.records(BAD).len(), 1, "the record waits for the rule to be taken");
        // and: others follow their changes
        test.changes("a", APP, "http://other:1").await;
        let is_changed = async || (service_of(&test, &tunnel, APP) == "http://other:1").then_some(());
        until("it changes", is_changed).await;
        test.until_state("a", APP, "published").await;
        assert_eq!(test.status_of("a", BAD).await.unwrap().state, "failed");
    }
}

#[actix_web::test]
async fn several_refused_rules_are_found_with_a_bounded_number_of_tries() {
    // given
    let (test, tunnel) = with_a_published_route().await;
    refuse(&test, BAD, 400, 1056);
    refuse(&test, WORSE, 400, 1056);
    let names: Vec<String> = (0..20).map(|number| format!("app-{number:02}.example.com")).collect();
    let mut routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "http://app:80")).collect();
    routes.extend([(BAD, "http://app:80"), (WORSE, "http://app:80")]);
    let before = test.standin.calls_of(Op::PutConfig).len();
    // when
    test.claim_many("a", &routes).await;
    // then
    for name in &names {
        test.until_state("a", name, "published").await;
    }
    for name in [BAD, WORSE] {
        test.until_state("a", name, "failed").await;
    }
    let tries = test.standin.calls_of(Op::PutConfig).len() - before;
    assert!(tries <= 20, "{tries} writes");
    assert_eq!(sorted_names(&test, &tunnel).len(), 21);
}

#[actix_web::test]
async fn a_published_route_that_is_changed_into_a_refused_form_serves_as_before() {
    // given
    let (test, tunnel) = with_a_published_route().await;
    refuse(&test, "http://refused:1", 400, 1056);
    // when
    test.changes("a", APP, "http://refused:1").await;
    // then
    let row = test.until_state("a", APP, "failed").await;
    assert!(row.reason.unwrap().contains("serves as before"));
    test.claims("a", OK).await;
    test.until_state("a", OK, "published").await;
    assert_eq!(service_of(&test, &tunnel, APP), "http://app:80");
    // and: another form is tried at once
    test.changes("a", APP, "http://taken:1").await;
    test.until_state("a", APP, "published").await;
    assert_eq!(service_of(&test, &tunnel, APP), "http://taken:1");
}

#[actix_web::test]
async fn what_was_refused_is_asked_again_once_an_interval_and_when_a_person_orders_it() {
    // given
    let (test, tunnel) = with_a_published_route().await;
    refuse(&test, BAD, 400, 1056);
    test.claims("a", BAD).await;
    test.until_state("a", BAD, "failed").await;
    let tries = |test: &TestAccount| test.standin.calls_of(Op::PutConfig).len();
    let before = tries(&test);
    // when: nothing changes
    for _ in 0..3 {
        lightship::actors::master::Account::wake(&test.account);
    }
    // then
    test.claims("a", OK).await;
    test.until_state("a", OK, "published").await;
    assert_eq!(tries(&test), before + 1, "only the write of the other one");
    test.apply().await;
    assert_eq!(test.status_of("a", BAD).await.unwrap().state, "failed");
    assert!(tries(&test) > before + 1);
    test.standin.heal();
    test.apply().await;
    test.until_state("a", BAD, "published").await;
    assert_eq!(sorted_names(&test, &tunnel), [APP, BAD, OK]);
}

#[actix_web::test]
async fn a_refusal_that_no_rule_of_ours_is_to_blame_for_is_told_of_the_tunnel() {
    // given: what somebody else wrote is refused when it is written back
    let (test, tunnel) = with_a_published_route().await;
    test.claims("a", OK).await;
    test.until_state("a", OK, "published").await;
    test.until_quiet().await;
    refuse(&test, "http_status:503", 400, 1056);
    let (_, ours) = test.standin.config(tunnel.as_str());
    let mut theirs = foreign_config(&[]);
    let rules = ours["ingress"].as_array().unwrap().iter().filter(|rule| rule["hostname"].is_string());
    for (at, rule) in rules.enumerate() {
        theirs["ingress"].as_array_mut().unwrap().insert(at, rule.clone());
    }
    test.standin.write_config(tunnel.as_str(), theirs);
    // when
    test.releases("a", OK).await;
    // then
    let row = test.until_tunnel(&tunnel, "failed").await;
    assert!(row.answer.unwrap().contains("Bad Configuration"));
    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");
}

#[actix_web::test]
async fn a_record_that_another_product_keeps_is_named_with_the_place_where_it_can_be_removed() {
    // given
    let (test, tunnel) = with_a_published_route().await;
    test.standin.add_record(ZONE, "AAAA", BAD, "100::");
    let read_only = json!({ "read_only": true, "origin_worker_id": "shop" });
    test.standin
        .state()
        .records
        .iter_mut()
        .filter(|one| one.name == BAD)
        .for_each(|one| one.meta = read_only.clone());
    // when
    test.claims("a", BAD).await;
    // then
    let row = test.until_state("a", BAD, "blocked").await;
    assert!(row.reason.unwrap().contains("Worker's custom domain, so remove it there"));
    assert_eq!(sorted_names(&test, &tunnel), [APP]);
    assert_eq!(test.standin.calls_of(Op::DeleteRecord).len(), 0);
}

#[actix_web::test]
async fn a_name_that_nobody_can_make_is_told_with_the_way_out_and_tried_once_an_interval() {
    // given
    let (test, _) = with_a_published_route().await;
    let message = "The name is below a delegated part".to_owned();
    let refusal = Trouble::Refused { status: 400, code: 89018, message };
    test.standin.inject(Fault::on(Op::CreateRecord, refusal).about(BAD).always());
    let tries = || {
        let made = test.standin.calls_of(Op::CreateRecord).into_iter();
        made.filter(|call| call.body.as_ref().is_some_and(|body| body["name"] == BAD)).count()
    };
    // when
    test.claims("a", BAD).await;
    // then
    let row = test.until_state("a", BAD, "failed").await;
    assert!(row.reason.unwrap().contains("remove the NS records"));
    assert!(row.answer.unwrap().contains("below a delegated part"));
    for name in [OK, WORSE] {
        test.claims("a", name).await;
        test.until_state("a", name, "published").await;
    }
    assert_eq!(tries(), 1, "changes of others are no reason to ask again");
    // and: after the interval, which begins when the work is done, and when a person orders it
    until("nothing is under way", async || test.account.status().await.filter(|status| status.running == 0))
        .await;
    test.interval_passes().await;
    until("it is tried again", async || (tries() == 2).then_some(())).await;
    test.standin.heal();
    test.apply().await;
    test.until_state("a", BAD, "published").await;
}
