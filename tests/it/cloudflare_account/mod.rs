//! The account's actor against the stand-in: what it publishes, what it leaves alone, how it comes through.

mod access;
mod adopt;
mod allowance;
mod checks;
mod drift;
mod faults;
mod limits;
mod moves;
mod not_found;
mod outcomes;
mod people;
mod plan;
mod progress;
mod publishing;
mod refused;
mod review;
mod sequences;
mod shown_drift;
mod stale;
mod theirs;
mod trouble;
mod tunnels;
mod versions;
mod zones;

use lightship::domain::id::TunnelId;
use serde_json::{Value, json};

const APP: &str = "app.example.com";

fn foreign_rule(hostname: &str) -> Value {
    json!({ "hostname": hostname, "service": "http://theirs:1", "originRequest": { "connectTimeout": 7 } })
}

fn foreign_config(rules: &[Value]) -> Value {
    let catch_all = json!({ "service": "http_status:503" });
    let rules: Vec<Value> = rules.iter().cloned().chain([catch_all]).collect();
    json!({ "ingress": rules, "warp-routing": { "enabled": true }, "something-new": [1, 2] })
}

fn is_there(config: &Value, rule: &Value) -> bool {
    config["ingress"].as_array().unwrap().contains(rule)
}

fn content(tunnel: &TunnelId) -> String {
    format!("{tunnel}.cfargotunnel.com")
}
