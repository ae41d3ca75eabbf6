//! `lightship apply`: carries out what waits for a person.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::common::Common;
use super::plan::{items, tell_not_applied};
use super::{admin_client, output};

/// Exit code for something that is blocked, failed, or still under way.
const IN_PART: u8 = 3;

/// Options of `lightship apply`.
#[derive(clap::Args)]
pub(super) struct ApplyArgs {
    /// Confirm: add to tunnels that hold what is not ours (that stays), and carry out held removals.
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
    if common.json {
        output::json(&report)?;
    } else {
        let tunnels = output::count(items(&report, "confirmed_tunnels").len() as u64, "tunnel");
        let routes = output::count(report["released_routes"].as_u64().unwrap_or(0), "route");
        output::line(&format!("confirmed {tunnels}, released {routes}"))?;
        tell_not_applied(&report);
        if report["finished"] == false {
            eprintln!(
                "some calls to Cloudflare are still under way and go on by themselves; `lightship plan` shows what is left"
            );
        }
    }
    let is_left = ["blocked", "failed"].iter().any(|key| !items(&report, key).is_empty());
    let done = !is_left && report["finished"] != false;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(IN_PART) })
}
