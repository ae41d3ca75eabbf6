//! Calls about zones and records.

use lightship::cloudflare::{CfError, DnsBatch};
use lightship::domain::id::RecordId;
use serde_json::json;

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

#[tokio::test]
async fn many_records_are_changed_in_one_call() {
    let setup = Setup::start();
    let add = |name: &str, to: &str| RecordId::new(setup.standin.add_record(ZONE, "CNAME", name, to));
    let gone = add("gone.example.com", "t.cfargotunnel.com");
    let moved = add("moved.example.com", "t.cfargotunnel.com");
    let noted = add("noted.example.com", "t.cfargotunnel.com");
    let batch = DnsBatch {
        deletes: vec![gone],
        patches: vec![(noted.clone(), record("noted.example.com", "t.cfargotunnel.com"))],
        puts: vec![(moved.clone(), record("moved.example.com", "u.cfargotunnel.com"))],
        // It takes the name of one that is deleted: deletes come first.
        posts: vec![
            record("gone.example.com", "u.cfargotunnel.com"),
            record("new.example.com", "u.cfargotunnel.com"),
        ],
    };

    let done = setup.client.batch_dns(&setup.zone(), &batch).await.unwrap();

    let names = |records: &[lightship::cloudflare::DnsRecord]| {
        records.iter().map(|record| record.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&done.deletes), ["gone.example.com"]);
    assert_eq!((&done.patches[0].id, done.patches[0].comment.as_deref()), (&noted, Some("ours")));
    assert_eq!((&done.puts[0].id, done.puts[0].content.as_deref()), (&moved, Some("u.cfargotunnel.com")));
    assert_eq!(names(&done.posts), ["gone.example.com", "new.example.com"]);
    assert_eq!(setup.standin.records("gone.example.com")[0].content, "u.cfargotunnel.com");
    assert_eq!(setup.standin.calls().len(), 1);
}

#[tokio::test]
async fn one_bad_change_undoes_the_whole_batch() {
    let setup = Setup::start();
    let old = RecordId::new(setup.standin.add_record(ZONE, "CNAME", "old.example.com", "t.cfargotunnel.com"));
    setup.standin.add_record(ZONE, "A", "taken.example.com", "192.0.2.1");
    let before = setup.standin.state().records.clone();
    let new = |name: &str| record(name, "t.cfargotunnel.com");
    let taken =
        DnsBatch { posts: vec![new("a.example.com"), new("taken.example.com")], ..DnsBatch::default() };
    let unknown =
        DnsBatch { puts: vec![(RecordId::new("nobody"), new("b.example.com"))], ..DnsBatch::default() };

    for (batch, is_conflict, is_gone) in [(taken, true, false), (unknown, false, true)] {
        let batch = DnsBatch { deletes: vec![old.clone()], ..batch };
        let error = setup.client.batch_dns(&setup.zone(), &batch).await.unwrap_err();
        assert_eq!((error.is_dns_conflict(), error.is_record_gone()), (is_conflict, is_gone), "{error}");
        assert_eq!(setup.standin.state().records, before);
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_or_empty_is_not_sent() {
    let setup = Setup::start();
    let posts = |count: usize| DnsBatch {
        posts: (0..count).map(|n| record(&format!("r-{n}.example.com"), "t.cfargotunnel.com")).collect(),
        ..DnsBatch::default()
    };

    let error = setup.client.batch_dns(&setup.zone(), &posts(201)).await.unwrap_err();
    assert!(
        matches!(error, CfError::TooLarge { .. }) && error.to_string().contains("201 changes"),
        "{error}"
    );
    setup.client.batch_dns(&setup.zone(), &posts(0)).await.unwrap();
    assert!(setup.standin.calls().is_empty());

    setup.client.batch_dns(&setup.zone(), &posts(200)).await.unwrap();
    assert_eq!(setup.standin.state().records.len(), 200);
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_is_uncertain() {
    let setup = Setup::start();
    let posts =
        |name: &str| DnsBatch { posts: vec![record(name, "t.cfargotunnel.com")], ..DnsBatch::default() };
    for (name, trouble) in [("a.example.com", Trouble::HalfAnswer), ("b.example.com", Trouble::ServerError)] {
        setup.standin.inject(Fault::on(Op::BatchRecords, trouble).after_effect());
        let error = setup.client.batch_dns(&setup.zone(), &posts(name)).await.unwrap_err();
        assert!(error.is_uncertain(), "{error}");
        assert_eq!(setup.standin.records(name).len(), 1, "it took effect all the same");
    }
    assert_eq!(setup.standin.calls_of(Op::BatchRecords).len(), 2, "no call was sent twice");
}

#[tokio::test]
async fn a_plan_with_smaller_batches_refuses_with_its_own_words() {
    let setup = Setup::start();
    setup.standin.state().batch_limit = Some(1);
    let record = |name: &str| record(name, "t.cfargotunnel.com");
    let batch =
        DnsBatch { posts: vec![record("a.example.com"), record("b.example.com")], ..DnsBatch::default() };

    let error = setup.client.batch_dns(&setup.zone(), &batch).await.unwrap_err();

    assert!(error.to_string().contains("at most 1 changes") && error.is_about_content(), "{error}");
    assert!(setup.standin.state().records.is_empty());
}

#[tokio::test]
async fn one_record_can_be_changed_in_part() {
    // The stand-in's own: patches of a batch and of one record are the same.
    let setup = Setup::start();
    let id = setup.standin.add_record(ZONE, "CNAME", "a.example.com", "t.cfargotunnel.com");
    let url = format!("{}/zones/{}/dns_records/{id}", setup.standin.base_url(), setup.zone());
    let body = json!({ "type": "CNAME", "name": "a.example.com", "ttl": 1, "comment": "noted" });

    let sent = reqwest::Client::builder().no_proxy().build().unwrap().patch(url).json(&body);
    assert_eq!(sent.bearer_auth(crate::support::cloudflare::TOKEN).send().await.unwrap().status(), 200);

    let record = &setup.standin.records("a.example.com")[0];
    assert_eq!(
        (record.comment.as_deref(), record.content.as_str(), record.proxied),
        (Some("noted"), "t.cfargotunnel.com", true)
    );
}
