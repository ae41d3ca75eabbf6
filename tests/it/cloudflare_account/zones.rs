//! Zones that cannot be listed, and the one by setting that stands for them.

use super::APP;
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
            true => standin.state().hides_zones = true,
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
    let calls = test.standin.calls().len();
    test.interval_passes().await;
    test.standin.until("it is compared", |_| test.standin.calls().len() > calls).await;
    test.until_quiet().await;
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
async fn zones_that_are_not_listed_any_more_take_down_nothing() {
    let refused = Trouble::Refused { status: 403, code: 9109, message: "Unauthorized to access".into() };
    for is_refused in [true, false] {
        let test = TestAccount::start().await;
        let tunnel = test.enrolled("a", "edge").await;
        let with_path = format!("{APP}/api");
        test.claim_many("a", &[(APP, "http://app:80"), (&with_path, "http://api:80")]).await;
        test.until_state("a", APP, "published").await;
        test.until_state("a", &with_path, "published").await;
        test.until_quiet().await;
        let before = test.standin.config(tunnel.as_str()).1["ingress"].as_array().unwrap().clone();

        let record = test.standin.records(APP)[0].id.clone();
        let zones = test.standin.state().zones.clone();
        let test = test
            .restart_unchecked(async |standin| match is_refused {
                true => standin.inject(Fault::on(Op::ListZones, refused.clone()).always()),
                false => standin.state().zones.clear(),
            })
            .await;
        test.claims("a", "new.example.com").await;
        test.until_state("a", "new.example.com", "blocked").await;

        let after = test.standin.config(tunnel.as_str()).1["ingress"].as_array().unwrap().clone();
        assert_eq!(after, before, "refused: {is_refused}");
        assert_eq!(test.standin.records(APP).len(), 1, "refused: {is_refused}");
        if is_refused {
            until("the reason is shown", async || {
                let row = test.status_of("a", APP).await.filter(|row| row.state == "published")?;
                row.reason.filter(|reason| reason.contains("stays as it was published"))
            })
            .await;
            test.until_quiet().await;
            let after = test.standin.config(tunnel.as_str()).1["ingress"].as_array().unwrap().clone();
            assert_eq!(after, before);
        }

        // What was refused is asked again in time, and all is as it should be.
        test.standin.heal();
        test.standin.state().zones = zones;
        test.interval_passes().await;
        test.until_state("a", "new.example.com", "published").await;
        assert_eq!(test.standin.records(APP)[0].id, record, "it was never away; refused: {is_refused}");
    }
}
