//! What belongs to others: it stays, it blocks no more than its own name, and nobody but a person takes it over.

use lightship::actors::master::Account;
use lightship::domain::id::TunnelId;
use serde_json::json;

use super::{APP, content, foreign_config, foreign_rule, is_there};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Moment, Op, Trouble, ZONE};
use crate::support::until::until;

#[actix_web::test]
async fn a_tunnel_with_foreign_rules_waits_and_not_even_dns_is_written() {
    let test = TestAccount::start().await;
    let id = test.standin.add_tunnel("edge", "cloudflare");
    let before = foreign_config(&[foreign_rule("theirs.example.com")]);
    test.standin.write_config(&id, before.clone());
    let tunnel = test.enrolled("a", "edge").await;

    test.claims("a", APP).await;
    let row = test.until_state("a", APP, "waiting").await;

    assert!(row.reason.unwrap().contains("lightship apply --yes"));
    assert_eq!(test.standin.config(&id), (1, before));
    assert!(test.standin.records(APP).is_empty());
    let plan = test.account.plan().await.unwrap();
    assert_eq!(plan.waiting[0].tunnel_id, tunnel);
    assert!(plan.waiting[0].foreign.iter().any(|word| word.contains("theirs.example.com")));
    assert!(plan.waiting[0].foreign.iter().any(|word| word.contains("warp-routing")));
}

/// An agent whose first write was announced and refused.
async fn with_a_refused_write() -> (TestAccount, TunnelId) {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    let refusal = Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() };
    test.standin.inject(Fault::on(Op::PutConfig, refusal));
    test.claims("a", APP).await;
    test.until_state("a", APP, "failed").await;
    (test, tunnel)
}

#[actix_web::test]
async fn rules_that_others_add_before_our_first_write_succeeded_make_the_tunnel_wait() {
    let (test, tunnel) = with_a_refused_write().await;
    let theirs = foreign_config(&[foreign_rule("theirs.example.com")]);
    test.standin.write_config(tunnel.as_str(), theirs.clone());

    test.claims("a", "b.example.com").await;
    test.until_state("a", "b.example.com", "waiting").await;

    assert_eq!(test.standin.config(tunnel.as_str()), (1, theirs));
    assert_eq!(test.account.plan().await.unwrap().waiting[0].tunnel_id, tunnel);
    test.apply().await;
    test.until_state("a", APP, "published").await;
}

#[actix_web::test]
async fn a_rule_that_somebody_made_after_our_write_failed_is_theirs_under_our_name_too() {
    // given
    let (test, tunnel) = with_a_refused_write().await;
    // when: somebody helps himself
    let by_hand = json!({ "ingress": [{ "hostname": APP, "service": "http://theirs:1" }, { "service": "http_status:404" }] });
    test.standin.write_config(tunnel.as_str(), by_hand.clone());
    test.claims("a", "b.example.com").await;
    // then
    test.until_state("a", "b.example.com", "waiting").await;
    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.unwrap().contains("http://theirs:1"));
    test.releases("a", APP).await;
    until("its route is gone", async || test.status_of("a", APP).await.is_none().then_some(())).await;
    assert_eq!(test.standin.config(tunnel.as_str()), (1, by_hand));
}

#[actix_web::test]
async fn foreign_rules_and_keys_survive_from_the_first_put_after_confirmation() {
    let test = TestAccount::start().await;
    let id = test.standin.add_tunnel("edge", "cloudflare");
    let theirs = foreign_rule("theirs.example.com");
    test.standin.write_config(&id, foreign_config(std::slice::from_ref(&theirs)));
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "waiting").await;

    let report = test.apply().await;

    assert_eq!(report.confirmed_tunnels, [tunnel]);
    assert!(report.finished && report.blocked.is_empty(), "{report:?}");
    test.until_state("a", APP, "published").await;
    let (version, config) = test.standin.config(&id);
    assert_eq!(version, 2);
    assert!(is_there(&config, &theirs), "{config}");
    assert_eq!(
        (&config["warp-routing"], &config["something-new"]),
        (&json!({ "enabled": true }), &json!([1, 2]))
    );
    assert_eq!(config["ingress"].as_array().unwrap().last().unwrap()["service"], "http_status:503");
}

#[actix_web::test]
async fn an_equal_foreign_rule_becomes_ours_on_confirmation_and_another_one_stays_a_conflict() {
    let test = TestAccount::start().await;
    let id = test.standin.add_tunnel("edge", "cloudflare");
    let equal = json!({ "hostname": APP, "service": "http://app:80" });
    let other = json!({ "hostname": "b.example.com", "service": "http://theirs:1" });
    test.standin.write_config(&id, foreign_config(&[equal.clone(), other.clone()]));
    test.enrolled("a", "edge").await;
    test.claim_many("a", &[(APP, "http://app:80"), ("b.example.com", "http://ours:2")]).await;
    test.until_state("a", APP, "waiting").await;
    let plan = test.account.plan().await.unwrap();
    let words = [
        "rule `app.example.com` to `http://app:80` becomes ours, for container `app`",
        "rule `b.example.com` to `http://theirs:1` stays",
    ];
    assert_eq!(plan.waiting[0].foreign[..2], words);
    assert!(plan.changes.iter().all(|change| change.hostname == APP), "{plan:?}");
    assert!(plan.blocked[0].reason.contains("http://theirs:1"), "{plan:?}");

    let report = test.apply().await;

    test.until_state("a", APP, "published").await;
    let row = test.until_state("a", "b.example.com", "blocked").await;
    assert!(row.reason.unwrap().contains("http://theirs:1"));
    assert_eq!(report.blocked.len(), 1);
    assert!(is_there(&test.standin.config(&id).1, &other));
    assert!(test.standin.records("b.example.com").is_empty());
    test.releases("a", APP).await;
    test.standin
        .until("our adopted rule goes", |state| !is_there(&state.tunnel(&id).unwrap().config, &equal))
        .await;
    assert!(is_there(&test.standin.config(&id).1, &other));
}

#[actix_web::test]
async fn removal_takes_away_only_what_is_ours() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claim_many("a", &[(APP, "http://app:80"), ("b.example.com", "http://app:81")]).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", "b.example.com", "published").await;
    let theirs = foreign_rule("theirs.example.com");
    let mut config = test.standin.config(tunnel.as_str()).1;
    config["ingress"].as_array_mut().unwrap().insert(0, theirs.clone());
    test.standin.write_config(tunnel.as_str(), config);
    test.standin.add_record(ZONE, "CNAME", "theirs.example.com", &content(&tunnel));

    test.releases("a", APP).await;
    test.standin
        .until("the record goes", |state| !state.records.iter().any(|record| record.name == APP))
        .await;

    assert_eq!(test.standin.hostnames(tunnel.as_str()), ["b.example.com", "theirs.example.com"]);
    assert_eq!(test.standin.records("b.example.com").len(), 1);
    assert_eq!(test.standin.records("theirs.example.com").len(), 1);
    test.until_quiet().await;
    assert_eq!(test.status_of("a", APP).await, None);
}

#[actix_web::test]
async fn a_removed_agent_leaves_nothing_of_ours_behind() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    test.removes("a", &tunnel).await;
    test.standin.until("the record goes", |state| state.records.is_empty()).await;
    test.until_quiet().await;

    assert!(test.standin.hostnames(tunnel.as_str()).is_empty());
    assert_eq!(test.tunnel_status(&tunnel).await, None);
}

#[actix_web::test]
async fn a_foreign_record_blocks_only_its_own_hostname() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.standin.add_record(ZONE, "A", "taken.example.com", "192.0.2.1");

    test.claim_many("a", &[("taken.example.com", "http://app:80"), (APP, "http://app:80")]).await;
    test.until_state("a", APP, "published").await;
    let row = test.until_state("a", "taken.example.com", "blocked").await;

    assert!(row.reason.unwrap().contains("192.0.2.1"));
    assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
    let report = test.apply().await;
    assert_eq!(report.blocked.len(), 1, "apply never changes it: {report:?}");
    let records = test.standin.records("taken.example.com");
    assert_eq!((records.len(), records[0].kind.as_str()), (1, "A"));

    test.standin.state().records.retain(|record| record.name != "taken.example.com");
    test.apply().await;
    test.until_state("a", "taken.example.com", "published").await;
}

#[actix_web::test]
async fn a_record_that_leads_here_already_is_used_and_never_deleted() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    let theirs = test.standin.add_record(ZONE, "CNAME", APP, &content(&tunnel));

    test.claims("a", APP).await;
    let row = test.until_state("a", APP, "published").await;
    assert!(row.reason.unwrap().contains("never changed"));
    test.releases("a", APP).await;
    test.standin
        .until("the rule goes", |state| {
            state.tunnel(tunnel.as_str()).unwrap().config["ingress"].as_array().unwrap().len() == 1
        })
        .await;
    test.until_quiet().await;

    assert_eq!(test.standin.records(APP)[0].id, theirs);
}

#[actix_web::test]
async fn a_record_that_leads_here_past_cloudflare_blocks_its_name_until_a_person_switches_its_proxy_on() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    let theirs = test.standin.add_record(ZONE, "CNAME", APP, &content(&tunnel));
    let set_proxied = |on| test.standin.state().records.iter_mut().for_each(|record| record.proxied = on);
    set_proxied(false);

    test.claim_many("a", &[(APP, "http://app:80"), ("b.example.com", "http://app:81")]).await;
    let row = test.until_state("a", APP, "blocked").await;

    assert!(row.reason.unwrap().contains("switch its proxy on"));
    test.until_state("a", "b.example.com", "published").await;
    test.apply().await;
    let records = test.standin.records(APP);
    assert_eq!((records.len(), &records[0].id, records[0].proxied), (1, &theirs, false), "it is left alone");

    set_proxied(true);
    test.apply().await;
    test.until_state("a", APP, "published").await;
    assert_eq!(test.standin.records(APP)[0].id, theirs);
}

#[actix_web::test]
async fn a_second_writer_before_our_put_is_shown_as_a_gap() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", "first.example.com").await;
    test.until_state("a", "first.example.com", "published").await;
    test.standin.second_writer(Moment::BeforePut, foreign_rule("theirs.example.com"));

    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let status = test.until_tunnel(&tunnel, "applied").await;
    assert_eq!(status.reason.as_deref(), Some("someone wrote version 2 between our read and our write"));
    assert_eq!(status.config_version, Some(3));
}

#[actix_web::test]
async fn what_a_second_writer_wrote_after_our_put_stays() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    let theirs = foreign_rule("theirs.example.com");
    test.standin.second_writer(Moment::AfterPut, theirs.clone());
    test.claims("a", "first.example.com").await;
    test.until_state("a", "first.example.com", "published").await;

    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let (_, config) = test.standin.config(tunnel.as_str());
    assert!(is_there(&config, &theirs), "{config}");
    assert!(test.standin.hostnames(tunnel.as_str()).contains(&APP.to_owned()));
}

#[actix_web::test]
async fn a_second_writer_who_never_rests_does_not_keep_us_for_ever() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    for number in 0..30 {
        test.standin.second_writer(Moment::BeforePut, foreign_rule(&format!("theirs-{number}.example.com")));
    }

    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    assert!(test.standin.hostnames(tunnel.as_str()).contains(&APP.to_owned()));
}
