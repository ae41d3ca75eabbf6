//! Writing events as a DockFlare Master reads them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::domain::container::Container;
use crate::domain::report::Report;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};

/// Writes `report` as an event; `None` if the dialect has no word for it (results of commands).
///
/// `known` is the container a [`Report::ContainerGone`] is about, if the caller still has it. Every end is
/// sent as `container_stop`, because a DockFlare Master ignores `container_die`.
pub fn event_form(report: &Report, known: Option<&Container>, at: DateTime<Utc>) -> Option<Value> {
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Micros, false);
    let event = |kind: &str, container: Value| json!({ "type": kind, "timestamp": timestamp, "container": container });
    Some(match report {
        Report::Heartbeat => json!({ "type": "heartbeat", "timestamp": timestamp }),
        Report::Snapshot { containers } => {
            let list: Vec<Value> = containers.iter().filter(|c| is_published(c)).map(listed).collect();
            event("status_report", json!({ "containers": list }))
        }
        Report::ContainerSeen { container } if !is_published(container) => return None,
        Report::ContainerSeen { container } => event("container_start", labelled(container)),
        Report::ContainerGone { id, .. } => {
            event("container_stop", known.map_or_else(|| json!({ "id": id, "labels": {} }), labelled))
        }
        Report::Tunnel { tunnel } => {
            // Its agent nests the state under `container`, its master looks in `tunnel`: both are served.
            let state = tunnel_state(tunnel);
            let mut form = event("tunnel_status", state.clone());
            form["tunnel"] = state;
            form
        }
        // A DockFlare Master has no place for these.
        Report::SomeSeen { .. }
        | Report::CommandResult { .. }
        | Report::Scanned { .. }
        | Report::Findings { .. }
        | Report::Host { .. }
        | Report::Run { .. }
        | Report::Unknown => return None,
    })
}

/// Containers that carry labels of ours without asking to be published are told to a native master, which shows
/// why; a DockFlare Master would publish some of them, since it does not look at `enable` everywhere.
fn is_published(container: &Container) -> bool {
    container.labels.iter().any(|(label, value)| label.ends_with(".enable") && value == "true")
}

fn labelled(container: &Container) -> Value {
    json!({ "id": container.id, "name": container.name, "labels": container.labels })
}

fn listed(container: &Container) -> Value {
    let mut entry = labelled(container);
    // Only running containers are listed, so that is the word where the Engine's own is not known.
    entry["status"] = json!(container.status.as_deref().unwrap_or("running"));
    entry
}

/// The connector of a tunnel that is `degraded` or `unknown` runs: a DockFlare Master knows no finer words.
fn tunnel_state(tunnel: &TunnelReport) -> Value {
    let status = match tunnel.health {
        TunnelHealth::Running | TunnelHealth::Degraded | TunnelHealth::Unknown => "running",
        TunnelHealth::Restarting | TunnelHealth::Failed | TunnelHealth::Stopped => "stopped",
    };
    json!({ "name": tunnel.name, "status": status, "version": tunnel.version })
}
