//! What others made is made ours when a person says so, and goes with its route from then on; everything else stays as it is.

use lightship::actors::master::cloudflare_account::Adopted;
use lightship::domain::adopt::Offer;
use lightship::domain::event::OwnedEvent;
use lightship::domain::id::TunnelId;
use lightship::domain::owned::OwnedKind;
use serde_json::json;

use super::access::{group, groups, guarded};
use super::{APP, content};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Op, ZONE};

const OTHER: &str = "b.example.com";

/// Kind, name and whether it can be adopted.
fn said(offers: &[Offer]) -> Vec<(OwnedKind, &str, bool)> {
    offers.iter().map(|offer| (offer.kind, offer.name.as_str(), offer.reason.is_none())).collect()
}

fn kinds(adopted: &Adopted) -> Vec<OwnedKind> {
    adopted.taken.iter().map(|offer| offer.kind).collect()
}

/// A tunnel that was there before, with records for two names that are asked for, and one that is not.
async fn with_records() -> (TestAccount, TunnelId) {
    let standin = CloudflareStandIn::start();
    let tunnel = TunnelId::new(standin.add_tunnel("edge", "cloudflare"));
    for name in [APP, OTHER, "unasked.example.com"] {
        standin.add_record(ZONE, "CNAME", name, &content(&tunnel));
    }
    let test = TestAccount::start_with(standin).await;
    assert_eq!(test.enrolled("a", "edge").await, tunnel);
    test.claim_many("a", &[(APP, "http://app:80"), (OTHER, "http://app:81")]).await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", OTHER, "published").await;
    test.until_quiet().await;
    (test, tunnel)
}

#[actix_web::test]
async fn a_record_is_adopted_by_name_and_goes_with_its_route_and_others_stay() {
    // given
    let (test, _) = with_records().await;
    let offers = test.offers().await;
    assert_eq!(
        said(&offers),
        [(OwnedKind::Tunnel, "edge", true), (OwnedKind::Record, APP, true), (OwnedKind::Record, OTHER, true)]
    );
    let others = (test.standin.records(OTHER), test.standin.records("unasked.example.com"));
    let before = test.standin.records(APP)[0].clone();

    // when
    let adopted = test.adopts(&[APP]).await;

    // then
    assert_eq!(kinds(&adopted), [OwnedKind::Record]);
    let now = test.standin.records(APP)[0].clone();
    assert_eq!(now.comment.as_deref(), Some("lightship:test"));
    assert_eq!((now.id, now.content, now.proxied), (before.id, before.content, before.proxied));
    let is_adoption = |(by, event): &(String, OwnedEvent)| {
        by == "alice"
            && matches!(event, OwnedEvent::Adopted { kind: OwnedKind::Record, name, .. } if name == APP)
    };
    assert_eq!(test.recorded().await.iter().filter(|recorded| is_adoption(recorded)).count(), 1);
    test.until_compared().await;
    test.until_state("a", APP, "published").await;

    // when
    test.releases("a", APP).await;
    test.releases("a", OTHER).await;
    test.standin.until("it is gone", |state| state.records.iter().all(|record| record.name != APP)).await;
    test.until_quiet().await;

    // then
    assert_eq!((test.standin.records(OTHER), test.standin.records("unasked.example.com")), others);
}

#[actix_web::test]
async fn a_record_that_leads_to_another_tunnel_is_led_over_without_a_gap() {
    // given
    let standin = CloudflareStandIn::start();
    let old = TunnelId::new(standin.add_tunnel("dockflare", "cloudflare"));
    let rule = json!({ "hostname": APP, "service": "http://old:1" });
    standin.write_config(old.as_str(), json!({ "ingress": [rule, { "service": "http_status:404" }] }));
    standin.add_record(ZONE, "CNAME", APP, &content(&old));
    standin.on_change(|state| match state.edge(APP, "/") {
        Edge::Reaches { .. } => Ok(()),
        other => Err(format!("nobody gets there: {other:?}")),
    });
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "blocked").await;
    test.until_quiet().await;
    let offers = test.offers().await;
    let offer = offers.iter().find(|offer| offer.kind == OwnedKind::Record).unwrap();
    assert!(offer.changes.iter().any(|change| change.contains(&content(&tunnel))), "{offer:?}");

    // when
    test.adopts(&[APP]).await;

    // then
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    assert_eq!(test.standin.records(APP)[0].content, content(&tunnel));
    assert_eq!(test.standin.config(old.as_str()).1["ingress"][0]["service"], "http://old:1", "theirs stays");
}

/// What DockFlare made for a protected route; what is asked for here is the same.
async fn with_dockflare() -> TestAccount {
    let standin = guarded(&[APP]);
    let policy = standin.add_policy(json!({
        "name": "DockFlare-AccessGroup-staff", "decision": "allow", "include": [{ "email": { "email": "ann@example.com" } }],
    }));
    standin.add_policy(json!({
        "name": "DockFlare-Default-Public-Access-Bypass", "decision": "bypass", "include": [{ "everyone": {} }],
    }));
    standin.add_policy(json!({
        "name": "somebody's own", "decision": "allow", "include": [{ "email": { "email": "eve@example.com" } }],
    }));
    standin.add_app(json!({
        "type": "self_hosted", "name": "DockFlare-app.example.com", "domain": APP, "session_duration": "12h",
        "policies": [{ "id": policy, "precedence": 1 }], "something_new": [1],
    }));
    standin.add_app(json!({
        "type": "self_hosted", "name": "DockFlare-other.example.com", "domain": "other.example.com",
        "session_duration": "12h", "policies": [{ "id": policy, "precedence": 1 }],
    }));
    let test = TestAccount::start_with(standin).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    test.until_state("a", APP, "blocked").await;
    test.until_quiet().await;
    test
}

#[actix_web::test]
async fn an_application_of_dockflare_is_adopted_whole_and_goes_with_its_route() {
    // given
    let test = with_dockflare().await;
    let (app, others) = {
        let state = test.standin.state();
        (state.access.apps[0].clone(), state.access.apps[1].clone())
    };

    // when
    let adopted = test.adopts(&[APP]).await;

    // then
    assert_eq!(kinds(&adopted), [OwnedKind::Application], "{adopted:?}");
    assert!(adopted.taken[0].changes.iter().any(|change| change.contains("session_duration")), "{adopted:?}");
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    {
        let state = test.standin.state();
        let now = state.access.apps.iter().find(|known| known.id == app.id).unwrap();
        assert_eq!(now.body["something_new"], json!([1]), "a key that nobody knows stays");
        assert_eq!(now.aud, app.aud);
        assert_eq!(state.access.apps.iter().find(|known| known.id == others.id), Some(&others));
    }
    let Edge::Reaches { behind: Some(behind), .. } = test.standin.edge(APP, "/") else {
        panic!("not behind it")
    };
    assert!(behind.policies[0].1.starts_with("Lightship-AccessGroup-staff"), "{behind:?}");

    // when
    test.releases("a", APP).await;
    test.standin.until("it is gone", |state| state.access.apps.iter().all(|known| known.id != app.id)).await;
    test.until_quiet().await;

    // then
    assert_eq!(test.standin.state().access.apps, [others]);
}

/// A host of DockFlare as it is before anybody agreed to anything: rule, record and application are DockFlare's.
async fn as_it_was() -> (TestAccount, TunnelId) {
    let standin = guarded(&[APP]);
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    standin.add_record(ZONE, "CNAME", APP, &content(&TunnelId::new(tunnel.clone())));
    let policy = standin.add_policy(json!({
        "name": "DockFlare-AccessGroup-staff", "decision": "allow", "include": [{ "email": { "email": "ann@example.com" } }],
    }));
    standin.add_app(json!({
        "type": "self_hosted", "name": "DockFlare-app.example.com", "domain": APP, "session_duration": "12h",
        "policies": [{ "id": policy, "precedence": 1 }],
    }));
    let rules = json!([{ "hostname": APP, "service": "http://app:80" }, { "service": "http_status:404" }]);
    standin.write_config(&tunnel, json!({ "ingress": rules }));
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.unwrap().contains("lightship adopt"));
    (test, tunnel)
}

fn reaches_behind(test: &TestAccount, policy: &str) -> bool {
    matches!(test.standin.edge(APP, "/"), Edge::Reaches { behind: Some(behind), .. } if behind.policies[0].1.starts_with(policy))
}

#[actix_web::test]
async fn a_host_of_dockflare_is_taken_over_without_a_gap_and_open_at_no_moment() {
    // given
    let (test, _) = as_it_was().await;
    assert!(reaches_behind(&test, "DockFlare-"));
    test.standin.on_change(|state| match state.edge(APP, "/") {
        Edge::Reaches { behind: Some(_), .. } => Ok(()),
        other => Err(format!("{APP} is not served as it was: {other:?}")),
    });
    // when
    let adopted = test.adopts(&[]).await;
    assert!(kinds(&adopted).contains(&OwnedKind::Application), "{adopted:?}");
    test.apply().await;
    // then
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    assert!(reaches_behind(&test, "Lightship-AccessGroup-staff"));
}

#[actix_web::test]
async fn who_agrees_to_the_rules_first_is_told_what_to_adopt_and_is_served_as_before_until_then() {
    // given
    let (test, _) = as_it_was().await;
    // when
    test.apply().await;
    // then
    let row = test.until_state("a", APP, "blocked").await;
    let reason = row.reason.unwrap();
    assert!(reason.contains("lightship adopt") && reason.contains("sends it to `http://app:80`"), "{reason}");
    assert!(reaches_behind(&test, "DockFlare-"));
    // when
    test.adopts(&[]).await;
    test.apply().await;
    // then
    test.until_state("a", APP, "published").await;
    assert!(reaches_behind(&test, "Lightship-AccessGroup-staff"));
}

#[actix_web::test]
async fn policies_of_dockflare_are_adopted_as_they_are_and_go_once_nothing_uses_them() {
    // given
    let test = with_dockflare().await;
    let before = test.standin.state().access.policies.clone();

    // when
    let adopted = test.adopts(&[]).await;

    // then
    let mut taken = kinds(&adopted);
    taken.sort();
    let expected = [OwnedKind::Application, OwnedKind::Policy, OwnedKind::Policy, OwnedKind::Tunnel];
    assert_eq!(taken, expected, "{adopted:?}");
    test.until_state("a", APP, "published").await;
    test.until_compared().await;
    let names = |test: &TestAccount| -> Vec<String> {
        let state = test.standin.state();
        let names =
            state.access.policies.iter().map(|policy| policy.body["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    let now = names(&test);
    assert!(now.contains(&"DockFlare-AccessGroup-staff".to_owned()), "another application uses it: {now:?}");
    assert!(now.contains(&"somebody's own".to_owned()));
    assert!(!now.contains(&"DockFlare-Default-Public-Access-Bypass".to_owned()), "{now:?}");
    let kept = test.standin.state().access.policies.iter().find(|policy| policy.id == before[0].id).cloned();
    assert_eq!(kept.as_ref(), Some(&before[0]), "as it was");

    // when
    let id = test
        .standin
        .state()
        .access
        .apps
        .iter()
        .find(|app| app.body["domain"] == "other.example.com")
        .unwrap()
        .id
        .clone();
    test.standin.state().delete_app(&id).unwrap();
    test.until_compared().await;

    // then
    let now = names(&test);
    assert!(!now.contains(&"DockFlare-AccessGroup-staff".to_owned()), "{now:?}");
    assert!(now.contains(&"somebody's own".to_owned()));
}

#[actix_web::test]
async fn what_stands_before_other_places_too_cannot_be_adopted() {
    // given
    let standin = guarded(&[APP]);
    standin.add_app(json!({
        "type": "self_hosted", "name": "two", "domain": APP, "session_duration": "12h",
        "self_hosted_domains": [APP, "other.example.com"],
    }));
    let before = standin.state().access.apps.clone();
    let test = TestAccount::start_with(standin).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    test.until_state("a", APP, "blocked").await;

    // when
    let adopted = test.adopts(&[APP]).await;

    // then
    assert_eq!(kinds(&adopted), []);
    assert!(adopted.left[0].1.contains("other.example.com"), "{adopted:?}");
    test.until_state("a", APP, "blocked").await;
    assert_eq!(test.standin.state().access.apps, before);
}

#[actix_web::test]
async fn a_tunnel_is_adopted_and_goes_once_its_agent_is_removed() {
    // given
    let (test, tunnel) = with_records().await;

    // when
    let adopted = test.adopts(&["edge"]).await;

    // then
    assert_eq!(kinds(&adopted), [OwnedKind::Tunnel]);
    assert_eq!(test.standin.calls_of(Op::DeleteTunnel).len(), 0);

    // when
    test.removes("a", &tunnel).await;
    test.until_quiet().await;
    test.interval_passes().await;

    // then
    test.standin.until("it is deleted", |state| state.tunnel(tunnel.as_str()).unwrap().is_deleted).await;
}
