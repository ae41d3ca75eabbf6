//! Plan, drift, review and adoption as people meet them: over the API and on the pages.

use std::time::Duration;

use lightship::actors::master::MasterSettings;
use lightship::domain::publish::{ChangeMode, DriftMode, PublishSettings};
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::cloudflare::ZONE;
use crate::support::master::TestMaster;
use crate::support::until::until;

const NAME: &str = "app.example.com";

/// A host one of whose containers asks for the name; returns its tunnel.
async fn published_by_a_host(master: &TestMaster) -> String {
    let (key, id) = master.new_agent("one").await;
    let enrolled = master.enroll(&id, "edge").await;
    let labels = json!({
        "dockflare.enable": "true", "dockflare.hostname": NAME, "dockflare.service": "http://app:80",
    });
    let containers = json!([{ "id": "0123456789ab", "name": "app", "labels": labels }]);
    let report = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    enrolled["command"]["tunnel_id"].as_str().unwrap().to_owned()
}

async fn until_status(master: &TestMaster, status: &str) -> Value {
    let is = |rule: &&Value| rule["hostname"] == NAME && rule["status"] == status;
    let all = master.until_services(&format!("it is {status}"), |all| all.iter().any(|rule| is(&rule))).await;
    all.into_iter().find(|rule| is(&rule)).unwrap()
}

async fn plan(master: &TestMaster) -> Value {
    master.admin_get("/api/v3/plan").expect(200).await.json()
}

fn with_publish(publish: PublishSettings) -> MasterSettings {
    MasterSettings { publish, compare_every: Duration::from_secs(1), ..MasterSettings::default() }
}

#[actix_web::test]
async fn what_others_changed_is_in_plan_story_page_and_metrics_until_a_person_applies() {
    // given
    let publish = PublishSettings { drift: DriftMode::Show, ..PublishSettings::default() };
    let master = TestMaster::with_actors(with_publish(publish)).await;
    published_by_a_host(&master).await;
    until_status(&master, "active").await;

    // when
    for record in master.standin.state().records.iter_mut() {
        record.content = "elsewhere.example.net".into();
    }

    // then
    until_status(&master, "blocked").await;
    let shown = plan(&master).await;
    let drift = &shown["drift"][0];
    assert_eq!(
        (&drift["kind"], &drift["name"], &drift["waits"]),
        (&json!("record"), &json!(NAME), &json!(true))
    );
    let change =
        shown["changes"].as_array().unwrap().iter().find(|change| change["action"] == "restore").unwrap();
    assert_eq!(change["state"], "waits");
    let story = master.admin_get(&format!("/api/v3/explain?name={NAME}")).expect(200).await.text;
    assert!(story.contains("What others changed") && story.contains("elsewhere.example.net"), "{story}");
    let browser = Browser::signed_in(&master).await;
    let page = browser.get("/routes").await.text;
    assert!(page.contains("changed the DNS record"), "{page}");
    let metrics = master.get("/metrics").expect(200).await.text;
    assert!(metrics.contains("lightship_drift_total{kind=\"record\"}"), "{metrics}");
    let events = master.admin_get("/api/v3/events?stream=account/").expect(200).await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");

    // when
    browser.submit("/routes", "/routes/apply", &[]).await;

    // then
    until_status(&master, "active").await;
    until("nothing drifts", async || {
        plan(&master).await["drift"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    master.stop().await;
}

#[actix_web::test]
async fn reviewed_changes_are_shown_on_the_page_and_applied_there() {
    // given
    let publish = PublishSettings { changes: ChangeMode::Review, ..PublishSettings::default() };
    let master = TestMaster::with_actors(with_publish(publish)).await;
    published_by_a_host(&master).await;
    until_status(&master, "waiting").await;

    // when
    let browser = Browser::signed_in(&master).await;
    let page = browser.get("/routes").await.text;

    // then
    assert!(
        page.contains("Changes that wait for you") && page.contains("container `app` asks for it"),
        "{page}"
    );
    let shown = plan(&master).await;
    assert_eq!((&shown["review"], &shown["changes"][0]["state"]), (&json!(true), &json!("waits")));
    assert_eq!(shown["changes"][0]["action"], "add_rule");

    // when
    browser.submit("/routes", "/routes/apply", &[]).await;

    // then
    until_status(&master, "active").await;
    assert_eq!(plan(&master).await["changes"], json!([]));
    master.stop().await;
}

#[actix_web::test]
async fn a_record_of_others_is_adopted_over_the_api_or_on_the_page() {
    for is_on_the_page in [false, true] {
        // given
        let master = TestMaster::start().await;
        let tunnel = master.standin.add_tunnel("edge", "cloudflare");
        master.standin.add_record(ZONE, "CNAME", NAME, &format!("{tunnel}.cfargotunnel.com"));
        assert_eq!(published_by_a_host(&master).await, tunnel);
        until_status(&master, "active").await;
        let listed = master.admin_get("/api/v3/adopt").expect(200).await.json();
        let record =
            listed["offers"].as_array().unwrap().iter().find(|offer| offer["kind"] == "record").unwrap();
        assert_eq!(record["name"], NAME);
        let comment = |master: &TestMaster| master.standin.records(NAME)[0].comment.clone();

        // when
        for wrong in [
            json!({}),
            json!({ "names": [NAME] }),
            json!({ "yes": true }),
            json!({ "yes": true, "all": true, "kinds": ["x"] }),
        ] {
            master.admin_post("/api/v3/adopt", wrong).expect(400).await;
        }
        assert_eq!(comment(&master), None);
        if is_on_the_page {
            let browser = Browser::signed_in(&master).await;
            let page = browser.get("/routes/adopt").await.text;
            assert!(page.contains("it is deleted when its route goes"), "{page}");
            let fields = [("kind", "record"), ("name", NAME)];
            let done = browser.submit("/routes/adopt", "/routes/adopt", &fields).await;
            assert!(done.text.contains("1 thing is ours from now on"), "{}", done.text);
        } else {
            let order = json!({ "names": [NAME], "kinds": ["record"], "yes": true });
            let done = master.admin_post("/api/v3/adopt", order).expect(200).await.json();
            assert_eq!((done["taken"][0]["name"].as_str(), &done["left"]), (Some(NAME), &json!([])));
        }

        // then
        assert!(comment(&master).is_some_and(|comment| comment.starts_with("lightship:")));
        let listed = master.admin_get("/api/v3/adopt").expect(200).await.json();
        assert!(
            listed["offers"].as_array().unwrap().iter().all(|offer| offer["kind"] != "record"),
            "{listed}"
        );
        master.stop().await;
    }
}
