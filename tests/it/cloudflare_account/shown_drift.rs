//! What others change or delete of ours is recorded once, and put right or left to a person as it is set. What protects a route
//! closes it meanwhile.

use lightship::actors::master::Account;
use lightship::actors::master::cloudflare_account::PublishSettings;
use lightship::domain::drift::DriftState;
use lightship::domain::event::OwnedEvent;
use lightship::domain::id::TunnelId;
use lightship::domain::owned::OwnedKind;
use lightship::domain::publish::{Cause, DriftMode};
use serde_json::json;

use super::access::{group, groups, published};
use super::{APP, content};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Op};

const ALL: [OwnedKind; 4] = [OwnedKind::Rule, OwnedKind::Record, OwnedKind::Application, OwnedKind::Policy];

fn shown() -> PublishSettings {
    PublishSettings { drift: DriftMode::Show, ..PublishSettings::default() }
}

/// One protected route that is published, while drift is shown.
async fn published_and_shown() -> (TestAccount, TunnelId) {
    let (test, tunnel) = published(CloudflareStandIn::start()).await;
    (test.restart_publishing(shown()).await, tunnel)
}

/// Somebody changes a thing of ours.
fn somebody_changes(test: &TestAccount, tunnel: &TunnelId, kind: OwnedKind) {
    match kind {
        OwnedKind::Rule => {
            let mut config = test.standin.config(tunnel.as_str()).1;
            for rule in
                config["ingress"].as_array_mut().unwrap().iter_mut().filter(|rule| rule["hostname"] == APP)
            {
                rule["service"] = "http://elsewhere:1".into();
            }
            test.standin.write_config(tunnel.as_str(), config);
        }
        OwnedKind::Record => {
            for record in test.standin.state().records.iter_mut().filter(|record| record.name == APP) {
                record.content = "elsewhere.example.net".into();
            }
        }
        OwnedKind::Application => {
            test.standin.state().access.apps.iter_mut().for_each(|app| {
                app.body.insert("session_duration".into(), json!("720h"));
            });
        }
        OwnedKind::Policy => {
            test.standin.state().access.policies.iter_mut().for_each(|policy| {
                policy.body.insert("include".into(), json!([{ "everyone": {} }]));
            });
        }
        OwnedKind::Tunnel => test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true,
    }
}

/// Somebody deletes a thing of ours.
fn somebody_deletes(test: &TestAccount, tunnel: &TunnelId, kind: OwnedKind) {
    match kind {
        OwnedKind::Rule => {
            let mut config = test.standin.config(tunnel.as_str()).1;
            config["ingress"].as_array_mut().unwrap().retain(|rule| rule["hostname"] != APP);
            test.standin.write_config(tunnel.as_str(), config);
        }
        OwnedKind::Record => test.standin.state().records.retain(|record| record.name != APP),
        OwnedKind::Application => test.standin.state().access.apps.clear(),
        OwnedKind::Policy => {
            let mut state = test.standin.state();
            state.access.apps.iter_mut().for_each(|app| app.links.clear());
            state.access.policies.clear();
        }
        OwnedKind::Tunnel => test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true,
    }
}

/// A visitor meets what the route is to be.
fn is_as_wanted(test: &TestAccount, tunnel: &TunnelId) -> bool {
    let leads_here =
        test.standin.records(APP).first().is_some_and(|record| record.content == content(tunnel));
    match test.standin.edge(APP, "/") {
        Edge::Reaches { service, behind: Some(behind), .. } => {
            leads_here && service == "http://app:80" && behind.policies.len() == 1 && !behind.lets_all_in
        }
        _ => false,
    }
}

#[actix_web::test]
async fn whatever_is_changed_or_deleted_is_put_right_and_recorded_once() {
    for kind in ALL {
        for do_it in [somebody_changes, somebody_deletes] {
            // given
            let (test, tunnel) = published(CloudflareStandIn::start()).await;

            // when
            do_it(&test, &tunnel, kind);
            test.until_compared().await;

            // then
            test.until_state("a", APP, "published").await;
            assert!(is_as_wanted(&test, &tunnel), "{kind}: {:?}", test.standin.edge(APP, "/"));
            let found = test.drifts().await;
            let of_kind: Vec<_> = found.iter().filter(|(of, ..)| *of == kind).collect();
            assert_eq!(of_kind.len(), 1, "{kind}: {found:?}");
            assert_eq!(of_kind[0].2, DriftState::Healing);
            let count = found.len();
            test.until_compared().await;
            assert_eq!(test.drifts().await.len(), count, "{kind}: there is no news after that");
            assert_eq!(test.account.plan().await.unwrap().drift, [], "{kind}: nothing is left");

            // when it happens again
            do_it(&test, &tunnel, kind);
            test.until_compared().await;

            // then that is news
            assert!(test.drifts().await.len() > count, "{kind}");
        }
    }
}

#[actix_web::test]
async fn what_is_recorded_says_what_it_was_and_what_it_should_be() {
    // given
    let (test, tunnel) = published(CloudflareStandIn::start()).await;

    // when
    somebody_changes(&test, &tunnel, OwnedKind::Record);
    test.until_compared().await;

    // then
    let (by, event) = test.recorded().await.pop().unwrap();
    let OwnedEvent::Drifted { name, wanted, found, tunnel_id, .. } = event else { panic!("{event:?}") };
    assert_eq!((by.as_str(), name.as_str(), &tunnel_id), ("system", APP, &tunnel));
    assert!(wanted.contains(&content(&tunnel)), "{wanted}");
    assert!(found.unwrap().contains("elsewhere.example.net"));
}

#[actix_web::test]
async fn what_is_shown_stays_until_a_person_has_it_put_right() {
    for kind in [OwnedKind::Rule, OwnedKind::Record] {
        for do_it in [somebody_changes, somebody_deletes] {
            // given
            let (test, tunnel) = published_and_shown().await;

            // when
            do_it(&test, &tunnel, kind);
            test.until_compared().await;
            let left = (test.standin.config(tunnel.as_str()).1, test.standin.records(APP));

            // then
            let row = test.until_state("a", APP, "blocked").await;
            assert_eq!(row.cause, Some(Cause::Drift), "{row:?}");
            assert!(row.reason.as_ref().unwrap().contains("apply --yes"), "{row:?}");
            let [drifted] = test.account.plan().await.unwrap().drift.try_into().unwrap();
            assert!(drifted.waits && drifted.kind == kind && drifted.name == APP, "{drifted:?}");
            for _ in 0..2 {
                test.until_compared().await;
            }
            test.claims("a", "other.example.com").await;
            test.until_state("a", "other.example.com", "published").await;
            test.until_quiet().await;
            assert_eq!(test.standin.records(APP), left.1, "{kind}");
            if kind == OwnedKind::Record {
                assert!(test.standin.hostnames(tunnel.as_str()).contains(&APP.to_owned()));
            }
            assert_eq!(test.drifts().await.len(), 1, "{kind}: told once");
            assert_eq!(test.until_state("a", APP, "blocked").await.cause, Some(Cause::Drift));
            assert!(!is_as_wanted(&test, &tunnel), "{kind}");

            // when
            test.apply().await;

            // then
            test.until_state("a", APP, "published").await;
            test.until_quiet().await;
            assert!(is_as_wanted(&test, &tunnel), "{kind}: {:?}", test.standin.edge(APP, "/"));
            assert_eq!(test.account.plan().await.unwrap().drift, []);
            let restored = test.recorded().await.into_iter().filter(|(by, event)| {
                by == "alice" && matches!(event, OwnedEvent::Restored { kind: of, .. } if *of == kind)
            });
            assert_eq!(restored.count(), 1);
        }
    }
}

#[actix_web::test]
async fn what_protects_a_route_closes_it_while_it_waits() {
    for kind in [OwnedKind::Application, OwnedKind::Policy] {
        for do_it in [somebody_changes, somebody_deletes] {
            // given
            let (test, tunnel) = published_and_shown().await;

            // when
            do_it(&test, &tunnel, kind);
            test.until_compared().await;

            // then
            test.until_state("a", APP, "blocked").await;
            let edge = test.standin.edge(APP, "/");
            assert!(!matches!(edge, Edge::Reaches { .. }), "{kind}: {edge:?}");
            let writes = test.standin.calls_of(Op::PutPolicy).len() + test.standin.calls_of(Op::PutApp).len();
            test.until_compared().await;
            test.claims("a", "other.example.com").await;
            test.until_state("a", "other.example.com", "published").await;
            test.until_quiet().await;
            let now = test.standin.calls_of(Op::PutPolicy).len() + test.standin.calls_of(Op::PutApp).len();
            assert_eq!(now, writes, "{kind}: it waits");
            assert!(!matches!(test.standin.edge(APP, "/"), Edge::Reaches { .. }), "{kind}");
            let plan = test.account.plan().await.unwrap();
            assert!(plan.drift.iter().any(|drifted| drifted.kind == kind && drifted.waits), "{plan:?}");

            // when
            test.apply().await;

            // then
            test.until_state("a", APP, "published").await;
            test.until_quiet().await;
            assert!(is_as_wanted(&test, &tunnel), "{kind}: {:?}", test.standin.edge(APP, "/"));
        }
    }
}

#[actix_web::test]
async fn what_its_maker_puts_back_by_hand_waits_no_longer() {
    // given
    let (test, tunnel) = published_and_shown().await;
    let config = test.standin.config(tunnel.as_str()).1;
    somebody_deletes(&test, &tunnel, OwnedKind::Rule);
    somebody_changes(&test, &tunnel, OwnedKind::Record);
    test.until_compared().await;
    test.until_state("a", APP, "blocked").await;

    // when
    test.standin.write_config(tunnel.as_str(), config);
    for record in test.standin.state().records.iter_mut().filter(|record| record.name == APP) {
        record.content = content(&tunnel);
    }
    test.until_compared().await;

    // then
    test.until_state("a", APP, "published").await;
    assert!(is_as_wanted(&test, &tunnel));
    assert_eq!(test.account.plan().await.unwrap().drift, []);
}

#[actix_web::test]
async fn labels_that_change_are_carried_out_over_what_is_shown() {
    // given
    let (test, tunnel) = published_and_shown().await;
    test.claims("a", "b.example.com").await;
    test.until_state("a", "b.example.com", "published").await;
    let mut config = test.standin.config(tunnel.as_str()).1;
    config["ingress"].as_array_mut().unwrap().retain(|rule| rule["hostname"] != "b.example.com");
    test.standin.write_config(tunnel.as_str(), config);
    test.until_compared().await;
    test.until_state("a", "b.example.com", "blocked").await;

    // when
    test.changes("a", "b.example.com", "http://app:99").await;

    // then
    test.until_state("a", "b.example.com", "published").await;
    test.until_quiet().await;
    assert_eq!(test.account.plan().await.unwrap().drift, []);
}

#[actix_web::test]
async fn what_answers_for_a_closed_route_is_put_right_whatever_is_set() {
    // given
    let test = TestAccount::publishing(CloudflareStandIn::start(), shown()).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.claims_protected("a", "app.example.com/admin", groups(&["nobody-made-it"])).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", "app.example.com/admin", "blocked").await;
    test.until_quiet().await;
    assert_eq!(test.standin.edge(APP, "/admin"), Edge::Status(503));

    // when
    let mut config = test.standin.config(tunnel.as_str()).1;
    config["ingress"].as_array_mut().unwrap().retain(|rule| rule["path"].is_null());
    test.standin.write_config(tunnel.as_str(), config);
    test.until_compared().await;

    // then
    assert_eq!(test.standin.edge(APP, "/admin"), Edge::Status(503));
    assert_eq!(
        test.drifts().await,
        [(OwnedKind::Rule, "app.example.com/admin".to_owned(), DriftState::Healing)]
    );
}

#[actix_web::test]
async fn a_tunnel_that_was_deleted_is_recorded_once() {
    // given
    let (test, tunnel) = published(CloudflareStandIn::start()).await;

    // when
    somebody_deletes(&test, &tunnel, OwnedKind::Tunnel);
    test.interval_passes().await;
    test.until_state("a", APP, "failed").await;
    let reads = test.standin.calls_of(Op::GetConfig).len();
    test.apply().await;
    assert!(test.standin.calls_of(Op::GetConfig).len() > reads, "it was looked at again");

    // then
    assert_eq!(test.drifts().await, [(OwnedKind::Tunnel, "edge".to_owned(), DriftState::Lost)]);
}

#[actix_web::test]
async fn a_group_that_changes_is_no_drift() {
    // given
    let (test, _) = published(CloudflareStandIn::start()).await;

    // when
    test.sets_group(group("staff", &["ann@example.com", "bob@example.com"])).await;
    test.standin
        .until("bob is in", |state| state.access.policies[0].body["include"].to_string().contains("bob"))
        .await;
    test.until_quiet().await;
    test.until_compared().await;

    // then
    assert_eq!(test.drifts().await, []);
}
