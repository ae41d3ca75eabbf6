//! A known agent that speaks from another machine: it waits for a person, who is told why.

use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::master::TestMaster;

/// An agent of ours, as it reports.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
}

impl Host<'_> {
    async fn say(&self, seq: u64, items: Value) {
        let batch = json!({ "session": self.session, "first_seq": seq, "sent_at": null, "items": items });
        let path = format!("/api/v3/agents/{}/reports", self.id);
        let asking = self.master.post(&path).key(&self.key).header("lightship-session", &self.session);
        asking.json(batch).expect(202).await;
    }

    async fn commands(&self) -> Vec<Value> {
        let path = format!("/api/v3/agents/{}/commands?wait=0", self.id);
        let asking = self.master.get(&path).key(&self.key).header("lightship-session", &self.session);
        asking.expect(200).await.json()["commands"].as_array().unwrap().clone()
    }
}

impl Host<'_> {
    /// What the master says of an image, as text.
    async fn asked_of_an_image(&self) -> String {
        let ask = json!({ "registry": "docker.io", "repository": "library/nginx", "tag": "1", "known": [],
            "platform": { "os": "linux", "architecture": "amd64" }, "wants_content": true, "wants_tags": false });
        let path = format!("/api/v3/agents/{}/images", self.id);
        let asking = self.master.post(&path).key(&self.key).header("lightship-session", &self.session);
        asking.json(json!({ "asks": [ask] })).expect(200).await.text
    }
}

#[actix_web::test]
async fn a_replaced_host_is_served_nothing_until_a_person_approves_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id, session) = master.new_native_agent("web-1").await;
    let host = Host { master: &master, key, id: id.clone(), session };
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": "http://app:80" });
    let app = json!({ "id": "c1", "name": "app", "labels": labels });
    let machine = |id: &str| json!({ "kind": "host", "host": { "machine_id": id, "hostname": "web-1" } });
    host.say(0, json!([{ "kind": "snapshot", "containers": [app] }, machine("aaaa")])).await;
    master.enroll(&id, "edge").await;
    let is_live = |services: &[Value]| services.iter().any(|one| one["hostname"] == "app.example.com");
    master.until_services("the name is published", is_live).await;

    // when the same identity tells of another machine
    host.say(2, json!([machine("bbbb")])).await;

    // then the list, the page and the record say so
    let seen = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!(seen["status"], "pending");
    let problem = seen["problem"].as_str().unwrap();
    assert_eq!(
        problem,
        "reports from another machine than before: approve it if the host was replaced, or give it an identity of its own"
    );
    let page = browser.get(&format!("/agents/{id}")).await.text;
    let problem = problem.strip_prefix('r').unwrap();
    assert!(page.contains(problem) && page.contains("Approve this machine"), "{page}");
    let overview = browser.get("/").await.text;
    assert!(overview.contains(problem) && !overview.contains("A new agent waits"), "{overview}");
    let events = master.admin_get(&format!("/api/v3/events?stream=agent/{id}")).expect(200).await.text;
    assert!(events.contains("agent_machine_changed") && events.contains("machine_id"), "{events}");
    // and its tunnel's token is not handed over, while its name stays
    assert_eq!(host.commands().await, Vec::<Value>::new());
    assert!(host.asked_of_an_image().await.contains("waits for a person"));
    let routes = master.admin_get("/api/v3/routes").expect(200).await.text;
    assert!(routes.contains("app.example.com"), "{routes}");

    // when a person approves it
    assert_eq!(
        browser.submit(&format!("/agents/{id}"), &format!("/agents/{id}/approve"), &[]).await.status,
        303
    );

    let seen = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!((&seen["status"], &seen["problem"]), (&json!("enrolled"), &Value::Null));
    assert_eq!(host.commands().await[0]["action"], "start_tunnel");
    assert!(!host.asked_of_an_image().await.contains("waits for a person"));
    host.say(3, json!([machine("bbbb")])).await;
    let seen = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(seen["agents"][&id]["status"], "enrolled");
    master.stop().await;
}
