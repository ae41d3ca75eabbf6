//! Cloudflare in trouble, and starts in the middle of it.

use std::time::{Duration, Instant};

use lightship::actors::master::Account;

use super::{APP, foreign_config, foreign_rule, is_there};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble};

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
async fn an_error_inside_cloudflare_that_comes_with_200_is_tried_again_soon() {
    for op in [Op::GetConfig, Op::PutConfig, Op::CreateRecord] {
        let test = TestAccount::start().await;
        test.enrolled("a", "edge").await;
        let message = "An unknown error has occurred".to_owned();
        test.standin.inject(Fault::on(op, Trouble::RefusedWith200 { code: 10013, message }));

        test.claims("a", APP).await;

        // Long before a plain refusal would be tried again.
        test.until_state("a", APP, "published").await;
    }
}

#[actix_web::test]
async fn an_apply_names_what_cloudflare_refuses() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", "old.example.com").await;
    test.until_state("a", "old.example.com", "published").await;
    test.until_quiet().await;
    test.standin.inject(Fault::on(Op::PutConfig, Trouble::ServerError).always());
    test.claims("a", APP).await;
    test.releases("a", "old.example.com").await;

    let report = test.apply().await;

    let failed: Vec<&str> = report.failed.iter().map(|one| one.hostname.as_str()).collect();
    assert_eq!((report.finished, failed), (true, vec![APP, "old.example.com"]), "{report:?}");
    assert!(report.failed.iter().all(|one| one.reason.contains("put tunnel configuration")), "{report:?}");
    test.standin.heal();
    assert_eq!(test.apply().await.failed, []);
    assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
}

#[actix_web::test]
async fn an_apply_that_takes_too_long_says_so_and_goes_on() {
    let (slow, tunnel) = (Duration::from_secs(2), "edge");
    let test = TestAccount::with_time_limit(5 * slow).await;
    let id = test.standin.add_tunnel(tunnel, "cloudflare");
    test.standin.write_config(&id, foreign_config(&[foreign_rule("theirs.example.com")]));
    test.enrolled("a", tunnel).await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "waiting").await;
    test.standin.inject(Fault::on(Op::PutConfig, Trouble::Slow(slow)));
    let started = Instant::now();

    let report = test.account.apply("alice", slow / 4).await.unwrap();

    assert!(!report.finished && started.elapsed() < slow, "{report:?} after {:?}", started.elapsed());
    test.until_state("a", APP, "published").await;
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
