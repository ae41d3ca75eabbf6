//! `lightship plan`: what would be changed at Cloudflare, and what waits for a person.

use std::process::ExitCode;

use serde_json::Value;

use super::common::Common;
use super::{admin_client, output};

/// Exit code that says that changes are pending.
const PENDING: u8 = 2;

/// Options of `lightship plan`.
#[derive(clap::Args)]
pub(super) struct PlanArgs {}

pub(super) fn run(_: PlanArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let plan = admin_client::converse(common, async |master| master.get("/api/v3/plan").await)?;
    let pending =
        ["changes", "waiting", "held", "failed", "drift"].iter().any(|key| !items(&plan, key).is_empty());
    if common.json {
        output::json(&plan)?;
    } else {
        show(&plan)?;
    }
    Ok(if pending { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}

fn show(plan: &Value) -> anyhow::Result<()> {
    let rows = items(plan, "changes").iter().map(|change| {
        ["action", "what", "tunnel_name", "state", "reason"].map(|key| output::text(change, key)).to_vec()
    });
    output::table(&["CHANGE", "WHAT", "TUNNEL", "STATE", "REASON"], rows.collect(), "nothing to change")?;
    for tunnel in items(plan, "waiting") {
        let foreign: Vec<_> = items(tunnel, "foreign").iter().filter_map(Value::as_str).collect();
        eprintln!(
            "waiting: tunnel `{}` holds what is not ours ({}); `lightship apply --yes` lets us add to it",
            output::text(tunnel, "tunnel_name"),
            foreign.join(", ")
        );
    }
    for route in items(plan, "held") {
        eprintln!("held: {}: {}", name(route), output::text(route, "reason"));
    }
    if plan["review"] == true && !items(plan, "changes").is_empty() {
        eprintln!("changes wait for a person (`publish.changes`): `lightship apply --yes` carries them out");
    }
    tell_not_applied(plan);
    if plan["connected"] == false {
        eprintln!(
            "no Cloudflare token is set, so nothing of this is carried out; set CF_API_TOKEN and CF_ACCOUNT_ID"
        );
    }
    Ok(())
}

/// Names the routes that are not as they should be, and why.
pub(super) fn tell_not_applied(answer: &Value) {
    for key in ["blocked", "failed"] {
        for route in items(answer, key) {
            eprintln!("{key}: {}: {}", name(route), output::text(route, "reason"));
        }
    }
}

/// The list at `key`; empty if there is none.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Hostname and path of a route.
fn name(route: &Value) -> String {
    format!("{}{}", output::text(route, "hostname"), route["path"].as_str().unwrap_or_default())
}
