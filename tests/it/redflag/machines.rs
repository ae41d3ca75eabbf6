//! RedFlag's agents belong to their machines, which are known by their names.

use serde_json::json;

use super::{FlagAgent, apt, report, unlimited};
use crate::pages::Browser;

#[actix_web::test]
async fn a_machine_that_calls_itself_otherwise_waits_for_a_person() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.post("/updates", report("", json!([apt("curl", "2")])), 200).await;
    let calls_itself = |name: &str| json!({ "metadata": { "hostname": name } });
    for same in [calls_itself("WEB-1"), json!({ "cpu_cores": 4 })] {
        agent.post("/system-info", same, 200).await;
        assert_eq!(agent.seen().await["standing"], "enrolled");
    }
    let asked = master.admin_post(&agent.path("/scan"), json!({})).expect(200).await;
    assert!(asked.json()["command_id"].is_string());

    // when its configuration is used on another machine
    agent.post("/system-info", calls_itself("we<b-2"), 200).await;

    let seen = agent.seen().await;
    let problem = seen["problem"].as_str().unwrap();
    assert_eq!(seen["standing"], "pending");
    assert!(problem.contains("calls itself `we<b-2` now, and `web-1` before"), "{problem}");
    // then it is told nothing, and what it says changes nothing
    assert_eq!(agent.check_in().await, Vec::<serde_json::Value>::new());
    agent.post("/updates", report("", json!([apt("nano", "2")])), 200).await;
    assert_eq!(agent.updates("").await, [("curl".to_owned(), "pending".to_owned())]);
    let browser = Browser::signed_in(&master).await;
    let page = browser.get(&format!("/agents/{}", agent.id)).await.text;
    assert!(page.contains("Approve this machine") && !page.contains("we<b"), "{page}");

    master.admin_post(&format!("/api/v3/agents/{}/approve", agent.id), json!({})).expect(200).await;

    assert_eq!(agent.seen().await["standing"], "enrolled");
    agent.post("/system-info", calls_itself("we<b-2"), 200).await;
    assert_eq!(agent.seen().await["standing"], "enrolled");
    assert_eq!(agent.check_in().await.len(), 1, "what waited is told now");
    master.stop().await;
}

#[actix_web::test]
async fn the_page_of_a_redflag_agent_offers_what_it_can_do_and_says_what_it_cannot() {
    let master = unlimited().await;
    let browser = Browser::signed_in(&master).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let (_, own) = master.new_agent("web-2").await;
    master.enroll(&own, "edge").await;
    let (theirs, ours) = (
        browser.get(&format!("/agents/{}", agent.id)).await.text,
        browser.get(&format!("/agents/{own}")).await.text,
    );
    for form in ["/enroll\"", "/limit\"", "/redeploy\"", "/roll-key\""] {
        assert!(ours.contains(form) && !theirs.contains(form), "{form}: {theirs}");
    }
    for form in ["/rename\"", "/scan\"", "/revoke\"", "/remove\""] {
        assert!(theirs.contains(form), "{form}: {theirs}");
    }
    assert!(theirs.contains("it has no tunnel, publishes nothing"), "{theirs}");
    assert!(!ours.contains("it has no tunnel, publishes nothing"), "{ours}");
    master.stop().await;
}
