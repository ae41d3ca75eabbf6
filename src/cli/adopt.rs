//! `lightship adopt`: makes ours what others made at Cloudflare for names that are asked for here.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::common::Common;
use super::plan::items;
use super::{admin_client, output};
use crate::domain::import::is_named;
use crate::domain::text::spell_out;

/// Exit code that says that something can be adopted.
const PENDING: u8 = 2;
/// Exit code for what was done in part.
const IN_PART: u8 = 3;

/// Options of `lightship adopt`.
#[derive(clap::Args)]
pub(super) struct AdoptArgs {
    /// Hostnames, *.example.com for all below one, names of policies and tunnels.
    names: Vec<String>,
    /// List what could be adopted, with what would change (the default).
    #[arg(long, conflicts_with_all = ["all", "yes"])]
    list: bool,
    /// Everything that can be, instead of names.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Only these kinds: record, application, policy, tunnel; may be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Adopt it: it is kept true here from then on, and goes with its route.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: AdoptArgs, common: &Common) -> anyhow::Result<ExitCode> {
    match args.yes {
        true => adopt(&args, common),
        false => list(&args, common),
    }
}

fn list(args: &AdoptArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| master.get("/api/v3/adopt").await)?;
    let is_meant = |offer: &&Value| {
        let name = offer["name"].as_str().unwrap_or_default();
        let hostname = name.split('/').next().unwrap_or_default();
        let is_one = args.names.iter().any(|one| one == name) || is_named(hostname, &args.names);
        (args.kinds.is_empty() || args.kinds.iter().any(|kind| offer["kind"] == kind.as_str()))
            && (args.names.is_empty() || is_one)
    };
    let offers: Vec<&Value> = items(&answer, "offers").iter().filter(is_meant).collect();
    if common.json {
        output::json(&offers)?;
    } else {
        let rows = offers.iter().map(|offer| row(offer)).collect();
        output::table(&["KIND", "NAME", "WHAT CHANGES"], rows, "nothing is there that could be adopted")?;
    }
    let can_be_taken = offers.iter().any(|offer| offer["reason"].is_null());
    if can_be_taken && !common.json {
        eprintln!(
            "`lightship adopt --yes NAME…` adopts some of it, `lightship adopt --yes --all` all that can be"
        );
    }
    Ok(if can_be_taken { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}

fn row(offer: &Value) -> Vec<String> {
    let changes: Vec<&str> = items(offer, "changes").iter().filter_map(Value::as_str).collect();
    let fate =
        offer["reason"].as_str().map_or_else(|| changes.join("; "), |reason| format!("it stays: {reason}"));
    vec![output::text(offer, "kind"), output::text(offer, "name"), spell_out(&fate)]
}

fn adopt(args: &AdoptArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let names = (!args.names.is_empty()).then_some(&args.names);
    let body = json!({ "names": names, "all": args.all, "kinds": args.kinds, "yes": true });
    let answer = admin_client::converse(common, async |master| master.post("/api/v3/adopt", body).await)?;
    let left = items(&answer, "left");
    if common.json {
        output::json(&answer)?;
    } else {
        for offer in items(&answer, "taken") {
            output::line(&format!("{} {}", output::text(offer, "kind"), output::text(offer, "name")))?;
        }
        for one in left {
            eprintln!(
                "left: {} {}: {}",
                output::text(one, "kind"),
                output::text(one, "name"),
                output::text(one, "reason")
            );
        }
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(IN_PART) })
}
