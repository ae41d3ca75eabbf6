//! `lightship plan`: what would be changed at Cloudflare, and what waits for a person.

use std::process::ExitCode;

use serde_json::Value;

use super::{Common, admin_client, output};

/// Options of `lightship plan`.
#[derive(clap::Args)]
pub(super) struct PlanArgs {}

pub(super) fn run(_: PlanArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let plan = admin_client::converse(common, async |master| master.get("/api/v3/plan").await)?;
    let changes = plan["changes"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&plan)?;
    } else {
        output::table(&["ACTION", "WHAT", "STATE", "REASON"], rows(&changes), "nothing to change")?;
    }
    // 2 says that changes are pending.
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

pub(super) fn rows(changes: &[Value]) -> Vec<Vec<String>> {
    let cell = |change: &Value, key| output::text(change, key);
    changes
        .iter()
        .map(|change| ["action", "what", "state", "reason"].map(|key| cell(change, key)).to_vec())
        .collect()
}
