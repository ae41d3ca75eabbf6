//! Agent keys: made, rolled, revoked, dropped.

use reqwest::Method;
use serde_json::{Value, json};

use super::{REGISTER, start_event};
use crate::support::master::{ADMIN, TestMaster};

#[actix_web::test]
async fn a_key_is_made_revoked_and_dropped() {
    let master = TestMaster::start().await;
    let (key_id, key) = master.make_key("web-1").await;
    let id = master.register(&key, json!({})).await;
    assert_eq!(key.len(), 43);
    let keys = master.admin_get("/api/v2/agents").expect(200).await.json()["agent_keys"].clone();
    assert_eq!((&keys[&key_id]["owner"], &keys[&key_id]["status"]), (&json!("web-1"), &json!("active")));
    assert_eq!(keys[&key_id]["bound_agent_id"], json!(id));

    let path = format!("/api/v2/agents/keys/{key_id}");
    master.ask(Method::DELETE, &path).key(ADMIN).expect(400).await;
    let revoked =
        master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": key_id })).expect(200).await.json();
    assert_eq!(revoked["affected_agents"], json!([id]));
    master.get(&format!("/api/v2/agents/{id}/commands")).key(&key).expect(401).await;
    master.post(REGISTER).key(&key).json(json!({})).expect(401).await;
    let dropped = master.ask(Method::DELETE, &path).key(ADMIN).expect(200).await.json();
    assert_eq!((&dropped["deleted_key"], &dropped["owner"]), (&json!(key_id), &json!("web-1")));
    master.ask(Method::DELETE, &path).key(ADMIN).expect(404).await;

    // By the key itself, and all at once.
    let (second_id, second) = master.make_key("web-2").await;
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key": second })).expect(200).await;
    let all = master.ask(Method::DELETE, "/api/v2/agents/keys/revoked").key(ADMIN).expect(200).await.json();
    assert_eq!((&all["deleted_count"], &all["deleted_keys"]), (&json!(1), &json!([second_id])));
    master.admin_post("/api/v2/agents/revoke-key", json!({})).expect(400).await;
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": "nope" })).expect(404).await;
    master.ask(Method::GET, "/api/v2/agents/generate-key").key(ADMIN).expect(405).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_key_is_made_with_an_empty_body_a_form_or_json() {
    let master = TestMaster::start().await;
    let path = "/api/v2/agents/generate-key";
    let owner = |answer: crate::support::asking::Answer| answer.json()["meta"]["owner"].clone();
    assert_eq!(owner(master.post(path).key(ADMIN).expect(201).await), "");
    assert_eq!(owner(master.post(path).key(ADMIN).form(&[("owner", "web 1")]).expect(201).await), "web 1");
    assert_eq!(owner(master.post(path).key(ADMIN).json(json!({ "owner": "w" })).expect(201).await), "w");
    master.post(path).key(ADMIN).json(json!({ "owner": 5 })).expect(400).await;
    master.post(path).key(ADMIN).json(json!({ "owner": "x".repeat(300) })).expect(400).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_rolled_key_overlaps_until_the_new_one_is_used() {
    let master = TestMaster::start().await;
    let (old, id) = master.new_agent("web-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");
    let rolled = master.admin_post(&format!("/api/v2/agents/{id}/roll-key"), json!({})).expect(200).await;
    assert_eq!(rolled.header("cache-control"), "no-store");
    let new = rolled.json()["new_key"].as_str().unwrap().to_owned();

    master.get(&commands).key(&old).expect(200).await;
    assert_eq!(master.register(&new, json!({ "agent_id": id })).await, id);
    master.get(&commands).key(&new).expect(200).await;
    master.get(&commands).key(&old).expect(401).await;
    master.stop().await;
}

#[actix_web::test]
async fn keys_and_agents_are_limited_to_hostnames() {
    let master = TestMaster::start().await;
    let make = |body: Value| master.admin_post("/api/v2/agents/generate-key", body);
    let patterns = json!(["*.lab.example.com", "app.example.com"]);

    let made = make(json!({ "owner": "lab", "hostname_patterns": patterns })).expect(201).await.json();
    assert_eq!(made["meta"]["hostname_patterns"], patterns);
    let form = [("hostname_patterns", "*.lab.example.com, app.example.com")];
    let by_form = master.post("/api/v2/agents/generate-key").key(ADMIN).form(&form).expect(201).await.json();
    assert_eq!(by_form["meta"]["hostname_patterns"], patterns);
    let misspelt = make(json!({ "hostname_pattern": patterns })).expect(400).await.json();
    assert!(misspelt["message"].as_str().unwrap().contains("`hostname_pattern` is not known"), "{misspelt}");
    let refused = make(json!({ "hostname_patterns": ["https://app.example.com"] })).expect(400).await.json();
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("`https://app.example.com` is no hostname pattern"), "{message}");

    let key = made["key"].as_str().unwrap();
    let id = master.register(key, json!({})).await;
    master.enroll(&id, "edge-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(key).json(start_event("other.example.com")).expect(202).await;
    let services = master.until_services("the refusal", |services| services.len() == 1).await;
    assert_eq!(
        (&services[0]["hostname"], &services[0]["status"]),
        (&json!("other.example.com"), &json!("conflict"))
    );
    assert!(services[0]["reason"].as_str().unwrap().contains("*.lab.example.com"), "{services:?}");

    let limit = format!("/api/v3/agents/{id}/limit");
    master.admin_post(&limit, json!({ "hostname_patterns": ["*.example.com"] })).expect(200).await;
    master.admin_post(&limit, json!({})).expect(400).await;
    master.post(&limit).key(key).json(json!({ "hostname_patterns": [] })).expect(401).await;
    let agents = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(agents["agents"][&id]["hostname_patterns"], json!(["*.example.com"]));
    let key_id = made["key_id"].as_str().unwrap();
    assert_eq!(agents["agent_keys"][key_id]["hostname_patterns"], patterns);
    master.stop().await;
}
