//! RedFlag's agents belong to their machines, which are known by their names.

use chrono::TimeDelta;
use lightship::clock::Clock;
use serde_json::json;

use super::{FlagAgent, REGISTER, apt, hello, report, unlimited, unlimited_on};
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
    assert!(problem.contains("calls itself `we<b-2` now, and `WEB-1` before"), "{problem}");
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

/// Long enough for an agent of RedFlag's to count as silent.
const SILENCE: TimeDelta = TimeDelta::minutes(12);

#[actix_web::test]
async fn a_machine_that_lost_its_configuration_is_the_same_agent_again() {
    let clock = Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = unlimited_on(clock.clone()).await;
    let (token_id, token) = master.make_token(2).await;
    let first = FlagAgent::join_with(&master, "web-1", &token).await;
    first.post("/updates", report("", json!([apt("curl", "2"), apt("nano", "2")])), 200).await;
    let listed = master.admin_get("/api/v1/updates?search=nano").expect(200).await.json();
    let nano = listed["updates"][0]["id"].as_str().unwrap();
    master.admin_post(&format!("/api/v1/updates/{nano}/reject"), json!({})).expect(200).await;
    let rename = format!("/api/v2/agents/{}/rename", first.id);
    master.admin_post(&rename, json!({ "display_name": "Web server" })).expect(200).await;
    clock.jump(SILENCE);

    // when it registers once more, under the name that it has
    let again = FlagAgent::join_with(&master, "WEB-1", &token).await;

    // then it is the agent that it was, with what was found and decided
    assert_eq!(again.id, first.id);
    let seen = again.seen().await;
    assert_eq!((&seen["standing"], &seen["display_name"]), (&json!("enrolled"), &json!("Web server")));
    again.post("/updates", report("", json!([apt("curl", "2"), apt("nano", "2")])), 200).await;
    assert_eq!(again.updates("").await, [("curl".to_owned(), "pending".to_owned())]);
    // and what was lost opens nothing, and one seat is enough
    master.get(&first.path("/commands")).key(&first.access).expect(401).await;
    assert_eq!(first.renew(&first.refresh, false).await.status, 401);
    assert_eq!(again.renew(&again.refresh, false).await.status, 200);
    let tokens = master.admin_get("/api/v1/admin/registration-tokens").expect(200).await.json();
    let own = tokens["tokens"].as_array().unwrap().iter().find(|one| one["id"] == json!(token_id)).unwrap();
    assert_eq!(own["seats_used"], 1);
    master.stop().await;
}

#[actix_web::test]
async fn who_may_be_another_machine_is_another_agent() {
    let clock = Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = unlimited_on(clock.clone()).await;
    let first = FlagAgent::join(&master, "web-1").await;
    // It is there.
    let second = FlagAgent::join(&master, "web-1").await;
    assert_ne!(second.id, first.id);
    assert_eq!(first.check_in().await.len(), 0);
    clock.jump(SILENCE);
    // Two of that name were.
    let third = FlagAgent::join(&master, "web-1").await;
    assert!(third.id != first.id && third.id != second.id);
    // A name that nobody had.
    let other = FlagAgent::join(&master, "web-2").await;
    clock.jump(SILENCE);
    // One whose key was revoked stays so.
    master.admin_post(&format!("/api/v3/agents/{}/revoke", other.id), json!({})).expect(200).await;
    let fresh = FlagAgent::join(&master, "web-2").await;
    assert_ne!(fresh.id, other.id);
    assert_eq!(other.seen().await["standing"], "revoked");
    // Without a good token nobody is anybody.
    clock.jump(SILENCE);
    master.post(REGISTER).key(&"0".repeat(64)).json(hello("web-2")).expect(401).await;
    assert_eq!(fresh.renew(&fresh.refresh, false).await.status, 200);
    master.stop().await;
}
