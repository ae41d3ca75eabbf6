//! `lightship apply`: carries out what waits for a person.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::{Common, admin_client, output};

/// Options of `lightship apply`.
#[derive(clap::Args)]
pub(super) struct ApplyArgs {
    /// Confirm: write to tunnels that hold rules of others (those stay), and carry out held removals.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: ApplyArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if !args.yes {
        bail!(
            "apply changes what the public sees: look at `lightship plan`, then run `lightship apply --yes`"
        );
    }
    let report = admin_client::converse(common, async |master| {
        master.post("/api/v3/apply", json!({ "yes": true })).await
    })?;
    let blocked = report["blocked"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&report)?;
    } else {
        let applied = report["applied"].as_array().cloned().unwrap_or_default();
        output::table(
            &["ACTION", "WHAT", "STATE", "REASON"],
            super::plan::rows(&applied),
            "nothing was waiting",
        )?;
        for item in &blocked {
            eprintln!("blocked: {}: {}", output::text(item, "what"), output::text(item, "reason"));
        }
    }
    Ok(if blocked.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
