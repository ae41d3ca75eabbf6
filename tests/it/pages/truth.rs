//! The one line that says how everything is, and who did what.

use serde_json::{Value, json};

use super::Browser;
use crate::support::master::{ADMIN, TestMaster};

/// An agent of ours that is enrolled and reports, item by item.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
    next: std::cell::Cell<u64>,
}

impl<'a> Host<'a> {
    async fn enrolled(master: &'a TestMaster) -> Self {
        let (key, id, session) = master.new_native_agent("web-1").await;
        master.enroll(&id, "edge-1").await;
        Self { master, key, id, session, next: 0.into() }
    }

    async fn tunnel(&self, health: &str, reason: Option<&str>) {
        let tunnel = json!({ "health": health, "name": "edge-1", "reason": reason });
        self.report(json!({ "kind": "tunnel", "tunnel": tunnel })).await;
    }

    /// A container of it publishes `app.example.com`.
    async fn publishes(&self) {
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
            "dockflare.service": "http://app:80" });
        let container = json!({ "id": "c".repeat(64), "name": "app", "labels": labels });
        self.report(json!({ "kind": "snapshot", "containers": [container] })).await;
        let is_active = |rules: &[Value]| rules.iter().any(|rule| rule["status"] == "active");
        self.master.until_services("it is published", is_active).await;
    }

    async fn report(&self, item: Value) {
        let first_seq = self.next.replace(self.next.get() + 1);
        let batch = json!({ "session": self.session, "first_seq": first_seq, "sent_at": "2026-11-21T21:00:00Z",
            "items": [item] });
        let asking = self.master.post(&format!("/api/v3/agents/{}/reports", self.id)).key(&self.key);
        asking.header("lightship-session", &self.session).json(batch).expect(202).await;
    }
}

async fn truth(browser: &Browser<'_>) -> (String, String) {
    let page = browser.get("/").await.text;
    let line = page.split("<p class=\"truth ").nth(1).unwrap().split("</p>").next().unwrap();
    (line.rsplit('>').next().unwrap().to_owned(), page)
}

#[actix_web::test]
async fn an_engine_that_is_away_on_some_host_is_not_called_well() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    assert_eq!(truth(&browser).await.0, "No agents yet. Add a host to begin.");
    let host = Host::enrolled(&master).await;
    host.tunnel("running", None).await;
    assert_eq!(truth(&browser).await.0, "All is well: 1 of 1 agent online, 0 routes live.");
    let away = "the docker engine at `unix:///var/run/docker.sock` cannot be reached";
    for (health, reason, part) in [
        ("unknown", away, "How the tunnel is, is not known: the docker engine"),
        ("degraded", "no connection to the edge", "The tunnel is degraded: no connection"),
        ("restarting", "token is not valid", "The tunnel is restarting: token"),
        ("failed", "its image is missing", "The tunnel is failed: its image"),
        ("stopped", "its state is lost", "The tunnel is stopped: its state"),
        ("running", "no space is left on its disk", "The tunnel is running: no space"),
        ("stopped", away, "The tunnel is stopped: the docker engine"),
        ("stopped", "its agent was stopped", "The tunnel is stopped: its agent was stopped"),
    ] {
        host.tunnel(health, Some(reason)).await;
        let (line, page) = truth(&browser).await;
        assert_eq!(line, "1 thing needs a look: 1 of 1 agent online, 0 routes live.", "{health}");
        assert!(page.contains(part), "{health}: {page}");
    }
    host.tunnel("stopped", None).await;
    assert_eq!(truth(&browser).await.0, "1 thing needs a look: 1 of 1 agent online, 0 routes live.");
    // On some networks nobody can ask a connector; that is no trouble.
    host.tunnel("unknown", Some("its readiness cannot be read")).await;
    assert_eq!(truth(&browser).await.0, "All is well: 1 of 1 agent online, 0 routes live.");
    master.stop().await;
}

#[actix_web::test]
async fn the_record_names_who_decided() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    let page = format!("/agents/{id}");

    let renamed = browser.submit(&page, &format!("{page}/rename"), &[("display_name", "by page")]).await;
    assert_eq!(renamed.status, 303);
    let path = format!("/api/v2/agents/{id}/rename");
    master.post(&path).key(ADMIN).json(json!({ "display_name": "by token" })).expect(200).await;

    let record = master.admin_get("/api/v3/events?limit=1000").expect(200).await.json();
    let named = |name: &str| {
        let is_it =
            |row: &&Value| row["event"]["type"] == "agent_renamed" && row["event"]["display_name"] == name;
        record["events"].as_array().unwrap().iter().find(is_it).map(|row| row["actor"].clone())
    };
    assert_eq!((named("by page"), named("by token")), (Some(json!("ann")), Some(json!("token"))), "{record}");
    master.stop().await;
}

/// The one route as the API has it, and what the first page says.
async fn route(browser: &Browser<'_>, master: &TestMaster) -> (Value, String) {
    let route = master.admin_get("/api/v3/routes").expect(200).await.json()["routes"][0].clone();
    (route, truth(browser).await.0)
}

#[actix_web::test]
async fn a_published_route_is_live_only_while_its_tunnel_serves() {
    // given: a route that is published, and a connector of which nothing was heard
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::enrolled(&master).await;
    host.publishes().await;
    let (found, line) = route(&browser, &master).await;
    assert_eq!(
        (&found["state"], &found["live"], &found["serves"]),
        (&json!("published"), &json!(false), &json!("unknown"))
    );
    assert_eq!(line, "1 thing needs a look: 1 of 1 agent online, 0 of 1 published route live.");

    // when: its agent says how it is
    for (health, reason, live, serves, part) in [
        ("running", None, true, "yes", None),
        ("degraded", None, false, "no", Some("no connection to the edge")),
        ("restarting", Some("token is not valid"), false, "no", Some("again and again: token is not valid")),
        ("failed", Some("its image is missing"), false, "no", Some("its image is missing")),
        ("running", None, true, "yes", None),
    ] {
        host.tunnel(health, reason).await;
        let (found, line) = route(&browser, &master).await;

        // then: it stays published, and says whether it is reached
        assert_eq!(
            (&found["state"], &found["live"], &found["serves"]),
            (&json!("published"), &json!(live), &json!(serves)),
            "{health}"
        );
        let said = found["serves_reason"].as_str();
        assert!(part.map_or(said.is_none(), |part| said.unwrap().contains(part)), "{health}: {found}");
        let counted = if live { "1 route live." } else { "0 of 1 published route live." };
        assert!(line.ends_with(counted), "{health}: {line}");
        let page = browser.get("/routes").await.text;
        let badge = if live { ">live<" } else { "published, not reachable" };
        assert!(page.contains(badge), "{health}: {page}");
    }
    let agents = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(agents["agents"][&host.id]["serves"], json!("yes"), "{agents}");
    master.stop().await;
}

#[actix_web::test]
async fn whether_a_dockflare_agents_tunnel_serves_is_asked_of_cloudflare() {
    // given: a route of a DockFlare agent, which knows only that its container runs
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let tunnel = master.standin.add_tunnel("edge-1", "cloudflare");
    master.enroll(&id, "edge-1").await;
    let event = async |event: Value| {
        master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(event).expect(202).await;
    };
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": "http://app:80" });
    event(json!({ "type": "container_start", "container": { "id": "c".repeat(64), "name": "app", "labels": labels } })).await;
    let is_active = |rules: &[Value]| rules.iter().any(|rule| rule["status"] == "active");
    master.until_services("it is published", is_active).await;
    master.standin.connect(&tunnel, "its-connector", 1);

    // when
    event(json!({ "type": "tunnel_status", "container": { "name": "edge-1", "status": "running" } })).await;

    // then
    let serves = |rules: &[Value]| rules.iter().any(|rule| rule["serves"] == "yes" && rule["live"] == true);
    master.until_services("it serves by Cloudflare's list", serves).await;
    master.stop().await;
}
