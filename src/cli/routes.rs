//! `lightship routes`: every route with its state and the reason for it.

use std::process::ExitCode;

use serde_json::Value;

use super::common::Common;
use super::plan::items;
use super::{admin_client, output};

/// Options of `lightship routes`.
#[derive(clap::Args)]
pub(super) struct RoutesArgs {}

pub(super) fn run(_: RoutesArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| master.get("/api/v3/routes").await)?;
    let routes = answer["routes"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&routes)?;
    } else {
        print(&routes)?;
    }
    for problem in items(&answer, "label_problems") {
        let [container, agent, label, value, reason] =
            ["container", "agent", "label", "value", "reason"].map(|key| output::text(problem, key));
        eprintln!("{container} on {agent}: `{label}={value}`: {reason}");
    }
    for tunnel in items(&answer, "tunnels").iter().filter(|tunnel| tunnel["reason"].is_string()) {
        eprintln!("tunnel {}: {}", output::text(tunnel, "tunnel_id"), output::text(tunnel, "reason"));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(routes: &[Value]) -> anyhow::Result<()> {
    let keys = ["hostname", "path", "service", "agent", "container"];
    let row = |route: &Value| {
        let mut row = keys.map(|key| output::text(route, key)).to_vec();
        if let (Some(container), "manual") = (row.last_mut(), route["source"].as_str().unwrap_or_default()) {
            *container = format!("rule in {}", output::text(route, "tunnel_name"));
        }
        row.push(output::text(&route["protection"], "in_words"));
        row.extend(["state", "serves"].map(|key| output::text(route, key)));
        row.push(reasons(route));
        row
    };
    let rows = routes.iter().map(row).collect();
    let header =
        ["HOSTNAME", "PATH", "SERVICE", "AGENT", "CONTAINER", "PROTECTION", "STATE", "SERVES", "REASON"];
    output::table(
        &header,
        rows,
        "no routes; start a container with labels on an enrolled host, see docs/labels.md",
    )
}

/// Why it stands where it does, and why it is not known to be reached.
fn reasons(route: &Value) -> String {
    let reason = output::text(route, "reason");
    match (route["serves_reason"].is_string(), route["reason"].is_string()) {
        (true, true) => format!("{}; {reason}", output::text(route, "serves_reason")),
        (true, false) => output::text(route, "serves_reason"),
        (false, _) => reason,
    }
}
