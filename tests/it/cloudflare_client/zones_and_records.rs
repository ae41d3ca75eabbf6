//! Calls about zones and records.

use super::{Setup, record};
use crate::support::cloudflare::{Fault, Op, Trouble, ZONE};

#[tokio::test]
async fn all_pages_of_zones_are_read_whatever_the_total_says() {
    let setup = Setup::start();
    (0..119).for_each(|n| drop(setup.standin.add_zone(&format!("zone-{n}.example"))));

    for total in [None, Some(1), Some(100_000)] {
        if let Some(total) = total {
            setup.standin.inject(Fault::on(Op::ListZones, Trouble::WrongTotal(total)).times(3));
        }
        let zones = setup.client.list_zones().await.unwrap();
        assert_eq!((zones.len(), zones[119].name.as_str()), (120, "zone-118.example"));
    }
    assert_eq!(setup.standin.calls_of(Op::ListZones).len(), 9);
}

#[tokio::test]
async fn records_are_made_found_replaced_and_deleted() {
    let setup = Setup::start();
    let zone = setup.zone();

    let made =
        setup.client.create_dns(&zone, &record("app.example.com", "t.cfargotunnel.com")).await.unwrap();
    assert_eq!(setup.client.list_dns(&zone, "APP.example.com").await.unwrap(), std::slice::from_ref(&made));
    assert_eq!((made.proxied, made.comment.as_deref()), (Some(true), Some("ours")));
    let moved = setup.client.put_dns(&zone, &made.id, &record("app.example.com", "u.cfargotunnel.com")).await;
    assert_eq!(moved.unwrap().content.as_deref(), Some("u.cfargotunnel.com"));
    setup.client.delete_dns(&zone, &made.id).await.unwrap();
    setup.client.delete_dns(&zone, &made.id).await.expect("gone already is no error");
    assert!(setup.standin.records("app.example.com").is_empty());
}

#[tokio::test]
async fn records_of_other_names_are_left_out_even_if_cloudflare_sends_them() {
    let setup = Setup::start();
    setup.standin.state().has_loose_name_filter = true;
    setup.standin.add_record(ZONE, "A", "my-app.example.com", "192.0.2.1");

    assert_eq!(setup.client.list_dns(&setup.zone(), "app.example.com").await.unwrap(), []);
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let setup = Setup::start();
    setup.standin.add_record(ZONE, "A", "a.example.com", "192.0.2.1");
    setup.standin.add_record(ZONE, "CNAME", "c.example.com", "t.cfargotunnel.com");
    setup.standin.add_record(ZONE, "CNAME", "d.example.com", "elsewhere.example.net");

    for (name, code) in [("a.example.com", 81053), ("c.example.com", 81057), ("d.example.com", 81054)] {
        let error =
            setup.client.create_dns(&setup.zone(), &record(name, "t.cfargotunnel.com")).await.unwrap_err();
        assert!(error.is_dns_conflict() && error.to_string().contains(&code.to_string()), "{name}: {error}");
    }
}
