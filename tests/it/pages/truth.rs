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
        let first_seq = self.next.replace(self.next.get() + 1);
        let tunnel = json!({ "health": health, "name": "edge-1", "reason": reason });
        let batch = json!({ "session": self.session, "first_seq": first_seq, "sent_at": "2026-11-21T21:00:00Z",
            "items": [{ "kind": "tunnel", "tunnel": tunnel }] });
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
