//! What others made is adopted from the command line.

use super::Desk;
use crate::support::cloudflare::ZONE;

#[tokio::test]
async fn a_record_of_others_is_listed_adopted_and_goes_with_its_rule() {
    // given
    let desk = Desk::start();
    let tunnel = desk.standin.add_tunnel("own", "cloudflare");
    desk.standin.add_record(ZONE, "CNAME", "nas.example.com", &format!("{tunnel}.cfargotunnel.com"));
    desk.near(0, &["rules", "set", "nas.example.com", "http://10.0.0.5", "--tunnel", "own"]);
    desk.master.until_route("nas.example.com", "published").await;
    // when
    let (list, said) = desk.near(2, &["adopt", "nas.example.com"]);
    // then
    assert!(list.contains("record") && list.contains("it is deleted when its route goes"), "{list}");
    assert!(said.contains("lightship adopt --yes"), "{said}");
    assert_eq!(desk.standin.records("nas.example.com")[0].comment, None, "nothing is changed by a list");
    let (_, refused) = desk.near(1, &["adopt", "--yes"]);
    assert!(refused.contains("names"), "{refused}");
    // when
    let (taken, _) = desk.near(0, &["adopt", "--yes", "--kind", "record", "*.example.com"]);
    // then
    assert!(taken.contains("record nas.example.com"), "{taken}");
    assert!(desk.standin.records("nas.example.com")[0].comment.is_some());
    let (events, _) = desk.near(0, &["events", "--stream", "account/"]);
    assert!(events.contains("owned_adopted"), "{events}");
    // when
    desk.near(0, &["rules", "remove", "nas.example.com"]);
    // then
    desk.standin
        .until("the record is gone", |state| {
            state.records.iter().all(|record| record.name != "nas.example.com")
        })
        .await;
    let (_, said) = desk.near(0, &["plan"]);
    assert!(said.contains("nothing to change"), "{said}");
}
