//! A fault of our own in the work for one tunnel.

use super::APP;
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
