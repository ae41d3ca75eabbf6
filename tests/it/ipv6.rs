//! A master that listens on IPv6.

use serde_json::json;

use crate::pages::Browser;
use crate::support::master::TestMaster;

#[actix_web::test]
async fn an_agent_and_a_browser_reach_a_master_on_ipv6() {
    // given
    let master = TestMaster::at("[::1]:0").await;
    assert!(master.address.is_ipv6());
    // when: a host joins, is enrolled and says what it runs
    let (key, id) = master.new_agent("web-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(json!({ "type": "heartbeat" })).expect(202).await;
    master.enroll(&id, "edge-1").await;
    let commands = master.get(&format!("/api/v2/agents/{id}/commands")).key(&key).expect(200).await.json();
    assert_eq!(commands["commands"][0]["action"], "start_tunnel");
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com", "dockflare.service": "http://app:80" });
    let start =
        json!({ "type": "container_start", "container": { "id": "c1", "name": "shop", "labels": labels } });
    master.post(&events).key(&key).json(start).expect(202).await;
    master.until_services("published", |rules| rules.len() == 1 && rules[0]["status"] == "active").await;
    // then: a person signs in there and sees it, and where it comes from
    let browser = Browser::signed_in(&master).await;
    let page = browser.get(&format!("/agents/{id}")).await;
    assert!(page.status == 200 && page.text.contains("app.example.com"), "{page:?}");
    assert!(page.text.contains("::1"), "{}", page.text);
    master.stop().await;
}
