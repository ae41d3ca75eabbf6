//! The account's actor against the stand-in: what it publishes, what it leaves alone, how it comes through.

use std::time::{Duration, Instant};

use lightship::actors::master::{Account, ChangeKind, MasterError};
use lightship::domain::id::{AgentId, TunnelId};
use serde_json::{Value, json};

use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Moment, Op, Trouble, ZONE};

const APP: &str = "app.example.com";

fn foreign_rule(hostname: &str) -> Value {
    json!({ "hostname": hostname, "service": "http://theirs:1", "originRequest": { "connectTimeout": 7 } })
}

fn foreign_config(rules: &[Value]) -> Value {
    let catch_all = json!({ "service": "http_status:503" });
    let rules: Vec<Value> = rules.iter().cloned().chain([catch_all]).collect();
    json!({ "ingress": rules, "warp-routing": { "enabled": true }, "something-new": [1, 2] })
}

fn is_there(config: &Value, rule: &Value) -> bool {
    config["ingress"].as_array().unwrap().contains(rule)
}

fn content(tunnel: &TunnelId) -> String {
    format!("{tunnel}.cfargotunnel.com")
}

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

    let started = Instant::now();
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let calls = test.standin.calls().split_off(before);
    let ops: Vec<Op> = calls.iter().filter_map(|call| call.op).collect();
    let put = ops.iter().position(|op| *op == Op::PutConfig).unwrap();
    assert!(ops[..put].iter().filter(|op| **op != Op::CreateRecord).count() <= 1, "{ops:?}");
    assert_eq!(ops.len(), 3, "read, write and record: {ops:?}");
    let done = calls.iter().filter_map(|call| call.answered).max().unwrap() - started;
    assert!(done < Duration::from_millis(450), "all done after {done:?}"); // 350 on a quiet machine, as the bench shows
}

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
async fn a_tunnel_that_was_deleted_by_hand_is_named_and_its_records_can_still_go() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true;

    test.claims("a", "b.example.com").await;
    let row = test.until_state("a", "b.example.com", "failed").await;
    assert!(row.answer.unwrap().contains("Tunnel is deleted"));

    test.removes("a", &tunnel).await;
    test.apply().await;
    test.standin.until("the record goes", |state| state.records.is_empty()).await;
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

#[actix_web::test]
async fn every_fault_converges_without_doubled_records() {
    for op in [Op::GetConfig, Op::PutConfig, Op::CreateRecord] {
        for (name, trouble) in [
            ("429", Trouble::RateLimited(Some(1))),
            ("500", Trouble::ServerError),
            ("502", Trouble::BadGatewayPage),
            ("no answer", Trouble::NeverAnswers),
            ("half an answer", Trouble::HalfAnswer),
            ("refused with 200", Trouble::RefusedWith200 { code: 10001, message: "internal".into() }),
        ] {
            for is_after in [false, true] {
                let fault = Fault::on(op, trouble.clone());
                let fault = if is_after { fault.after_effect() } else { fault };
                comes_through(&format!("{op:?} {name} after effect {is_after}"), fault).await;
            }
        }
    }
}

/// Publishes, changes and withdraws routes through a fault.
async fn comes_through(what: &str, fault: Fault) {
    let test = TestAccount::with_time_limit(Duration::from_millis(400)).await;
    let tunnel = test.enrolled("a", "edge").await;
    let theirs = foreign_rule("theirs.example.com");
    test.claims("a", "first.example.com").await;
    test.until_state("a", "first.example.com", "published").await;
    let mut config = test.standin.config(tunnel.as_str()).1;
    config["ingress"].as_array_mut().unwrap().insert(0, theirs.clone());
    test.standin.write_config(tunnel.as_str(), config);
    test.standin.inject(fault);

    test.claims("a", APP).await;
    // A plain refusal waits for a person; everything else heals by itself.
    if what.contains("refused with 200") {
        test.until_state("a", APP, "failed").await;
        test.apply().await;
    }
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;

    let mut names = test.standin.hostnames(tunnel.as_str());
    names.sort();
    assert_eq!(names, [APP, "first.example.com", "theirs.example.com"], "{what}");
    assert_eq!(test.standin.records(APP).len(), 1, "{what}");
    assert!(is_there(&test.standin.config(tunnel.as_str()).1, &theirs), "{what}");
    let records = lightship::db::cloudflare::list_dns_records(&test.db, &tunnel).await.unwrap();
    assert!(records.iter().all(|row| row.record_id.is_some()), "{what}: {records:?}");
}

#[actix_web::test]
async fn retry_after_is_honoured() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.standin.inject(Fault::on(Op::GetConfig, Trouble::RateLimited(Some(3))));

    test.claims("a", APP).await;
    let row = test.until_state("a", APP, "failed").await;
    assert!(row.answer.unwrap().contains("rate limit"));
    test.until_state("a", APP, "published").await;

    let calls = test.standin.calls();
    let limited = calls.iter().position(|call| call.status == Some(429)).unwrap();
    let waited = calls[limited + 1].arrived - calls[limited].arrived;
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
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
async fn a_hostname_outside_every_zone_is_refused_until_there_is_one() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;

    test.claim_many("a", &[("app.example.net", "http://app:80"), (APP, "http://app:80")]).await;
    test.until_state("a", APP, "published").await;
    let row = test.until_state("a", "app.example.net", "blocked").await;

    assert!(row.reason.unwrap().contains("example.com"));
}

#[actix_web::test]
async fn after_a_restart_each_tunnel_is_compared_once_and_healed() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claim_many("a", &[(APP, "http://app:80"), ("b.example.com", "http://app:81")]).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", "b.example.com", "published").await;

    let test = test
        .restart_after(async |standin| {
            standin.write_config(tunnel.as_str(), foreign_config(&[foreign_rule("theirs.example.com")]));
            standin.state().records.retain(|record| record.name != APP);
        })
        .await;
    test.until_quiet().await;

    let mut names = test.standin.hostnames(tunnel.as_str());
    names.sort();
    assert_eq!(names, [APP, "b.example.com", "theirs.example.com"]);
    assert_eq!(test.standin.records(APP).len(), 1);

    let test = test.restart().await;
    let puts = test.standin.calls_of(Op::PutConfig).len();
    let test = test.restart().await;
    assert_eq!(test.standin.calls_of(Op::PutConfig).len(), puts, "a comparison alone writes nothing");
}

#[actix_web::test]
async fn a_change_that_was_left_undone_is_made_up_for_after_a_restart() {
    let test = TestAccount::with_time_limit(Duration::from_millis(300)).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.standin.inject(Fault::on(Op::CreateRecord, Trouble::NeverAnswers).after_effect().always());
    test.standin.inject(Fault::on(Op::ListRecords, Trouble::ServerError).always());
    test.claims("a", APP).await;
    test.standin.until("the record is made", |state| state.records.len() == 1).await;

    let test = test.restart_after(async |standin| standin.heal()).await;
    test.until_state("a", APP, "published").await;

    assert_eq!(test.standin.records(APP).len(), 1);
    assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
    test.releases("a", APP).await;
    test.standin.until("it is known to be ours and goes", |state| state.records.is_empty()).await;
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
async fn what_was_published_is_said_so_while_cloudflare_is_away_after_a_restart() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;

    let away = Fault::any(Trouble::ServerError).always();
    let test = test.restart_unchecked(async |standin| standin.inject(away)).await;
    test.claims("a", "b.example.com").await;
    test.until_state("a", "b.example.com", "failed").await;

    assert_eq!(test.status_of("a", APP).await.unwrap().state, "published");
    test.standin.heal();
    test.until_state("a", "b.example.com", "published").await;
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
async fn a_tunnel_that_cannot_be_ours_is_refused() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    test.standin.add_tunnel("hand-made", "local");
    let limit = Duration::from_secs(10);
    let other = AgentId::new("b");

    let taken = test.account.provide_tunnel_for("edge", Some(&other), limit).await.unwrap_err();
    let local = test.account.provide_tunnel("hand-made", limit).await.unwrap_err();
    test.standin.inject(Fault::on(
        Op::ListTunnels,
        Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() },
    ));
    let refused = test.account.provide_tunnel("new", limit).await.unwrap_err();

    assert!(matches!(taken, MasterError::TunnelTaken { ref by } if *by == AgentId::new("a")), "{taken}");
    assert!(matches!(local, MasterError::TunnelIsLocal(_)), "{local}");
    assert!(matches!(&refused, MasterError::Cloudflare(words) if words.contains("Authentication error")));
}

#[actix_web::test]
async fn a_tunnel_is_never_made_twice() {
    let test = TestAccount::with_time_limit(Duration::from_millis(300)).await;
    let limit = Duration::from_secs(10);
    test.standin.inject(Fault::on(Op::CreateTunnel, Trouble::NeverAnswers).after_effect());

    let found = test.account.provide_tunnel("edge", limit).await.unwrap();
    let again = test.account.provide_tunnel("edge", limit).await.unwrap();

    assert_eq!(found.tunnel_id, again.tunnel_id);
    assert_eq!(test.standin.calls_of(Op::CreateTunnel).len(), 1);
}

#[actix_web::test]
async fn many_tunnels_are_published_side_by_side() {
    let test = TestAccount::start().await;
    for number in 0..12 {
        test.enrolled(&format!("agent-{number}"), &format!("edge-{number}")).await;
    }
    test.standin.set_latency(Duration::from_millis(100));
    let started = Instant::now();

    for number in 0..12 {
        test.claims(&format!("agent-{number}"), &format!("app-{number}.example.com")).await;
    }
    for number in 0..12 {
        test.until_state(&format!("agent-{number}"), &format!("app-{number}.example.com"), "published").await;
    }

    let took = started.elapsed();
    assert!(took < Duration::from_millis(1500), "one after the other would take 2.4 s: {took:?}");
}
