//! The DockFlare dialect: who may register and speak, and what admins do with agents and keys.

mod access;
mod agents;
mod keys;

use serde_json::{Value, json};

use crate::support::master::TestMaster;

const REGISTER: &str = "/api/v2/agents/register";

/// The event of a container that asks for `hostname`.
pub fn start_event(hostname: &str) -> Value {
    json!({ "type": "container_start", "container": {
        "id": "c".repeat(64), "name": "app", "labels": {
            "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80" } } })
}

/// An agent with one route on a tunnel in which others made a rule; returns tunnel, key and agent.
pub async fn publish_into_a_foreign_tunnel(master: &TestMaster) -> (String, String, String) {
    let tunnel = master.standin.add_tunnel("shared", "cloudflare");
    let theirs = json!({ "hostname": "theirs.example.com", "service": "http://theirs:80" });
    master.standin.write_config(&tunnel, json!({ "ingress": [theirs, { "service": "http_status:404" }] }));
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "shared").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(start_event("app.example.com")).expect(202).await;
    let waits = |rules: &[Value]| rules.len() == 1 && rules[0]["status"] == "waiting";
    master.until_services("one route that waits", waits).await;
    (tunnel, key, id)
}
