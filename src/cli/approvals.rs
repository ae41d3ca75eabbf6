//! `lightship updates approvals`, `second` and `withdraw`: who said yes to what, and what becomes of it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::common::Common;
use super::fleet::{IN_PART, agent_of};
use super::{admin_client, output};
use crate::domain::update::PlanId;

/// Most approvals that are read, a host each.
const MOST: &str = "1000";

/// Options of `lightship updates approvals`.
#[derive(clap::Args)]
pub(super) struct ApprovalsArgs {
    /// Also those of which nothing comes any more.
    #[arg(long)]
    all: bool,
    /// Of this host, by its id or name.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// Lists who said yes to what, the newest first: one line for each yes, however many hosts it is about.
pub(super) fn list(args: &ApprovalsArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", MOST);
        if !args.all {
            query.append_pair("open", "true");
        }
        if let Some(host) = &args.host {
            query.append_pair("agent_id", &agent_of(&master, host).await?);
        }
        master.get(&format!("/api/v3/approvals?{}", query.finish())).await
    })?;
    let approvals = answer["approvals"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&approvals)?;
        return Ok(ExitCode::SUCCESS);
    }
    let empty = match args.all {
        true => "nothing was approved yet; `lightship updates plan` asks what updates would change",
        false => "nothing that was approved is open; `--all` lists what is done too",
    };
    let header = [
        "APPROVAL",
        "PLAN",
        "HOSTS",
        "STATUS",
        "MODE",
        "BY",
        "GIVEN",
        "NOT BEFORE",
        "COUNTS UNTIL",
        "QUESTION",
    ];
    output::table(&header, rows(&approvals), empty)?;
    Ok(ExitCode::SUCCESS)
}

fn rows(approvals: &[Value]) -> Vec<Vec<String>> {
    let mut by_yes = Vec::<Vec<&Value>>::new();
    for approval in approvals {
        match by_yes.iter_mut().find(|rows| rows.iter().any(|row| row["id"] == approval["id"])) {
            Some(rows) => rows.push(approval),
            None => by_yes.push(vec![approval]),
        }
    }
    by_yes.iter().filter_map(|rows| row(rows)).collect()
}

fn row(hosts: &[&Value]) -> Option<Vec<String>> {
    let first = hosts.first()?;
    let mut standing = BTreeMap::<String, usize>::new();
    for host in hosts {
        *standing.entry(output::text(host, "status").replace('_', " ")).or_default() += 1;
    }
    let standing = match standing.len() {
        1 => standing.into_keys().collect(),
        _ => standing.iter().map(|(word, number)| format!("{number} {word}")).collect::<Vec<_>>().join(", "),
    };
    let plan = PlanId::stored(output::text(first, "approved_plan"));
    let word = |name: &str| output::text(first, name);
    Some(vec![
        word("id"),
        plan.short().to_owned(),
        hosts.len().to_string(),
        standing,
        word("mode").replace('_', " "),
        word("given_by"),
        word("given_at"),
        word("not_before"),
        word("expires_at"),
        word("request"),
    ])
}

/// Adds a second person's yes, or takes a yes back.
pub(super) fn decide(approval: &str, verb: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let done = admin_client::converse(common, async |master| {
        master
            .post(&format!("/api/v3/approvals/{}/{verb}", admin_client::segment(approval)?), json!({}))
            .await
    })?;
    outcome(&done, if verb == "second" { "approved" } else { "taken back" }, common)
}

/// Says for which hosts it was done, and why not for the others.
pub(super) fn outcome(done: &Value, word: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let number = done["agents"].as_array().map_or(0, Vec::len) as u64;
    if common.json {
        output::json(done)?;
    } else {
        output::line(&format!(
            "{} {word} for {}",
            output::text(done, "approval"),
            output::count(number, "host")
        ))?;
    }
    let mut left = done["left"].as_array().cloned().unwrap_or_default();
    // What the person wanted passed over is said, and is no failure.
    left.retain(|host| {
        let is_passed_over = host["code"] == "passed_over";
        if is_passed_over {
            eprintln!("passed over {}: {}", output::text(host, "agent_id"), output::text(host, "reason"));
        }
        !is_passed_over
    });
    for host in &left {
        eprintln!("not {word} for {}: {}", output::text(host, "agent_id"), output::text(host, "reason"));
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(IN_PART) })
}
