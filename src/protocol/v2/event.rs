//! Reading `POST /api/v2/agents/{id}/events`.
//!
//! What cannot be understood is accepted and ignored, as DockFlare agents expect; only what a DockFlare Master
//! itself stumbled over is refused. A report whose list cannot be read is never taken for an empty one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::container::Container;
use crate::domain::id::{ContainerId, TunnelId};
use crate::domain::report::{GoneCause, Report};
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::protocol::body::{self, BodyError};

/// Longest name of a container that is kept, in characters; the Engine's own names are far shorter.
const MAX_NAME: usize = 255;

type Object = Map<String, Value>;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it says.
    pub report: Report,
    /// When, by the agent's clock; masters do not rely on it.
    pub sent_at: Option<DateTime<Utc>>,
}

/// Reads the body of an event.
///
/// Fails with [`BodyError::Empty`] on `{}`, and with [`BodyError::Field`] on a `container_start` whose
/// `container` cannot be one.
pub fn decode_event(body: &[u8]) -> Result<Event, BodyError> {
    let map = body::parse_object(body)?;
    if map.is_empty() {
        return Err(BodyError::Empty);
    }
    let sent_at = map.get("timestamp").and_then(Value::as_str).and_then(|t| t.parse().ok());
    let report = match map.get("type").and_then(Value::as_str) {
        Some("heartbeat" | "hello") => Report::Heartbeat,
        Some("status_report") => snapshot(&map),
        Some("container_start") => container_seen(&map)?,
        Some("container_stop") => container_gone(&map, GoneCause::Stopped)?,
        Some("container_die") => container_gone(&map, GoneCause::Died)?,
        Some("tunnel_status") => tunnel_status(&map, sent_at),
        _ => Report::Unknown,
    };
    Ok(Event { report, sent_at })
}

fn snapshot(map: &Object) -> Report {
    let nested = || map.get("container").and_then(|c| c.get("containers"));
    let list = match map.get("containers") {
        None | Some(Value::Null) => nested(),
        here => here,
    };
    match list {
        Some(Value::Array(entries)) => {
            Report::Snapshot { containers: entries.iter().filter_map(listed_container).collect() }
        }
        _ => Report::Unknown,
    }
}

/// Entries without an id say nothing; one whose labels cannot be read runs, but asks for nothing.
fn listed_container(entry: &Value) -> Option<Container> {
    let entry = entry.as_object()?;
    let id = entry.get("id").and_then(Value::as_str).filter(|id| !id.is_empty())?;
    Some(container(entry, id, entry.get("labels").map(labels).unwrap_or_default()))
}

fn container_seen(map: &Object) -> Result<Report, BodyError> {
    let Some((entry, id)) = subject(map)? else { return Ok(Report::Unknown) };
    match entry.get("labels") {
        Some(Value::Object(_)) | None => {
            let labels = entry.get("labels").map(labels).unwrap_or_default();
            Ok(Report::ContainerSeen { container: container(entry, id, labels) })
        }
        Some(Value::Null) => Err(BodyError::Field {
            field: "container.labels",
            found: "null",
            expected: "an object of strings",
        }),
        Some(_) => Ok(Report::Unknown),
    }
}

fn container_gone(map: &Object, cause: GoneCause) -> Result<Report, BodyError> {
    Ok(match subject(map)? {
        Some((_, id)) => Report::ContainerGone { id: ContainerId::new(id), cause },
        None => Report::Unknown,
    })
}

/// The container an event is about: `None` if it names none.
fn subject(map: &Object) -> Result<Option<(&Object, &str)>, BodyError> {
    let entry = match map.get("container") {
        None => return Ok(None),
        Some(Value::Object(entry)) => entry,
        Some(other) => return Err(wrong("container", other, "an object")),
    };
    match entry.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) => Ok(Some((entry, id))),
        Some(other) => Err(wrong("container.id", other, "a string")),
    }
}

fn wrong(field: &'static str, found: &Value, expected: &'static str) -> BodyError {
    BodyError::Field { field, found: body::type_name(found), expected }
}

fn container(entry: &Object, id: &str, labels: BTreeMap<String, String>) -> Container {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|t| !t.is_empty());
    let name = text("name").map(|n| n.trim_start_matches('/')).filter(|n| !n.is_empty());
    Container {
        id: ContainerId::new(id),
        // A container without a name is still one: its short id stands in, as Docker's own tools show it.
        name: name
            .map_or_else(|| id.chars().take(12).collect(), |name| name.chars().take(MAX_NAME).collect()),
        labels,
        image: text("image").map(str::to_owned),
        status: text("status").map(str::to_owned),
    }
}

/// Label values are text; numbers and booleans are taken as they would be written.
fn labels(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else { return BTreeMap::new() };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    map.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// DockFlare agents put the state under `container`, its master looked in `tunnel` and at the top.
fn tunnel_status(map: &Object, sent_at: Option<DateTime<Utc>>) -> Report {
    let nested = |field: &str| map.get(field).and_then(Value::as_object);
    let places = [nested("tunnel"), Some(map), nested("container")];
    let Some((place, word)) = places.into_iter().flatten().find_map(|p| Some((p, status_word(p)?))) else {
        return Report::Unknown;
    };
    let text = |field: &str| {
        let text = place.get(field).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty())?;
        Some(text.chars().take(500).collect::<String>())
    };
    let tunnel = TunnelReport {
        health: health(word),
        tunnel_id: text("tunnel_id").map(TunnelId::new),
        name: text("name"),
        version: text("version"),
        reason: text("reason"),
        ready_connections: place
            .get("ready_connections")
            .and_then(Value::as_u64)
            .and_then(|n| u32::try_from(n).ok()),
        connector_id: text("connector_id"),
        config_version: place.get("config_version").and_then(Value::as_i64),
        observed_at: sent_at,
    };
    Report::Tunnel { tunnel }
}

fn status_word(place: &Object) -> Option<&str> {
    ["status", "state"].iter().find_map(|field| place.get(*field).and_then(Value::as_str))
}

fn health(word: &str) -> TunnelHealth {
    match word.trim().to_ascii_lowercase().as_str() {
        "running" => TunnelHealth::Running,
        "degraded" => TunnelHealth::Degraded,
        "restarting" => TunnelHealth::Restarting,
        "failed" => TunnelHealth::Failed,
        "stopped" => TunnelHealth::Stopped,
        _ => TunnelHealth::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn report(body: Value) -> Report {
        decode_event(body.to_string().as_bytes()).unwrap().report
    }

    fn snapshot_ids(body: Value) -> Vec<String> {
        match report(body) {
            Report::Snapshot { containers } => containers.into_iter().map(|c| c.id.into()).collect(),
            other => panic!("no snapshot: {other:?}"),
        }
    }

    #[test]
    fn a_list_is_found_in_both_places() {
        let list =
            json!([{"id": "c1", "name": "/app", "labels": {"a": "b"}}, {"id": null}, {"name": "x"}, 5, "a"]);
        assert_eq!(snapshot_ids(json!({"type": "status_report", "containers": list})), ["c1"]);
        assert_eq!(snapshot_ids(json!({"type": "status_report", "container": {"containers": list}})), ["c1"]);
        assert!(snapshot_ids(json!({"type": "status_report", "containers": []})).is_empty());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        for body in [
            json!({"type": "status_report"}),
            json!({"type": "status_report", "containers": {"a": 1}}),
            json!({"type": "status_report", "container": [1]}),
            json!({"type": "status_report", "container": {"containers": null}}),
        ] {
            assert_eq!(report(body), Report::Unknown);
        }
    }

    #[test]
    fn tunnel_state_is_found_in_every_nesting() {
        let state = json!({"name": "t", "status": "running", "version": "v"});
        for body in [
            json!({"type": "tunnel_status", "container": state}),
            json!({"type": "tunnel_status", "tunnel": state}),
            json!({"type": "tunnel_status", "name": "t", "status": "running", "version": "v"}),
            json!({"type": "tunnel_status", "name": "t", "state": "RUNNING", "version": "v"}),
            json!({"type": "tunnel_status", "tunnel": "x", "container": state}),
        ] {
            let Report::Tunnel { tunnel } = report(body.clone()) else { panic!("{body}") };
            assert_eq!(tunnel.health, TunnelHealth::Running);
            assert_eq!((tunnel.name.as_deref(), tunnel.version.as_deref()), (Some("t"), Some("v")));
        }
        assert_eq!(report(json!({"type": "tunnel_status", "tunnel": "x"})), Report::Unknown);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for body in [
            json!({"type": "banana"}),
            json!({"x": 1}),
            json!({"type": []}),
            json!({"type": {"action": "die", "container_id": "abc"}}),
            json!({"type": "container_start"}),
            json!({"type": "container_start", "container": {"id": "x", "labels": ["a"]}}),
            json!({"type": "container_stop", "container": {}}),
        ] {
            assert_eq!(report(body.clone()), Report::Unknown, "{body}");
        }
    }

    #[test]
    fn what_a_dockflare_master_choked_on_is_refused_by_name() {
        let cases = [
            (
                json!({"type": "container_start", "container": [1]}),
                "field `container` is a list; send an object",
            ),
            (
                json!({"type": "container_start", "container": null}),
                "field `container` is null; send an object",
            ),
            (
                json!({"type": "container_start", "container": {"id": 5}}),
                "field `container.id` is a number; send a string",
            ),
            (
                json!({"type": "container_start", "container": {"id": "x", "labels": null}}),
                "field `container.labels` is null; send an object of strings",
            ),
            (json!({}), "Empty payload."),
        ];
        for (body, wanted) in cases {
            assert_eq!(decode_event(body.to_string().as_bytes()).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn times_with_an_offset_are_read() {
        let body = json!({"type": "heartbeat", "timestamp": "2025-09-23T12:34:56.789012+02:00"}).to_string();
        let at = decode_event(body.as_bytes()).unwrap().sent_at.unwrap();
        assert_eq!(at.to_rfc3339(), "2025-09-23T10:34:56.789012+00:00");
        let odd = json!({"type": "heartbeat", "timestamp": 5}).to_string();
        assert_eq!(decode_event(odd.as_bytes()).unwrap().sent_at, None);
    }
}
