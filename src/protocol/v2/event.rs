//! Reading `POST /api/v2/agents/{id}/events`.
//!
//! What cannot be understood is accepted and ignored, as DockFlare agents expect; only what a DockFlare Master
//! itself stumbled over is refused. A report whose list cannot be read is never taken for an empty one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::container::Container;
use crate::domain::id::{ContainerId, TunnelId};
use crate::domain::report::{GoneCause, Report};
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::protocol::body::{self, BodyError};
use crate::protocol::fit;

type Object = Map<String, Value>;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it says.
    pub report: Report,
    /// When, by the agent's clock; masters do not rely on it.
    pub sent_at: Option<DateTime<Utc>>,
    /// What of a list of containers was not understood, in words for people.
    pub ignored: Option<String>,
}

/// Reads the body of an event.
///
/// Fails with [`BodyError::Empty`] on `{}`, with [`BodyError::Field`] on a `container_start` whose `container`
/// cannot be one, and with [`BodyError::Value`] or [`BodyError::TooMuch`] on what is too long or too much.
pub fn decode_event(body: &[u8]) -> Result<Event, BodyError> {
    let map = body::parse_object(body)?;
    if map.is_empty() {
        return Err(BodyError::Empty);
    }
    let sent_at = map.get("timestamp").and_then(Value::as_str).and_then(|t| t.parse().ok());
    let mut ignored = None;
    let report = match map.get("type").and_then(Value::as_str) {
        Some("heartbeat" | "hello") => Report::Heartbeat,
        Some("status_report") => snapshot(&map, &mut ignored)?,
        Some("container_start") => container_seen(&map)?,
        Some("container_stop") => container_gone(&map, GoneCause::Stopped)?,
        Some("container_die") => container_gone(&map, GoneCause::Died)?,
        Some("tunnel_status") => tunnel_status(&map, sent_at),
        _ => Report::Unknown,
    };
    Ok(Event { report, sent_at, ignored })
}

/// Reads a list of containers; says in `ignored` what of it could not be read.
fn snapshot(map: &Object, ignored: &mut Option<String>) -> Result<Report, BodyError> {
    let nested = || map.get("container").and_then(|c| c.get("containers"));
    let list = match map.get("containers") {
        None | Some(Value::Null) => nested(),
        here => here,
    };
    let Some(Value::Array(entries)) = list else {
        let found = |found| format!("{} and not a list", body::type_name(found));
        *ignored = Some(format!("`containers` is {}", list.map_or_else(|| "missing".to_owned(), found)));
        return Ok(Report::Unknown);
    };
    let (mut listed, mut flaws) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match listed_container(entry) {
            Ok(container) => listed.push(container),
            Err(flaw) => flaws.push(flaw),
        }
    }
    let containers = fit::containers("containers", "containers[].id", listed)?;
    let Some(first) = flaws.first() else { return Ok(Report::Snapshot { containers }) };
    *ignored = Some(format!(
        "{} of {} entries in `containers` were left out, the first because {first}",
        flaws.len(),
        entries.len()
    ));
    Ok(Report::SomeSeen { containers })
}

/// Fails with what is wrong with an entry that does not say which container it is or what its labels are.
fn listed_container(entry: &Value) -> Result<Container, String> {
    let Some(object) = entry.as_object() else {
        return Err(format!("it is {} and not an object", body::type_name(entry)));
    };
    let id = object.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| "its `id` is missing or not a text".to_owned())?;
    let labels = match object.get("labels") {
        None => BTreeMap::new(),
        Some(given @ Value::Object(_)) => labels(given),
        Some(other) => return Err(format!("its `labels` are {} and not an object", body::type_name(other))),
    };
    Ok(container(object, id, labels))
}

fn container_seen(map: &Object) -> Result<Report, BodyError> {
    let Some((entry, id)) = subject(map)? else { return Ok(Report::Unknown) };
    match entry.get("labels") {
        Some(Value::Object(_)) | None => {
            let labels = entry.get("labels").map(labels).unwrap_or_default();
            let container = fit::container("container.id", container(entry, id, labels))?;
            Ok(Report::ContainerSeen { container })
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
        Some((_, id)) => {
            let id = ContainerId::new(id);
            fit::container_id("container.id", &id)?;
            Report::ContainerGone { id, cause }
        }
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
    Container {
        id: ContainerId::new(id),
        name: text("name").unwrap_or_default().trim_start_matches('/').to_owned(),
        labels,
        image: text("image").map(str::to_owned),
        status: text("status").map(str::to_owned),
        networks: None,
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
        place.get(field).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
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
        networks: None,
        observed_at: sent_at,
    };
    Report::Tunnel { tunnel: fit::tunnel(tunnel) }
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
        "stopped" | "missing" | "not_found" | "not_configured" | "none" => TunnelHealth::Stopped,
        _ => TunnelHealth::Unknown,
    }
}
