//! `lightship import dockflare`: takes over what DockFlare kept, over the admin API of a master.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::files::{self, Files};
use crate::cli::admin_client::{self, AdminClient, NotFound};
use crate::cli::common::Common;
use crate::cli::output;
use crate::cli::plan::items;
use crate::domain::dockflare::takeover::{
    AgentHere, Here, Item, KeyHere, Outcome, Step, Withdrawals, plan, rules,
};
use crate::domain::id::GroupId;
use crate::domain::manual_rule::key_text;
use crate::domain::removal::Withdrawn;
use crate::domain::route::RouteKey;
use crate::domain::text::spell_out;

/// Exit code that says that something can be taken over.
const PENDING: u8 = 2;
/// Exit code for what was done in part.
const IN_PART: u8 = 3;
/// Most ids in one question to the master.
const AT_ONCE: usize = 1_000;

/// Options of `lightship import`.
#[derive(clap::Args)]
pub(in crate::cli) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    /// Take over rules, groups, agents and keys of DockFlare, from its data folder or a backup of it.
    ///
    /// Shows first what becomes of each. What is here already stays as it is, so it may be done again: agents get their tunnel
    /// once they have come here. What was withdrawn here stays so. Agent keys stay valid; the master is told their digests, and
    /// never the keys.
    /// Exit codes: 0 nothing to take, or all taken; 2 something can be; 3 taken in part; 1 failed.
    Dockflare(DockflareArgs),
}

#[derive(clap::Args)]
struct DockflareArgs {
    /// The folder that DockFlare has as /app/data, a backup from its page (.zip), or a state.json.
    place: PathBuf,
    /// Take it over without asking.
    #[arg(long)]
    yes: bool,
    /// Only show what would be taken over.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(in crate::cli) fn run(args: &ImportArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let From::Dockflare(args) = &args.from;
    let files = files::read(&args.place)?;
    admin_client::converse(common, async |master| {
        let plan = plan(&files.state, &files.keys, &look(&master, &files).await?);
        let due = plan.iter().filter(|item| !item.steps().is_empty()).count();
        if !common.json {
            show(&plan, &files)?;
        }
        // Who reads JSON is no person to be asked.
        let only_looks = args.dry_run || due == 0 || (common.json && !args.yes);
        if only_looks || !is_agreed(args, due)? {
            if common.json {
                output::json(&json!({ "items": plan, "notes": files.notes }))?;
            }
            return Ok(ExitCode::from(if due == 0 { 0 } else { PENDING }));
        }
        let failed = carry_out(&master, &plan).await;
        tell(&plan, &failed, due, &files, common)
    })
}

fn is_agreed(args: &DockflareArgs, due: usize) -> anyhow::Result<bool> {
    let question = format!("Take over {} of these?", output::count(due as u64, "thing"));
    Ok(args.yes || output::ask(&question, "add --yes to take over what is shown, or --dry-run to only look")?)
}

/// Asks the master what it has of all that.
async fn look(master: &AdminClient, files: &Files) -> anyhow::Result<Here> {
    let groups = master.get("/api/v3/access/groups").await?;
    let rules = master.get("/api/v3/rules/manual").await?;
    let agents = master.get("/api/v2/agents").await?;
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let agent = |(id, agent): (&String, &Value)| {
        let here = AgentHere {
            is_pending: agent["status"] == "pending",
            name: text(agent, "display_name"),
            key_id: agent["key_id"].as_str().map(str::to_owned),
        };
        (id.clone(), here)
    };
    let used = files.state.agents.iter().filter_map(|agent| agent.key.as_ref());
    let digests: BTreeSet<&String> = files.keys.iter().map(|key| &key.sha256).chain(used).collect();
    let mut keys = BTreeMap::new();
    for sha256 in &digests {
        match master.get(&key_path(sha256)).await {
            Ok(key) => {
                let here = KeyHere { id: text(&key, "key_id"), is_active: key["status"] == "active" };
                keys.insert((*sha256).clone(), here);
            }
            Err(error) if error.is::<NotFound>() => {}
            Err(error) => return Err(error),
        }
    }
    let unknown = digests.into_iter().filter(|sha256| !keys.contains_key(*sha256)).cloned().collect();
    let withdrawn = withdrawn(master, files, unknown).await?;
    Ok(Here {
        groups: items(&groups, "groups").iter().map(|group| text(group, "id")).collect(),
        rules: items(&rules, "rules")
            .iter()
            .map(|rule| RouteKey { hostname: text(rule, "hostname"), path: text(rule, "path") })
            .collect(),
        agents: agents["agents"].as_object().into_iter().flatten().map(agent).collect(),
        keys,
        withdrawn,
    })
}

/// Asks the master what was withdrawn there of what DockFlare still has.
async fn withdrawn(master: &AdminClient, files: &Files, digests: Vec<String>) -> anyhow::Result<Withdrawals> {
    let groups = files.state.groups.iter().map(|(id, _)| id).filter(|id| GroupId::parse(id).is_ok()).cloned();
    let rules: BTreeMap<String, RouteKey> =
        rules(&files.state).into_iter().map(|key| (key_text(&key), key)).collect();
    let withdrawn = withdrawn_among(master, Withdrawn::Rule, rules.keys().cloned().collect()).await?;
    Ok(Withdrawals {
        keys: withdrawn_among(master, Withdrawn::Key, digests).await?,
        groups: withdrawn_among(master, Withdrawn::Group, groups.collect()).await?,
        rules: rules.into_iter().filter(|(id, _)| withdrawn.contains(id)).map(|(_, key)| key).collect(),
    })
}

async fn withdrawn_among(
    master: &AdminClient,
    kind: Withdrawn,
    ids: Vec<String>,
) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for chunk in ids.chunks(AT_ONCE) {
        let answer = master.post("/api/v3/removed", json!({ "kind": kind, "ids": chunk })).await?;
        found.extend(items(&answer, "removed").iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())));
    }
    Ok(found)
}

fn key_path(sha256: &str) -> String {
    format!("/api/v3/keys/digests/{sha256}")
}

/// Does one thing after the other; returns what failed, by its place in the plan. The others do not suffer from it.
async fn carry_out(master: &AdminClient, plan: &[Item]) -> BTreeMap<usize, String> {
    let mut failed = BTreeMap::new();
    for (at, item) in plan.iter().enumerate() {
        for step in item.steps() {
            if let Err(error) = take(master, step).await {
                failed.insert(at, output::chain(&error));
                break;
            }
        }
    }
    failed
}

async fn take(master: &AdminClient, step: &Step) -> anyhow::Result<Value> {
    match step {
        Step::SetGroup { id, body } => {
            master.put(&format!("/api/v3/access/groups/{}", admin_client::segment(id)?), body.clone()).await
        }
        Step::TakeKey { sha256, body } => master.put(&key_path(sha256), body.clone()).await,
        Step::SetRule { body } => master.put("/api/v3/rules/manual", body.clone()).await,
        Step::Rename { agent, name } => {
            let path = format!("/api/v2/agents/{}/rename", admin_client::segment(agent)?);
            master.post(&path, json!({ "display_name": name })).await
        }
        Step::Enrol { agent, tunnel } => {
            let path = format!("/api/v2/agents/{}/enroll", admin_client::segment(agent)?);
            master.post(&path, json!({ "tunnel_name": tunnel })).await
        }
    }
}

fn show(plan: &[Item], files: &Files) -> anyhow::Result<()> {
    for note in &files.notes {
        eprintln!("note: {}", spell_out(note));
    }
    let of_containers = files.state.rules.iter().filter(|rule| !rule.is_manual()).count();
    if of_containers > 0 {
        eprintln!(
            "note: {} of containers come back by their labels",
            output::count(of_containers as u64, "rule")
        );
    }
    let row = |item: &Item| {
        let (word, reason) = match &item.outcome {
            Outcome::Take { .. } => ("taken over", None),
            Outcome::There => ("here already", None),
            Outcome::RemovedHere { reason } => ("removed here", Some(reason)),
            Outcome::Waits { reason } => ("waits", Some(reason)),
            Outcome::Left { reason } => ("left out", Some(reason)),
        };
        let notes: Vec<String> = reason.into_iter().chain(&item.notes).map(|text| spell_out(text)).collect();
        vec![item.kind.to_owned(), spell_out(&item.name), word.to_owned(), notes.join("; ")]
    };
    output::table(
        &["WHAT", "NAME", "BECOMES", "NOTES"],
        plan.iter().map(row).collect(),
        "DockFlare has nothing to take over",
    )
}

fn tell(
    plan: &[Item],
    failed: &BTreeMap<usize, String>,
    due: usize,
    files: &Files,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    if common.json {
        let failed: Vec<Value> = failed
            .iter()
            .filter_map(|(at, reason)| {
                let item = plan.get(*at)?;
                Some(json!({ "kind": item.kind, "name": item.name, "reason": reason }))
            })
            .collect();
        output::json(
            &json!({ "items": plan, "notes": files.notes, "failed": failed, "taken": due - failed.len() }),
        )?;
    } else {
        for (at, reason) in failed {
            let name = plan
                .get(*at)
                .map(|item| format!("{} {}", item.kind, spell_out(&item.name)))
                .unwrap_or_default();
            eprintln!("failed: {name}: {}", spell_out(reason));
        }
        eprintln!("{} of {due} taken over", due - failed.len());
    }
    Ok(match (failed.len(), plan.iter().any(Item::is_missing)) {
        (0, false) => ExitCode::SUCCESS,
        (count, _) if count == due => ExitCode::FAILURE,
        _ => ExitCode::from(IN_PART),
    })
}
