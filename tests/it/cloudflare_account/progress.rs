//! A long pass: what serves is said before the last call is done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble};
use crate::support::until::until;

const NAMES: [&str; 3] = ["a.example.com", "b.example.com", "c.example.com"];

async fn published(test: &TestAccount) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in NAMES {
        if test.status_of("a", name).await.is_some_and(|row| row.state == "published") {
            names.push(name);
        }
    }
    names
}

#[actix_web::test]
async fn a_route_is_published_as_soon_as_its_own_calls_are_done() {
    // Longer than anybody here waits: the call that gets no answer is under way to the end.
    let test = TestAccount::with_time_limit(Duration::from_secs(120)).await;
    test.enrolled("a", "edge").await;
    test.standin.inject(Fault::on(Op::CreateRecord, Trouble::NeverAnswers));

    test.claim_many("a", &NAMES.map(|name| (name, "http://app:80"))).await;
    until("two routes are published", async || (published(&test).await.len() == 2).then_some(())).await;

    let open = test.standin.calls_of(Op::CreateRecord).into_iter().filter(|call| call.answered.is_none());
    assert_eq!(open.count(), 1, "the pass goes on");
    assert!(test.notes.load(Ordering::Relaxed) >= 1, "who watches is told");
}

#[actix_web::test]
async fn a_route_whose_rule_failed_is_not_published_although_its_record_is_there() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    let refusal = Trouble::Refused { status: 400, code: 1056, message: "Bad Configuration".into() };
    test.standin.inject(Fault::on(Op::PutConfig, refusal).always());

    test.claim_many("a", &NAMES.map(|name| (name, "http://app:80"))).await;
    test.until_state("a", NAMES[0], "failed").await;

    assert!(published(&test).await.is_empty());
}

#[actix_web::test]
async fn many_routes_are_told_in_no_more_writes_than_there_are_names() {
    let test = TestAccount::start().await;
    test.enrolled("a", "edge").await;
    let names: Vec<String> = (0..40).map(|number| format!("app-{number}.example.com")).collect();
    let routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "http://app:80")).collect();
    let before = test.notes.load(Ordering::Relaxed);

    test.claim_many("a", &routes).await;
    for name in &names {
        test.until_state("a", name, "published").await;
    }
    test.until_quiet().await;

    let told = test.notes.load(Ordering::Relaxed) - before;
    assert!(told <= names.len(), "{told} writes for {} names", names.len());
}

#[actix_web::test]
async fn nothing_is_said_of_the_routes_of_an_agent_that_was_removed_during_a_pass() {
    // given: a pass is under way and has read who holds the route
    let test = TestAccount::with_time_limit(Duration::from_secs(1)).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", NAMES[0]).await;
    test.until_state("a", NAMES[0], "published").await;
    test.until_quiet().await;
    test.standin.inject(Fault::on(Op::CreateRecord, Trouble::NeverAnswers).after_effect());
    test.claims("a", NAMES[1]).await;
    let made = || test.standin.calls_of(Op::CreateRecord).len();
    test.standin.until("the record is on its way", |_| made() == 2).await;

    // when
    test.removes("a", &tunnel).await;
    test.standin.until("nothing of ours is left", |state| state.records.is_empty()).await;
    test.until_quiet().await;

    // then
    assert!(test.standin.hostnames(tunnel.as_str()).is_empty());
    for name in NAMES {
        assert_eq!(test.status_of("a", name).await, None, "{name}");
    }
}
