//! An agent gets another tunnel: its names go along, and are never missing in between.

use lightship::actors::master::{Account, ChangeKind};
use lightship::domain::id::TunnelId;

use super::{APP, content, foreign_config, foreign_rule};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble, ZONE};

/// An agent with one route that is published, and nothing left to do.
async fn published(test: &TestAccount) -> TunnelId {
    let tunnel = test.enrolled("a", "edge-1").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    tunnel
}

async fn until_it_leads_to(test: &TestAccount, tunnel: &TunnelId) {
    let target = content(tunnel);
    let leads = |name: &str, to: &str| name == APP && to == target;
    test.standin
        .until("the name leads to the tunnel", |state| {
            state.records.iter().any(|record| leads(&record.name, &record.content))
        })
        .await;
    test.until_quiet().await;
}

#[actix_web::test]
async fn a_name_goes_along_to_another_tunnel_and_is_never_missing() {
    let test = TestAccount::start().await;
    let one = published(&test).await;
    let record = test.standin.records(APP)[0].id.clone();

    let two = test.moves("a", "edge-2").await;
    until_it_leads_to(&test, &two).await;

    let records = test.standin.records(APP);
    assert_eq!((records.len(), &records[0].id), (1, &record), "the record was moved");
    assert!(test.standin.calls_of(Op::DeleteRecord).is_empty());
    assert!(test.standin.hostnames(one.as_str()).is_empty());
    assert_eq!(test.standin.hostnames(two.as_str()), [APP]);
    test.until_state("a", APP, "published").await;
    assert_eq!(test.account.plan().await.unwrap().changes, []);
}

#[actix_web::test]
async fn a_move_that_fails_is_made_up_for() {
    let test = TestAccount::start().await;
    published(&test).await;
    test.standin.inject(Fault::on(Op::PutRecord, Trouble::ServerError).always());

    let two = test.moves("a", "edge-2").await;
    test.until_state("a", APP, "failed").await;
    test.standin.heal();
    until_it_leads_to(&test, &two).await;

    assert!(test.standin.calls_of(Op::DeleteRecord).is_empty());
    test.until_state("a", APP, "published").await;
}

#[actix_web::test]
async fn a_name_stays_where_it_is_while_its_new_tunnel_waits_for_a_person() {
    let test = TestAccount::start().await;
    let one = published(&test).await;
    let id = test.standin.add_tunnel("edge-2", "cloudflare");
    test.standin.write_config(&id, foreign_config(&[foreign_rule("theirs.example.com")]));

    let two = test.moves("a", "edge-2").await;
    test.until_state("a", APP, "waiting").await;
    test.until_quiet().await;

    assert_eq!(test.standin.records(APP)[0].content, content(&one));
    let plan = test.account.plan().await.unwrap();
    assert!(plan.changes.iter().any(|change| change.kind == ChangeKind::ChangeDns), "{plan:?}");
    test.apply().await;
    until_it_leads_to(&test, &two).await;
    assert!(test.standin.calls_of(Op::DeleteRecord).is_empty());
}

#[actix_web::test]
async fn a_record_of_others_that_leads_to_the_old_tunnel_is_in_the_way_of_the_new_one() {
    let test = TestAccount::start().await;
    let one = test.enrolled("a", "edge-1").await;
    test.standin.add_record(ZONE, "CNAME", APP, &content(&one));
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;

    let two = test.moves("a", "edge-2").await;

    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.unwrap().contains("points at another tunnel"));
    test.until_quiet().await;
    assert_eq!(test.standin.records(APP)[0].content, content(&one));
    assert!(test.standin.hostnames(two.as_str()).is_empty());
}
