//! What is published, when, and with how few calls.

use std::time::Duration;

use lightship::actors::master::{Account, ChangeKind};
use lightship::domain::id::AgentId;
use serde_json::json;

use super::{APP, content};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Call, Fault, Op, Trouble};

#[actix_web::test]
async fn a_fresh_tunnel_publishes_by_itself() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;

    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let (version, config) = test.standin.config(tunnel.as_str());
    let rule = json!({ "hostname": APP, "service": "http://app:80" });
    assert_eq!((version, config), (1, json!({ "ingress": [rule, { "service": "http_status:404" }] })));
    let records = test.standin.records(APP);
    assert_eq!((records.len(), records[0].content.as_str()), (1, content(&tunnel).as_str()));
    assert_eq!(records[0].comment.as_deref(), Some("lightship:test"));
    let status = test.until_tunnel(&tunnel, "applied").await;
    assert_eq!((status.config_version, status.reason), (Some(1), None));
}

#[actix_web::test]
async fn nothing_is_called_without_a_change() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    let calls = test.standin.calls().len();

    for _ in 0..20 {
        test.account.wake();
        test.account.wake_agent(&AgentId::new("a"));
    }
    test.account.plan().await.unwrap();
    test.until_quiet().await;

    assert_eq!(test.standin.calls().len(), calls);
}

#[actix_web::test]
async fn the_first_change_goes_at_once_and_a_burst_behind_it_goes_together() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;

    for number in 0..10 {
        test.claims("a", &format!("app-{number}.example.com")).await;
    }
    for number in 0..10 {
        test.until_state("a", &format!("app-{number}.example.com"), "published").await;
    }

    let puts = test.standin.calls_of(Op::PutConfig).len();
    assert!(puts <= 3, "{puts} writes for one burst");
    assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 10);
}

#[actix_web::test]
async fn with_150_ms_a_call_one_call_comes_before_the_put_and_all_is_done_in_two_rounds() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.claims("a", "first.example.com").await;
    test.until_state("a", "first.example.com", "published").await;
    test.until_quiet().await;
    let before = test.standin.calls().len();
    test.standin.set_latency(Duration::from_millis(150));
    tokio::time::sleep(Duration::from_millis(250)).await; // a change of its own, not part of the one before

    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let calls = test.standin.calls().split_off(before);
    let ops: Vec<Op> = calls.iter().filter_map(|call| call.op).collect();
    let put = ops.iter().position(|op| *op == Op::PutConfig).unwrap();
    assert!(ops[..put].iter().filter(|op| **op != Op::CreateRecord).count() <= 1, "{ops:?}");
    assert_eq!(ops.len(), 3, "read, write and record: {ops:?}");
    let record = ops.iter().position(|op| *op == Op::CreateRecord).unwrap();
    assert!(
        calls[record].arrived < calls[put].answered.unwrap(),
        "the record does not wait for the rules: {ops:?}"
    );
}

#[actix_web::test]
async fn a_changed_service_replaces_the_rule_and_leaves_the_record() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    let record = test.standin.records(APP);

    test.changes("a", APP, "http://app:8080").await;
    test.standin
        .until("the rule changes", |state| {
            state.tunnel(tunnel.as_str()).unwrap().config["ingress"][0]["service"] == "http://app:8080"
        })
        .await;
    test.until_quiet().await;

    assert_eq!(test.standin.records(APP), record);
}

#[actix_web::test]
async fn a_name_moves_from_one_tunnel_to_another() {
    let test = TestAccount::start().await;
    let (one, two) = (test.enrolled("a", "edge-1").await, test.enrolled("b", "edge-2").await);
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    test.releases("a", APP).await;
    test.claims("b", APP).await;
    test.until_state("b", APP, "published").await;
    test.until_quiet().await;

    let records = test.standin.records(APP);
    assert_eq!((records.len(), records[0].content.as_str()), (1, content(&two).as_str()));
    assert!(test.standin.hostnames(one.as_str()).is_empty());
    assert_eq!(test.standin.hostnames(two.as_str()), [APP]);
}

#[actix_web::test]
async fn a_hostname_outside_every_zone_is_refused_until_there_is_one() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;

    test.claim_many("a", &[("app.example.net", "http://app:80"), (APP, "http://app:80")]).await;
    test.until_state("a", APP, "published").await;
    let row = test.until_state("a", "app.example.net", "blocked").await;

    assert!(row.reason.unwrap().contains("example.com"));
}

#[actix_web::test]
async fn a_plan_says_what_is_due_before_it_is_done() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.standin.inject(Fault::any(Trouble::ServerError).always());

    test.claims("a", APP).await;
    test.until_state("a", APP, "failed").await;
    let plan = test.account.plan().await.unwrap();

    let kinds: Vec<ChangeKind> = plan.changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::AddRule, ChangeKind::CreateDns]);
    assert_eq!((plan.changes[0].hostname.as_str(), plan.changes[0].tunnel_name.as_str()), (APP, "edge"));
    test.standin.heal();
    test.apply().await;
    assert!(test.account.plan().await.unwrap().changes.is_empty());
}

#[actix_web::test]
async fn rules_can_be_put_on_demand_and_the_version_comes_back() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    let agent = AgentId::new("a");

    assert_eq!(test.account.put_agent_rules(&agent, &tunnel).await.unwrap(), 1);
    assert_eq!(test.account.put_agent_rules(&agent, &tunnel).await.unwrap(), 1, "nothing changed");
}

#[actix_web::test]
async fn many_tunnels_are_published_side_by_side() {
    let test = TestAccount::start().await;
    for number in 0..12 {
        test.enrolled(&format!("agent-{number}"), &format!("edge-{number}")).await;
    }
    test.standin.set_latency(Duration::from_millis(100));

    for number in 0..12 {
        test.claims(&format!("agent-{number}"), &format!("app-{number}.example.com")).await;
    }
    for number in 0..12 {
        test.until_state(&format!("agent-{number}"), &format!("app-{number}.example.com"), "published").await;
    }

    let calls = test.standin.calls();
    let under_way =
        |at: &Call| calls.iter().filter(|c| c.arrived <= at.arrived && c.answered > Some(at.arrived)).count();
    let most = calls.iter().map(under_way).max();
    assert!(most >= Some(4), "{most:?} at once");
}
