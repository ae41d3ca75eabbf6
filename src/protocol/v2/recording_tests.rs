//! The recording of a real DockFlare agent and master, read and written by this module.

use serde_json::{Value, json};

use super::*;
use crate::domain::command::CommandKind;
use crate::domain::container::Container;
use crate::domain::id::{SecretId, TunnelId};
use crate::domain::report::Report;
use crate::domain::tunnel::TunnelHealth;
use crate::protocol::command::{AgentCommand, wire_form};

/// Exchanges of the recording, with their line number.
fn exchanges() -> Vec<(usize, Value)> {
    include_str!("../../../tests/contracts/dockflare-agent-master.jsonl")
        .lines()
        .enumerate()
        .map(|(line, text)| (line, serde_json::from_str(text).unwrap()))
        .collect()
}

fn requests_to(suffix: &str) -> Vec<(usize, Value)> {
    exchanges()
        .into_iter()
        .filter(|(_, e)| e["method"] == "POST" && e["path"].as_str().is_some_and(|p| p.ends_with(suffix)))
        .collect()
}

/// What the recorder kept: text for bodies that were not JSON.
fn body_of(exchange: &Value) -> Vec<u8> {
    match &exchange["request_body"] {
        Value::Null => Vec::new(),
        Value::String(text)
            if exchange["request_headers"]["content-length"] != json!((text.len() + 2).to_string()) =>
        {
            text.clone().into_bytes()
        }
        body => body.to_string().into_bytes(),
    }
}

#[test]
fn every_recorded_event_is_answered_as_recorded_with_5xx_as_400() {
    let mut seen = 0;
    for (line, exchange) in requests_to("/events") {
        let Some(status) = exchange["status"].as_u64() else { continue };
        // Keys, unknown agents and content types are the web layer's business.
        if [401, 403, 404, 405, 415].contains(&status) {
            continue;
        }
        let wanted_ok = status == 202;
        assert_eq!(
            decode_event(&body_of(&exchange)).is_ok(),
            wanted_ok,
            "line {line}: {}",
            exchange["request_body"]
        );
        seen += 1;
    }
    assert!(seen > 60, "only {seen} events were checked");
}

#[test]
fn every_event_of_the_recorded_agent_is_understood() {
    for (line, exchange) in requests_to("/events") {
        if exchange["source"] != "agent" {
            continue;
        }
        let event = decode_event(&body_of(&exchange)).unwrap();
        assert!(event.sent_at.is_some(), "line {line}");
        if exchange["request_body"]["type"].is_string() {
            assert_ne!(event.report, Report::Unknown, "line {line}: {}", exchange["request_body"]);
        }
        if let Report::Tunnel { tunnel } = event.report {
            assert_eq!(Some(tunnel.health == TunnelHealth::Running), Some(true), "line {line}");
            assert_eq!(tunnel.name.as_deref(), Some("dfbase-edge-1"));
        }
    }
}

#[test]
fn every_recorded_registration_is_answered_as_recorded() {
    // Deviations: a non-object body, a non-string field and an id that is no path segment are refused.
    for (line, exchange) in requests_to("/register") {
        let body = &exchange["request_body"];
        let odd_id = body["agent_id"].as_str().is_some_and(|id| id.contains('/'));
        let odd_name = body.get("display_name").is_some_and(|n| !n.is_string());
        let refused = exchange["status"] == 500 || body.is_array() || odd_id || odd_name;
        assert_eq!(decode_register(&body_of(&exchange)).is_err(), refused, "line {line}: {body}");
    }
}

#[test]
fn recorded_answers_to_registrations_are_read() {
    for (line, exchange) in requests_to("/register") {
        if exchange["source"] != "agent" || exchange["status"].is_null() {
            continue;
        }
        let answer = decode_registered(exchange["response_body"].to_string().as_bytes()).unwrap();
        assert_eq!(answer.agent_id.as_str(), "edba1cec-bae7-447d-895f-5542c3853621", "line {line}");
        assert_eq!(answer.session, None);
    }
}

#[test]
fn recorded_commands_are_read_and_written_alike() {
    let mut seen = 0;
    for (line, exchange) in exchanges() {
        for form in exchange["response_body"]["commands"].as_array().into_iter().flatten() {
            let order = match AgentCommand::read(form.as_object().unwrap()) {
                AgentCommand::StartTunnel(order) | AgentCommand::RestartTunnel(order) => order,
                other => panic!("line {line}: {other:?}"),
            };
            let (tunnel_id, tunnel_name) = (order.tunnel_id.unwrap(), order.tunnel_name.unwrap());
            let kind = command_kind(form["action"].as_str().unwrap(), tunnel_id, tunnel_name);
            assert_eq!(&Value::Object(wire_form(&kind, order.token.as_ref())), form, "line {line}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} commands were checked");
}

fn command_kind(action: &str, tunnel_id: TunnelId, tunnel_name: String) -> CommandKind {
    let secret_id = SecretId::new("s1");
    match action {
        "start_tunnel" => CommandKind::StartTunnel { tunnel_id, tunnel_name, secret_id },
        _ => CommandKind::RestartTunnel { tunnel_id, tunnel_name, secret_id },
    }
}

#[test]
fn our_events_have_every_field_of_the_recorded_ones() {
    for (line, exchange) in requests_to("/events") {
        let recorded = &exchange["request_body"];
        if exchange["source"] != "agent" || !recorded["type"].is_string() {
            continue;
        }
        let event = decode_event(recorded.to_string().as_bytes()).unwrap();
        let known = recorded["container"]["id"].is_string().then(|| Container {
            id: crate::domain::id::ContainerId::new(recorded["container"]["id"].as_str().unwrap()),
            name: recorded["container"]["name"].as_str().unwrap().into(),
            labels: serde_json::from_value(recorded["container"]["labels"].clone()).unwrap(),
            image: None,
            status: None,
            networks: None,
        });
        let mut ours = event_form(&event.report, known.as_ref(), event.sent_at.unwrap()).unwrap();
        // Deviations: the state goes under `tunnel` as well, and every end is a stop.
        ours.as_object_mut().unwrap().remove("tunnel");
        let mut wanted = recorded.clone();
        if wanted["type"] == "container_die" {
            wanted["type"] = json!("container_stop");
        }
        assert_eq!(ours, wanted, "line {line}");
    }
}
