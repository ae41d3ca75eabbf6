//! An agent made of bare requests, as a DockFlare agent makes them.

use serde_json::{Value, json};

use crate::support::ship::Ship;

pub struct RawClient {
    http: reqwest::Client,
    base: String,
    key: String,
    pub id: String,
}

impl RawClient {
    /// Registers with a key of its own; pending.
    pub async fn register(master: &Ship, id: &str) -> Self {
        Self::register_with(master, id, master.new_key().await).await
    }

    /// Registers with this key; pending.
    pub async fn register_with(master: &Ship, id: &str, key: String) -> Self {
        let client = Self::with_key(master, id, key);
        let body = json!({ "agent_id": id, "display_name": format!("raw {id}"), "version": "1.0" });
        let (status, answer) = client.post("register", body).await;
        assert_eq!((status, &answer["agent_id"]), (201, &json!(id)), "{answer}");
        client
    }

    /// Has said nothing yet.
    pub fn with_key(master: &Ship, id: &str, key: String) -> Self {
        let base = format!("{}/api/v2/agents", master.url());
        Self { http: reqwest::Client::new(), base, key, id: id.to_owned() }
    }

    /// Registers and is given a tunnel.
    pub async fn enrolled(master: &Ship, id: &str, tunnel: &str) -> Self {
        let client = Self::register(master, id).await;
        let path = format!("/api/v2/agents/{id}/enroll");
        let (status, answer) = master.post(&path, json!({ "tunnel_name": tunnel })).await;
        assert_eq!(status, 200, "{answer}");
        client
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/{path}", self.base)).bearer_auth(&self.key).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Sends an event and asserts that it was taken.
    pub async fn event(&self, event: Value) {
        let (status, answer) = self.post(&format!("{}/events", self.id), event).await;
        assert_eq!((status, &answer["status"]), (202, &json!("success")), "{answer}");
    }

    /// Reports everything that runs: container names with their hostnames.
    pub async fn status_report(&self, containers: &[(String, String)]) {
        let list: Vec<Value> = containers.iter().map(|(name, host)| container(name, host)).collect();
        self.event(json!({ "type": "status_report", "container": { "containers": list } })).await;
    }

    /// Fetches and empties the queue.
    pub async fn commands(&self) -> Vec<Value> {
        let request = self.http.get(format!("{}/{}/commands", self.base, self.id)).bearer_auth(&self.key);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["commands"].as_array().cloned().unwrap_or_else(|| panic!("{answer}"))
    }
}

/// A container in the shape that a DockFlare agent reports; `address` is a hostname, or one with a path.
pub fn container(name: &str, address: &str) -> Value {
    let (hostname, path) = address.find('/').map_or((address, ""), |at| address.split_at(at));
    let mut container = json!({
        "id": format!("{name:0<12}"), "name": name, "status": "running",
        "labels": {
            "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80",
        },
    });
    if !path.is_empty() {
        container["labels"]["dockflare.path"] = json!(path);
    }
    container
}
