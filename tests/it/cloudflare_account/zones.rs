//! Zones that cannot be listed, and the one by setting that stands for them.

use lightship::actors::master::Account;
use lightship::db::cloudflare::RouteStatusRow;
use lightship::db::events;
use lightship::domain::event::{Event, Stream, TunnelEvent};
use lightship::domain::hostname::parse_hostname;
use lightship::domain::id::TunnelId;

use super::{APP, content};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Fault, Op, Trouble, ZONE};
use crate::support::until::until;

const OUTSIDE: &str = "app.example.net";

fn denied() -> Trouble {
    Trouble::Refused { status: 403, code: 9109, message: "Unauthorized to access".into() }
}

#[actix_web::test]
async fn a_hostname_outside_the_zone_by_setting_is_refused() {
    for is_list_empty in [true, false] {
        let standin = CloudflareStandIn::start();
        match is_list_empty {
            true => standin.state().hidden_zones = vec![ZONE.into()],
            false => standin.inject(Fault::on(Op::ListZones, denied()).always()),
        }
        let test = TestAccount::with_zone_by_setting(standin).await;
        let tunnel = test.enrolled("a", "edge").await;

        test.claim_many("a", &[(OUTSIDE, "http://app:80"), (APP, "http://app:80")]).await;
        test.until_state("a", APP, "published").await;
        let row = test.until_state("a", OUTSIDE, "blocked").await;

        assert!(row.reason.unwrap().contains("is not in zone `example.com`"));
        assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
        assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 1, "list empty: {is_list_empty}");
        assert_eq!(test.standin.calls_of(Op::GetZone).len(), 1, "list empty: {is_list_empty}");
    }
}

#[actix_web::test]
async fn a_record_that_got_another_name_is_taken_away_again_and_not_made_twice() {
    for stays_at_first in [true, false] {
        gets_another_name(stays_at_first).await;
    }
}

async fn gets_another_name(stays_at_first: bool) {
    let standin = CloudflareStandIn::start();
    for op in [Op::ListZones, Op::GetZone] {
        standin.inject(Fault::on(op, denied()).always());
    }
    let test = TestAccount::with_zone_by_setting(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    if stays_at_first {
        test.standin.inject(Fault::on(Op::DeleteRecord, Trouble::ServerError));
    }

    test.claim_many("a", &[(OUTSIDE, "http://app:80"), (APP, "http://app:80")]).await;
    test.until_state("a", APP, "published").await;
    let row = test.until_state("a", OUTSIDE, "blocked").await;
    test.until_quiet().await;

    assert!(row.reason.unwrap().contains("is not in zone `example.com`"));
    assert_eq!(test.standin.hostnames(tunnel.as_str()), [APP]);
    let left = |test: &TestAccount| test.standin.state().records.iter().filter(|r| r.name != APP).count();
    assert_eq!(left(&test), usize::from(stays_at_first));
    let made = test.standin.calls_of(Op::CreateRecord).len();
    test.until_compared().await;
    assert_eq!((left(&test), test.standin.calls_of(Op::CreateRecord).len()), (0, made));
    assert_eq!(test.standin.records(APP).len(), 1);
}

#[actix_web::test]
async fn what_is_published_in_another_zone_stays_there_while_zones_cannot_be_listed() {
    for is_name_known in [true, false] {
        let standin = CloudflareStandIn::start();
        standin.add_zone("example.net");
        let test = TestAccount::with_zone_by_setting(standin).await;
        test.enrolled("a", "edge").await;
        test.claim_many("a", &[(OUTSIDE, "http://app:80"), (APP, "http://app:80")]).await;
        test.until_state("a", APP, "published").await;
        test.until_state("a", OUTSIDE, "published").await;
        test.until_quiet().await;
        let before = test.standin.state().records.clone();

        let test = test
            .restart_after(async |standin| {
                standin.inject(Fault::on(Op::ListZones, denied()).always());
                if !is_name_known {
                    standin.inject(Fault::on(Op::GetZone, denied()).always());
                }
            })
            .await;

        assert_eq!(test.standin.state().records, before, "name known: {is_name_known}");
        for hostname in [APP, OUTSIDE] {
            assert_eq!(test.status_of("a", hostname).await.unwrap().state, "published", "{hostname}");
        }
    }
}

#[actix_web::test]
async fn a_name_that_a_record_of_others_leads_here_stays_published_when_its_zone_is_not_listed_any_more() {
    // given
    let standin = CloudflareStandIn::start();
    standin.add_zone("example.net");
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.standin.add_record("example.net", "CNAME", OUTSIDE, &content(&tunnel));
    test.claim_many("a", &[(OUTSIDE, "http://app:80"), (APP, "http://app:80")]).await;
    for name in [APP, OUTSIDE] {
        test.until_state("a", name, "published").await;
    }
    // when
    let hide = async |standin: &CloudflareStandIn| standin.state().hidden_zones = vec!["example.net".into()];
    let test = test.restart_after(hide).await;
    test.interval_passes().await;
    test.claims("a", "new.example.com").await;
    test.until_state("a", "new.example.com", "published").await;
    test.until_quiet().await;
    // then
    let row = test.until_state("a", OUTSIDE, "published").await;
    assert!(row.reason.unwrap().contains("stays as it was published"));
    assert!(test.standin.hostnames(tunnel.as_str()).contains(&OUTSIDE.to_owned()));
    assert_eq!(test.standin.records(OUTSIDE).len(), 1);
}

/// What becomes of the list of zones.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Refused,
    ServerError,
    Empty,
    Shorter,
    /// The token may no longer do anything in any zone.
    Gone,
}

impl Loss {
    fn happen(self, standin: &CloudflareStandIn) {
        match self {
            Self::Refused => standin.inject(Fault::on(Op::ListZones, denied()).always()),
            Self::ServerError => standin.inject(Fault::on(Op::ListZones, Trouble::ServerError).always()),
            Self::Empty => standin.state().hidden_zones = vec![ZONE.into(), "example.net".into()],
            Self::Shorter => standin.state().hidden_zones = vec![ZONE.into()],
            Self::Gone => standin.state().zones.clear(),
        }
    }

    /// What is said of a route that is new meanwhile.
    fn word(self) -> &'static str {
        if self == Self::ServerError { "failed" } else { "blocked" }
    }
}

#[actix_web::test]
async fn zones_that_are_not_listed_any_more_take_down_nothing() {
    for loss in [Loss::Refused, Loss::ServerError, Loss::Empty, Loss::Shorter, Loss::Gone] {
        takes_down_nothing(loss).await;
    }
}

async fn takes_down_nothing(loss: Loss) {
    let standin = CloudflareStandIn::start();
    standin.add_zone("example.net");
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    let with_path = format!("{APP}/api");
    let routes: [(&str, &str); 3] =
        [(APP, "http://app:80"), (&with_path, "http://api:80"), (OUTSIDE, "http://app:80")];
    test.claim_many("a", &routes).await;
    for (name, _) in routes {
        test.until_state("a", name, "published").await;
    }
    test.until_quiet().await;
    let rules = |test: &TestAccount| test.standin.config(tunnel.as_str()).1["ingress"].clone();
    let (before, records) = (rules(&test), test.standin.state().records.clone());
    let zones = test.standin.state().zones.clone();

    let test = test.restart_unchecked(async |standin| loss.happen(standin)).await;
    test.claims("a", "new.example.com").await;
    test.until_state("a", "new.example.com", loss.word()).await;
    if ![Loss::ServerError, Loss::Gone].contains(&loss) {
        let stays = |row: &RouteStatusRow| {
            row.reason.as_ref().is_some_and(|reason| reason.contains("stays as it was published"))
        };
        until("the reason is shown", async || test.status_of("a", APP).await.filter(stays)).await;
        test.until_quiet().await;
    }

    assert_eq!((rules(&test), test.standin.state().records.clone()), (before, records.clone()), "{loss:?}");
    if loss != Loss::Gone {
        for (name, _) in routes {
            assert_eq!(test.status_of("a", name).await.unwrap().state, "published", "{name} {loss:?}");
        }
    }

    // What was refused is asked again in time, and all is as it should be.
    test.standin.heal();
    test.standin.state().hidden_zones.clear();
    test.standin.state().zones = zones;
    test.interval_passes().await;
    test.until_state("a", "new.example.com", "published").await;
    for record in &records {
        assert_eq!(test.standin.records(&record.name)[0].id, record.id, "it was never away: {loss:?}");
    }
}

#[actix_web::test]
async fn a_record_in_a_zone_that_left_the_account_is_given_up_once() {
    // given
    let standin = CloudflareStandIn::start();
    standin.add_zone("example.net");
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claim_many("a", &[(APP, "http://app:80"), (OUTSIDE, "http://app:80")]).await;
    for name in [APP, OUTSIDE] {
        test.until_state("a", name, "published").await;
    }
    test.until_quiet().await;
    test.standin.state().zones.retain(|zone| zone.name == ZONE);
    test.standin.state().records.retain(|record| record.name == APP);

    // when: a failed list says nothing about the zone
    let test = test
        .restart_unchecked(async |standin| {
            standin.inject(Fault::on(Op::ListZones, denied()).always());
        })
        .await;
    test.releases("a", OUTSIDE).await;
    test.until_tunnel(&tunnel, "failed").await;
    assert!(given_up(&test, &tunnel).await.is_empty());
    let test = test.restart_after(async |standin| standin.heal()).await;

    // then: a whole list without it does
    test.until_tunnel(&tunnel, "applied").await;
    assert_eq!(given_up(&test, &tunnel).await, [OUTSIDE]);
    assert!(test.account.plan().await.unwrap().changes.is_empty());
    assert!(test.apply().await.failed.is_empty());
    assert_eq!(given_up(&test, &tunnel).await.len(), 1, "said once");
    assert_eq!(test.standin.records(APP).len(), 1);
}

async fn given_up(test: &TestAccount, tunnel: &TunnelId) -> Vec<String> {
    let events = events::list_stream(&test.db, &Stream::tunnel(tunnel), 0, 100).await.unwrap();
    let names = events.into_iter().filter_map(|row| match row.event {
        Event::Tunnel(TunnelEvent::RecordForgotten { name, .. }) => Some(name),
        _ => None,
    });
    names.collect()
}

/// The record of `bücher.example` as DNS has it.
const BOOKS: &str = "app.xn--bcher-kva.example";

#[actix_web::test]
async fn a_zone_in_another_script_is_one_zone_however_it_is_written() {
    // given: zones are listed as people write them, and records are answered in either spelling
    for answers_in_script in [false, true] {
        let standin = CloudflareStandIn::start();
        standin.add_zone("bücher.example");
        standin.state().answers_in_script = answers_in_script;
        let test = TestAccount::start_with(standin).await;
        let tunnel = test.enrolled("a", "edge").await;

        // when
        test.claims("a", BOOKS).await;

        // then: one record, also after a comparison with what is there
        test.until_state("a", BOOKS, "published").await;
        test.until_quiet().await;
        let test = test.restart().await;
        test.until_state("a", BOOKS, "published").await;
        let records = test.standin.records(BOOKS);
        assert_eq!((records.len(), records[0].content.clone()), (1, content(&tunnel)));
        assert_eq!(test.standin.calls_of(Op::CreateRecord).len(), 1, "in script: {answers_in_script}");
    }
}

#[actix_web::test]
async fn a_zone_in_another_script_is_found_by_either_spelling_of_its_label() {
    let standin = CloudflareStandIn::start();
    standin.add_zone("bücher.example");
    let test = TestAccount::start_with(standin).await;
    test.enrolled("a", "edge").await;
    for (hostname, zone) in
        [("shop.bücher.example", "bücher.example"), ("app.xn--bcher-kva.example", "xn--bcher-kva.example")]
    {
        let hostname = parse_hostname(hostname).unwrap();
        let zone = parse_hostname(zone).unwrap();
        test.claims_in_zone("a", &hostname, &zone).await;
        test.until_state("a", &hostname, "published").await;
    }
}
