//! RedFlag's API v1: its agents, unmodified, and people with scripts for it.

mod access;
mod commands;
mod deviations;
mod exchanges;
mod garbage;
mod installs;
mod machines;
mod people;
mod renewal;
mod reports;
mod schedules;
mod tokens;

use std::net::IpAddr;

use lightship::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};

/// A RedFlag agent, and what it was given when it registered.
pub struct FlagAgent<'a> {
    pub master: &'a TestMaster,
    pub id: String,
    pub access: String,
    pub refresh: String,
}

impl<'a> FlagAgent<'a> {
    /// Registers with a token of its own, in the words of a real one.
    pub async fn join(master: &'a TestMaster, hostname: &str) -> Self {
        let (_, token) = master.make_token(1).await;
        Self::join_with(master, hostname, &token).await
    }

    pub async fn join_with(master: &'a TestMaster, hostname: &str, token: &str) -> Self {
        let answer = master.post(REGISTER).key(token).json(hello(hostname)).expect(200).await;
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        Self { master, id: text("agent_id"), access: text("token"), refresh: text("refresh_token") }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/agents/{}{rest}", self.id)
    }

    /// Sends something to a path below its own.
    pub async fn post(&self, rest: &str, body: Value, status: u16) -> Answer {
        self.master.post(&self.path(rest)).key(&self.access).json(body).expect(status).await
    }

    /// Checks in; returns what it was told to do.
    pub async fn check_in(&self) -> Vec<Value> {
        let answer = self.master.get(&self.path("/commands")).key(&self.access).expect(200).await.json();
        answer["commands"].as_array().unwrap().clone()
    }

    /// Reports a scan, and how it went, in the order in which a real one does.
    pub async fn scan(&self, command: &str, said: &str, items: Value) {
        self.post("/logs", log(command, "success", said), 200).await;
        if items.as_array().is_some_and(|items| !items.is_empty()) {
            self.post("/updates", report(command, items), 200).await;
        }
    }

    /// Renews; the answer has any status.
    pub async fn renew(&self, token: &str, rotate: bool) -> Answer {
        let mut body = json!({ "agent_id": self.id, "refresh_token": token });
        if rotate {
            body["rotate"] = json!(true);
        }
        self.master.post("/api/v1/agents/renew").json(body).send().await
    }

    /// What a person sees of it.
    pub async fn seen(&self) -> Value {
        self.master.admin_get(&self.path("")).expect(200).await.json()
    }

    /// Names and states of its updates, as RedFlag's clients see them.
    pub async fn updates(&self, query: &str) -> Vec<(String, String)> {
        let path = self.path(&format!("/updates?page_size=1000&{query}"));
        let answer = self.master.admin_get(&path).expect(200).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut all: Vec<_> = answer["updates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|update| (text(&update["package_name"]), text(&update["status"])))
            .collect();
        all.sort();
        all
    }
}

pub const REGISTER: &str = "/api/v1/agents/register";

/// What a real agent says when it registers.
pub fn hello(hostname: &str) -> Value {
    json!({
        "hostname": hostname, "os_type": "linux", "os_version": "Debian GNU/Linux 12 (bookworm)",
        "os_architecture": "amd64", "agent_version": "0.1.18",
        "metadata": {
            "installation_time": "2026-01-31T12:00:00Z", "cpu_model": "Xeon", "cpu_cores": "4",
            "memory_total": "8589934592", "processes": "120", "uptime": "up 3 days", "disk_mount": "/",
            "disk_total": "107374182400", "disk_used": "53687091200",
        },
    })
}

pub fn log(command: &str, result: &str, stdout: &str) -> Value {
    json!({ "command_id": command, "action": "scan_updates", "result": result, "stdout": stdout, "stderr": "",
        "exit_code": if result == "success" { 0 } else { 1 }, "duration_seconds": 7 })
}

pub fn report(command: &str, items: Value) -> Value {
    json!({ "command_id": command, "timestamp": "2026-01-31T12:00:00Z", "updates": items })
}

pub fn apt(name: &str, available: &str) -> Value {
    json!({
        "package_type": "apt", "package_name": name, "package_description": "", "current_version": "1.0",
        "available_version": available, "severity": "moderate", "cve_list": null, "kb_id": "",
        "repository_source": "bookworm-updates", "size_bytes": 0, "metadata": { "architecture": "amd64" },
    })
}

/// A master that does not count requests: the tests come from one address.
pub async fn unlimited() -> TestMaster {
    let master = TestMaster::start().await;
    without_limits(&master).await;
    master
}

/// The same on a clock that the test moves.
pub async fn unlimited_on(clock: Clock) -> TestMaster {
    let master = TestMaster::on_clock(clock).await;
    without_limits(&master).await;
    master
}

async fn without_limits(master: &TestMaster) {
    let mut settings =
        master.admin_get("/api/v1/admin/rate-limits").expect(200).await.json()["settings"].clone();
    for (_, limit) in settings.as_object_mut().unwrap() {
        limit["enabled"] = json!(false);
    }
    master.ask(Method::PUT, "/api/v1/admin/rate-limits").key(ADMIN).json(settings).expect(200).await;
}

/// The addresses of a master that believes what a proxy on this host says of its callers.
pub async fn behind_a_proxy() -> TestMaster {
    TestMaster::build(true, |settings| settings.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1])]).await
}
