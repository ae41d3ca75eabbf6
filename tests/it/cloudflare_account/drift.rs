//! What somebody changes or deletes at Cloudflare by hand is found at the next comparison.

use lightship::actors::master::Account;
use lightship::domain::id::{AgentId, TunnelId};

use super::{APP, content, foreign_config, foreign_rule, is_there};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Call, Fault, Op, Trouble, ZONE};
use crate::support::until::until_equal;

const OTHER: &str = "b.example.com";

/// Two routes that are published, and nothing left to do.
async fn published(test: &TestAccount) -> TunnelId {
    let tunnel = test.enrolled("a", "edge").await;
    test.claim_many("a", &[(APP, "http://app:80"), (OTHER, "http://app:81")]).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", OTHER, "published").await;
    test.until_quiet().await;
    tunnel
}

/// The calls of the next comparison, but for looks at who serves the tunnel: somebody who is not there is looked for more
/// than once.
async fn compared(test: &TestAccount) -> Vec<Call> {
    let before = test.standin.calls().len();
    test.until_compared().await;
    let calls = test.standin.calls().split_off(before);
    calls.into_iter().filter(|call| call.op != Some(Op::ListConnectors)).collect()
}

#[actix_web::test]
async fn a_comparison_without_a_difference_only_reads_and_tells_nobody() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    // Who serves it is news the first time.
    compared(&test).await;
    let rows = async || (test.status_of("a", APP).await, test.tunnel_status(&tunnel).await);
    let (before, notes) = (rows().await, test.notes.load(std::sync::atomic::Ordering::Relaxed));

    for _ in 0..2 {
        let mut ops: Vec<Op> = compared(&test).await.iter().filter_map(|call| call.op).collect();
        ops.sort_by_key(|op| *op != Op::GetConfig);
        assert_eq!(ops, [Op::GetConfig, Op::ListRecords, Op::ListRecords]);
    }

    assert_eq!(rows().await, before);
    assert_eq!(test.notes.load(std::sync::atomic::Ordering::Relaxed), notes);
}

#[actix_web::test]
async fn a_rule_and_a_record_that_were_deleted_by_hand_come_back() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    let theirs = foreign_rule("theirs.example.com");
    test.standin.write_config(tunnel.as_str(), foreign_config(std::slice::from_ref(&theirs)));
    test.standin.state().records.retain(|record| record.name != APP);

    compared(&test).await;

    let mut names = test.standin.hostnames(tunnel.as_str());
    names.sort();
    assert_eq!(names, [APP, OTHER, "theirs.example.com"]);
    assert!(is_there(&test.standin.config(tunnel.as_str()).1, &theirs), "what others wrote stays");
    assert_eq!(test.standin.records(APP)[0].content, content(&tunnel));
    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");
    assert_eq!(compared(&test).await.len(), 3, "after that there is no difference");
}

#[actix_web::test]
async fn a_rule_and_a_record_of_ours_that_were_led_elsewhere_lead_here_again() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    let mut config = test.standin.config(tunnel.as_str()).1;
    for rule in config["ingress"].as_array_mut().unwrap().iter_mut().filter(|rule| rule["hostname"] == APP) {
        rule["service"] = "http://elsewhere:1".into();
    }
    test.standin.write_config(tunnel.as_str(), config);
    for record in test.standin.state().records.iter_mut().filter(|record| record.name == APP) {
        record.content = "elsewhere.example.net".into();
    }

    compared(&test).await;

    let rules = test.standin.config(tunnel.as_str()).1["ingress"].clone();
    let rule = rules.as_array().unwrap().iter().find(|rule| rule["hostname"] == APP).unwrap().clone();
    assert_eq!(rule["service"], "http://app:80");
    assert_eq!(test.standin.records(APP)[0].content, content(&tunnel));
}

#[actix_web::test]
async fn a_record_of_ours_that_was_set_to_dns_only_is_proxied_again_and_others_are_left_alone() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.standin.add_record(ZONE, "CNAME", OTHER, &content(&tunnel));
    test.claim_many("a", &[(APP, "http://app:80"), (OTHER, "http://app:81")]).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", OTHER, "published").await;
    test.until_quiet().await;
    test.standin.state().records.iter_mut().for_each(|record| record.proxied = false);

    compared(&test).await;

    assert!(test.standin.records(APP)[0].proxied);
    assert!(!test.standin.records(OTHER)[0].proxied);
    assert_eq!(compared(&test).await.len(), 3, "after that there is no difference");
}

#[actix_web::test]
async fn a_name_that_somebody_took_over_is_theirs_and_is_shown() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    test.standin.state().records.retain(|record| record.name != APP);
    test.standin.add_record(ZONE, "A", APP, "192.0.2.1");

    compared(&test).await;

    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.unwrap().contains("192.0.2.1"));
    assert_eq!(test.standin.hostnames(tunnel.as_str()), [OTHER]);
    assert_eq!(test.standin.records(APP)[0].content, "192.0.2.1");

    test.standin.state().records.retain(|record| record.name != APP);
    compared(&test).await;
    test.until_state("a", APP, "published").await;
}

#[actix_web::test]
async fn a_record_that_cannot_be_made_again_is_not_called_published() {
    let test = TestAccount::start().await;
    published(&test).await;
    test.standin.state().records.retain(|record| record.name != APP);
    let refusal = Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() };
    test.standin.inject(Fault::on(Op::CreateRecord, refusal).always());

    test.interval_passes().await;

    let row = test.until_state("a", APP, "failed").await;
    assert!(row.answer.unwrap().contains("Authentication error"));
    assert_eq!(test.status_of("a", OTHER).await.unwrap().state, "published");
}

#[actix_web::test]
async fn a_tunnel_that_is_gone_serves_nothing_and_says_so() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true;

    test.interval_passes().await;

    let row = test.until_state("a", APP, "failed").await;
    assert!(row.answer.unwrap().contains("Tunnel is deleted"));
}

#[actix_web::test]
async fn cloudflare_that_is_away_says_nothing_about_what_is_published() {
    let test = TestAccount::start().await;
    let tunnel = published(&test).await;
    test.standin.inject(Fault::any(Trouble::ServerError).always());

    test.interval_passes().await;
    test.until_tunnel(&tunnel, "failed").await;
    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");

    test.standin.heal();
    test.interval_passes().await;
    test.until_tunnel(&tunnel, "applied").await;
}

#[actix_web::test]
async fn a_change_does_not_wait_for_a_comparison() {
    let test = TestAccount::with_time_limit(std::time::Duration::from_secs(120)).await;
    let tunnel = published(&test).await;
    test.standin.inject(Fault::on(Op::ListRecords, Trouble::Slow(std::time::Duration::from_millis(300))));
    test.interval_passes().await;
    test.standin.until("it is under way", |_| !test.standin.calls_of(Op::ListRecords).is_empty()).await;

    test.claims("a", "c.example.com").await;
    test.until_state("a", "c.example.com", "published").await;

    // What was left of the comparison is made up for.
    test.until_quiet().await;
    let looks = test.standin.calls_of(Op::ListRecords).len();
    assert!(looks >= 3, "{looks} looks at records");
    assert_eq!(test.standin.hostnames(tunnel.as_str()).len(), 3);
}

#[actix_web::test]
async fn nothing_is_compared_again_if_that_is_switched_off() {
    let test = TestAccount::never_compared_again().await;
    published(&test).await;
    let before = test.standin.calls().len();

    test.interval_passes().await;
    test.until_quiet().await;

    // Who took what was just written is no comparison.
    let calls = test.standin.calls().split_off(before);
    let others: Vec<Op> =
        calls.iter().filter_map(|call| call.op).filter(|op| *op != Op::ListConnectors).collect();
    assert_eq!(others, []);
}

#[actix_web::test]
async fn a_tunnel_that_is_gone_is_noticed_when_its_agent_cannot_connect() {
    // given
    let test = TestAccount::never_compared_again().await;
    let tunnel = published(&test).await;
    test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true;
    // when
    test.account.compare_agent(&AgentId::new("a"));
    // then
    let row = test.until_state("a", APP, "failed").await;
    assert!(row.reason.unwrap().contains("the tunnel was deleted at Cloudflare"));
}

#[actix_web::test]
async fn a_tunnel_that_cannot_connect_for_other_reasons_is_not_compared_all_the_time() {
    // given
    let test = TestAccount::never_compared_again().await;
    published(&test).await;
    let reads = || test.standin.calls_of(Op::GetConfig).len();
    let before = reads();
    // when
    for _ in 0..20 {
        test.account.compare_agent(&AgentId::new("a"));
    }
    // then: once now, and once for all the others some minutes later
    until_equal("it is compared", before + 1, async || reads()).await;
    test.until_quiet().await;
    assert_eq!(reads(), before + 1);
    test.interval_passes().await;
    until_equal("it is compared again", before + 2, async || reads()).await;
    test.until_quiet().await;
    assert_eq!(reads(), before + 2);
}
