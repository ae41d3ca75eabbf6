//! The account at Cloudflare, as far as the master knows it.

use serde_json::json;

use super::Browser;
use crate::support::cloudflare::{Fault, Trouble};
use crate::support::master::TestMaster;

#[actix_web::test]
async fn the_account_is_shown_from_what_is_known_and_nobody_is_asked() {
    // given: a DockFlare agent, of whose tunnel Cloudflare lists the connector, and one that has none
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    let tunnel = master.standin.add_tunnel("edge-1", "cloudflare");
    master.enroll(&id, "edge-1").await;
    let (_, other) = master.new_agent("web-2").await;
    master.enroll(&other, "edge-2").await;
    let event = async |event: serde_json::Value| {
        master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(event).expect(202).await;
    };
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com", "dockflare.service": "http://app:80" });
    event(json!({ "type": "container_start", "container": { "id": "c".repeat(64), "name": "app", "labels": labels } })).await;
    master
        .until_services("it is published", |rules| rules.iter().any(|rule| rule["status"] == "active"))
        .await;
    master.standin.connect(&tunnel, "its-connector", 1);
    event(json!({ "type": "tunnel_status", "container": { "name": "edge-1", "status": "running" } })).await;
    master
        .until_services("it serves by Cloudflare's list", |rules| {
            rules.iter().any(|rule| rule["serves"] == "yes")
        })
        .await;
    // when: nobody at Cloudflare answers any more
    let calls = master.standin.calls().len();
    master.standin.inject(Fault::any(Trouble::NeverAnswers).always());
    let page = browser.get("/cloudflare").await;
    // then
    assert_eq!(page.status, 200, "{}", page.text);
    for words in [
        "of 300 at once",
        "example.com",
        "all pages of the list",
        "edge-1",
        "agent web-1",
        "cloudflared 2026.8.2",
        "1 connection, in fra01 1",
        "configuration applied",
        "whether a newer one exists was not checked",
        "edge-2",
        ">connected<",
    ] {
        assert!(page.text.contains(words), "it lacks `{words}`: {}", page.text);
    }
    let narrow = browser.get("/cloudflare?find=edge-2").await.text;
    assert!(narrow.contains("edge-2") && !narrow.contains("agent web-1"), "{narrow}");
    let agent = browser.get(&format!("/agents/{id}")).await.text;
    assert!(agent.contains("Connectors of its tunnel") && agent.contains("in fra01 1"), "{agent}");
    let agent = browser.get(&format!("/agents/{other}")).await.text;
    assert!(agent.contains("list of its connectors was not read"), "{agent}");
    assert_eq!(master.standin.calls().len(), calls, "no page asks Cloudflare");
    master.standin.heal();
    master.stop().await;
}
