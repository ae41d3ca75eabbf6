//! Routes that are published and may lead nowhere, for the networks that their connector is on.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::master::TestMaster;

const OWN: &str = "is the connector's own localhost";

/// An agent of ours that is enrolled and reports, item by item.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
    next: Cell<u64>,
}

impl<'a> Host<'a> {
    async fn enrolled(master: &'a TestMaster) -> Self {
        let (key, id, session) = master.new_native_agent("web-1").await;
        master.enroll(&id, "edge-1").await;
        Self { master, key, id, session, next: 0.into() }
    }

    /// Its connector serves, on these networks.
    async fn connector_on(&self, networks: Value) {
        let tunnel = json!({ "health": "running", "name": "edge-1", "networks": networks });
        self.report(json!({ "kind": "tunnel", "tunnel": tunnel })).await;
    }

    async fn runs(&self, container: Value) {
        self.report(json!({ "kind": "snapshot", "containers": [container] })).await;
    }

    async fn report(&self, item: Value) {
        let first_seq = self.next.replace(self.next.get() + 1);
        let batch = json!({ "session": self.session, "first_seq": first_seq, "sent_at": "2026-11-21T21:00:00Z",
            "items": [item] });
        let asking = self.master.post(&format!("/api/v3/agents/{}/reports", self.id)).key(&self.key);
        asking.header("lightship-session", &self.session).json(batch).expect(202).await;
    }
}

/// A container that publishes `app.example.com`.
fn app(service: &str) -> Value {
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": service });
    json!({ "id": "c".repeat(64), "name": "app", "labels": labels })
}

/// A container that publishes `app.example.com`, on these networks.
fn app_on(service: &str, networks: Value) -> Value {
    let mut container = app(service);
    container["networks"] = networks;
    container
}

async fn until_published(master: &TestMaster) {
    let is_active = |rules: &[Value]| rules.iter().any(|rule| rule["status"] == "active");
    master.until_services("it is published", is_active).await;
}

/// The reason of the one route.
async fn reason(master: &TestMaster) -> Value {
    master.admin_get("/api/v3/routes").expect(200).await.json()["routes"][0]["reason"].clone()
}

#[actix_web::test]
async fn a_service_on_localhost_is_published_with_a_doubt_while_its_connector_is_not_on_the_hosts_network() {
    // given
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::enrolled(&master).await;
    host.connector_on(Value::Null).await;
    host.runs(app("http://localhost:8080")).await;
    until_published(&master).await;
    assert_eq!(reason(&master).await, Value::Null, "nobody knows where the connector is");
    // when
    host.connector_on(json!(["cloudflare-net"])).await;
    // then
    let said = reason(&master).await;
    assert!(said.as_str().is_some_and(|said| said.contains(OWN)), "{said}");
    let services = master.admin_get("/api/v2/services").expect(200).await.json();
    assert_eq!(
        (&services["services"][0]["status"], &services["services"][0]["reason"]),
        (&json!("active"), &said)
    );
    let page = format!("/agents/{}", host.id);
    for page in ["/", "/routes", &page] {
        let page = browser.get(page).await.text;
        assert!(page.contains("<code>localhost</code> is the connector&#39;s own localhost"), "{page}");
    }
    assert!(browser.get("/").await.text.contains("1 thing needs a look"));
    // and when
    host.connector_on(json!(["host"])).await;
    // then
    assert_eq!(reason(&master).await, Value::Null);
    assert!(browser.get("/").await.text.contains("All is well"));
    master.stop().await;
}

#[actix_web::test]
async fn of_a_dockflare_agent_that_tells_no_network_the_doubt_says_so_and_is_not_counted() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let says =
        |event: Value| master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(event).expect(202);
    says(json!({ "type": "tunnel_status", "tunnel": { "name": "edge-1", "status": "running" } })).await;

    says(json!({ "type": "status_report", "container": { "containers": [app("http://127.0.0.1:8080")] } }))
        .await;
    until_published(&master).await;

    let said = reason(&master).await;
    let said = said.as_str().unwrap();
    assert!(said.contains(OWN) && said.contains("unless `CLOUDFLARED_NETWORK_NAME`"), "{said}");
    let shown = browser.get("/routes").await.text;
    assert!(shown.contains("<code>127.0.0.1</code> is the connector&#39;s own localhost"), "{shown}");
    // The one thing there is that nobody could check the connector.
    let first = browser.get("/").await.text;
    assert!(first.contains("1 thing needs a look") && first.contains("not known to be reachable"), "{first}");
    master.stop().await;
}

#[actix_web::test]
async fn a_container_on_another_network_is_doubted_until_it_is_connected_and_again_when_it_is_taken_off() {
    // given
    let master = TestMaster::start().await;
    let host = Host::enrolled(&master).await;
    host.connector_on(json!(["cloudflare-net"])).await;
    host.runs(app_on("http://web:80", json!({ "bridge": [], "inner": ["web"] }))).await;
    until_published(&master).await;
    let apart = "the container is on `bridge`, `inner`; connect it to `cloudflare-net`";
    let says = async |part: &str| {
        let said = reason(&master).await;
        assert!(said.as_str().is_some_and(|said| said.contains(part)), "{said}");
    };
    says(apart).await;
    // when: it is connected, and the connector knows it by another name
    host.runs(app_on("http://web:80", json!({ "bridge": [], "inner": ["web"], "cloudflare-net": [] }))).await;
    says("does not go by `web` on network `cloudflare-net`, where the connector looks for it; name `app`")
        .await;
    // when: it goes by that name there
    host.runs(app_on("http://web:80", json!({ "bridge": [], "inner": ["web"], "cloudflare-net": ["web"] })))
        .await;
    assert_eq!(reason(&master).await, Value::Null);
    // when: it is taken off
    host.runs(app_on("http://web:80", json!({ "bridge": [], "inner": ["web"] }))).await;
    says(apart).await;
    // when: its networks are not told, or those of the connector are not
    host.runs(app("http://web:80")).await;
    assert_eq!(reason(&master).await, Value::Null);
    host.runs(app_on("http://web:80", json!({ "bridge": [], "inner": ["web"] }))).await;
    host.connector_on(Value::Null).await;
    assert_eq!(reason(&master).await, Value::Null);
    // when: it is another container that the service names
    host.connector_on(json!(["cloudflare-net"])).await;
    says(apart).await;
    host.runs(app_on("http://db:80", json!({ "inner": ["web"] }))).await;
    assert_eq!(reason(&master).await, Value::Null);
    master.stop().await;
}
