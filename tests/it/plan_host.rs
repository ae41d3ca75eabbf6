//! A host of ours that plans, made of bare requests.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::support::master::TestMaster;

/// An agent of ours that a person said yes to, and on whose host a newer `bash` was found.
pub struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    pub id: String,
    session: String,
    next: Cell<u64>,
}

impl<'a> Host<'a> {
    /// Joins a master, is approved, and says what it is able to.
    pub async fn new(master: &'a TestMaster, name: &str) -> Self {
        let (key, id, session) = master.new_native_agent(name).await;
        let host = Self { master, key, id, session, next: Cell::new(0) };
        master.admin_post(&format!("/api/v3/agents/{}/approve", host.id), json!({})).expect(200).await;
        let can = json!({ "yes": true });
        let told = json!({ "hostname": name, "abilities": { "installs_packages": can, "replaces_containers": can } });
        host.say(json!({ "kind": "host", "host": told })).await;
        host
    }

    /// Its last look found a newer version of this package.
    pub async fn has_newer(&self, package: &str) {
        self.has_newer_of(&[package.to_owned()]).await;
    }

    /// The same of several.
    pub async fn has_newer_of(&self, packages: &[String]) {
        let checked = json!({ "kind": "apt", "ok": true, "as_of": "2026-11-21T21:00:00Z", "is_complete": true,
            "digest": "d", "count": packages.len(), "pending": packages.len() });
        let scan = json!({ "at": "2026-11-21T21:00:00Z", "scanners": [checked] });
        self.say(json!({ "kind": "scanned", "scan": scan })).await;
        let newer = |name: &String| {
            json!({ "name": name, "standing": "newer", "current_version": "1.0", "available_version": "1.1",
                "severity": "low", "is_security": false })
        };
        let items: Vec<Value> = packages.iter().map(newer).collect();
        self.say(json!({ "kind": "findings", "findings": { "checked": checked, "items": items } })).await;
    }

    /// Reports this.
    pub async fn say(&self, item: Value) {
        let first = self.next.replace(self.next.get() + 1);
        let batch = json!({ "session": self.session, "first_seq": first, "sent_at": null, "items": [item] });
        self.tell("reports", batch, 202).await;
    }

    /// Sends this, and looks that it is answered so.
    pub async fn tell(&self, what: &str, body: Value, status: u16) {
        let asking = self.master.post(&format!("/api/v3/agents/{}/{what}", self.id)).key(&self.key);
        asking.header("lightship-session", &self.session).json(body).expect(status).await;
    }

    /// Fetches its commands, and returns the id of the one that asks for this.
    pub async fn fetch(&self, action: &str) -> String {
        let commands = self.fetch_all().await;
        let is_it = |command: &&Value| command.to_string().contains(action);
        let found = commands.iter().find(is_it).unwrap_or_else(|| panic!("no {action}: {commands:?}"));
        found["command_id"].as_str().or(found["id"].as_str()).unwrap().to_owned()
    }

    /// Fetches its commands.
    pub async fn fetch_all(&self) -> Vec<Value> {
        let path = format!("/api/v3/agents/{}/commands?wait=0&max=10", self.id);
        let asking = self.master.get(&path).key(&self.key).header("lightship-session", &self.session);
        asking.expect(200).await.json()["commands"].as_array().unwrap().clone()
    }

    /// Answers the question with these changes.
    pub async fn answers(&self, changes: Value, on_host: Value) {
        let command = self.fetch("plan_updates").await;
        let plan = json!({ "changes": changes, "on_host": on_host });
        self.tell("plans", json!({ "command": command, "plan": plan }), 200).await;
        let done = json!({ "succeeded": true, "message": "planned" });
        self.tell(&format!("commands/{command}/result"), done, 200).await;
    }

    /// Says how far a run is.
    pub async fn progresses(&self, progress: Value) {
        self.say(json!({ "kind": "run", "progress": progress })).await;
    }
}

/// A newer version of a package, as hosts plan it.
pub fn upgrade(name: &str, to: &str) -> Value {
    json!({ "kind": "apt", "name": name, "arch": "amd64", "operation": "upgrade", "from": "1.0", "to": to,
        "digest": "aa" })
}
