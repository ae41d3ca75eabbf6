//! A fault of our own in the work for one tunnel, and a disk that is full.

use lightship::actors::master::Account;
use lightship::domain::id::AgentId;

use super::{APP, foreign_config, foreign_rule};
use crate::support::account::TestAccount;

#[actix_web::test]
async fn a_panic_in_the_work_for_one_tunnel_fails_that_tunnel_and_others_are_published() {
    // given
    let test = TestAccount::start().await;
    let broken = test.enrolled("a", "edge").await;
    test.enrolled("b", "other").await;
    test.panics_over(&broken, 1_000);
    // when
    test.claims("a", APP).await;
    let row = test.until_tunnel(&broken, "failed").await;
    // then
    assert!(row.reason.unwrap().contains("internal error"));
    let route = test.until_state("a", APP, "failed").await;
    assert!(route.reason.unwrap().contains("internal error"));
    test.claims("b", "b.example.com").await;
    test.until_state("b", "b.example.com", "published").await;
}

#[actix_web::test]
async fn what_ended_in_a_panic_is_tried_again_and_leaves_nothing_behind() {
    // given
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", "first.example.com").await;
    test.until_state("a", "first.example.com", "published").await;
    test.until_quiet().await;
    test.panics_over(&tunnel, 3);
    // when
    test.claims("a", APP).await;
    test.until_tunnel(&tunnel, "failed").await;
    assert_eq!(test.status_of("a", "first.example.com").await.unwrap().state, "published");
    // then
    test.until_state("a", APP, "published").await;
    test.until_tunnel(&tunnel, "applied").await;
    assert_eq!(test.standin.records(APP).len(), 1);
}

#[actix_web::test]
async fn a_full_disk_is_named_as_such_to_whoever_waits_for_the_account() {
    // given: a tunnel that waits for a person, and one that would be written to
    let test = TestAccount::start().await;
    let id = test.standin.add_tunnel("edge", "cloudflare");
    test.standin.write_config(&id, foreign_config(&[foreign_rule("theirs.example.com")]));
    let waiting = test.enrolled("a", "edge").await;
    let other = test.enrolled("b", "other").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "waiting").await;
    test.until_quiet().await;
    // when
    test.fill_disk(true);
    test.claims("b", "b.example.com").await;
    // then
    let confirmed = test.account.confirm_tunnel(&waiting, "alice").await.unwrap_err();
    let applied = test.account.apply("alice", std::time::Duration::from_secs(20)).await.unwrap_err();
    let written = test.account.put_agent_rules(&AgentId::new("b"), &other).await.unwrap_err();
    for error in [confirmed, applied, written] {
        assert_eq!((error.status(), error.code()), (503, "storage_full"), "{error}");
    }
    // and: it goes on by itself once there is room
    test.fill_disk(false);
    test.until_state("b", "b.example.com", "published").await;
}
