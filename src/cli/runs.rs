//! `lightship runs`: what was done on all hosts, one run as it goes on, and the way back.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::sleep;
use url::form_urlencoded::Serializer;

use super::admin_client::AdminClient;
use super::common::{Common, misplaced};
use super::fleet::{OFTEN, WaitArgs, agent_of, asked, changes_of, print_answers};
use super::fleet_updates::say_how_to_approve;
use super::host_run::REFUSED;
use super::{admin_client, output};
use crate::domain::text::{repeated, spell_out};
use crate::domain::update::{PlanId, RunId};
use crate::web::pages::plans::in_short;

/// As much of the end of a log as is looked for in the next one, in bytes.
const SEAM: usize = 400;
/// Runs that are listed unless the person says otherwise.
const SHOWN: u64 = 50;
/// Most steps that are looked at in a row before a failed call counts.
const PATIENCE: u32 = 5;

/// Options of `lightship runs`.
#[derive(clap::Args)]
pub(super) struct RunsArgs {
    #[command(flatten)]
    filter: ListArgs,
    #[command(subcommand)]
    verb: Option<RunsVerb>,
}

#[derive(Default, PartialEq, clap::Args)]
struct ListArgs {
    /// Of this host, by its id or name.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only those that are under way.
    #[arg(long)]
    running: bool,
    /// At most so many, the newest first; 50 if it is left out.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200))]
    max: Option<u64>,
}

#[derive(Subcommand)]
enum RunsVerb {
    /// List runs, the newest first (the default).
    List(ListArgs),
    /// Show one run with its changes, its steps and the end of its log.
    ///
    /// With `--follow` it ends with the run: 0 verified, 1 failed, 5 refused by the host.
    Show {
        /// The host, by its id or name.
        host: String,
        /// The run.
        run: String,
        /// Go on until it ended.
        #[arg(long)]
        follow: bool,
    },
    /// Have the host stop a run at its next safe point; what is done stays done.
    Cancel {
        /// The host, by its id or name.
        host: String,
        /// The run.
        run: String,
    },
    /// Ask the host what taking a run back would change; nothing is changed before that is approved.
    Undo {
        /// The host, by its id or name.
        host: String,
        /// The run.
        run: String,
        /// Only these names of it.
        names: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Runs the verb.
pub(super) fn run(args: RunsArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if args.verb.is_some() && args.filter != ListArgs::default() {
        return Err(misplaced("runs list --host web-1"));
    }
    match args.verb.unwrap_or(RunsVerb::List(args.filter)) {
        RunsVerb::List(filter) => list(&filter, common),
        RunsVerb::Show { host, run, follow } => show(&host, &run, follow, common),
        RunsVerb::Cancel { host, run } => {
            let run = run_of(&run)?;
            let answer = admin_client::converse(common, async |master| {
                let agent = agent_of(&master, &host).await?;
                master
                    .post(
                        &format!("/api/v3/runs/{}/{}/cancel", admin_client::segment(&agent)?, run),
                        json!({}),
                    )
                    .await
            })?;
            if common.json {
                output::json(&answer)?;
            } else {
                output::line(&format!(
                    "{run} stops at its next safe point; `lightship runs show {host} {run}` shows how it ends"
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        RunsVerb::Undo { host, run, names, wait } => {
            let (answer, left) = admin_client::converse(common, async |master| {
                let agent = agent_of(&master, &host).await?;
                let mut question = json!({ "run": { "agent": agent, "id": run_of(&run)? } });
                if !names.is_empty() {
                    question["only"] = json!(names);
                }
                asked(&master, question, &wait).await
            })?;
            let code = print_answers(&answer, &left, common.json)?;
            say_how_to_approve(&answer)?;
            Ok(ExitCode::from(code))
        }
    }
}

/// What is no name of a run is no part of an address.
fn run_of(text: &str) -> anyhow::Result<RunId> {
    RunId::parse(text).with_context(|| format!("`{}` is no run; `lightship runs` lists them", repeated(text)))
}

fn list(filter: &ListArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &filter.max.unwrap_or(SHOWN).to_string());
        if let Some(host) = &filter.host {
            query.append_pair("agent_id", &agent_of(&master, host).await?);
        }
        if filter.running {
            query.append_pair("running", "true");
        }
        master.get(&format!("/api/v3/runs?{}", query.finish())).await
    })?;
    let runs = answer["runs"].as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&runs)?;
    } else {
        let rows = runs.iter().map(row).collect();
        let header = ["RUN", "HOST", "BY", "STARTED", "STATUS", "PLAN", "WHY"];
        output::table(
            &header,
            rows,
            "no run is known; `lightship updates plan` asks what updates would change",
        )?;
    }
    if answer["next"].is_u64() {
        eprintln!("there are {} in all; `--max` shows more", answer["total"]);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(run: &Value) -> Vec<String> {
    let by = output::text(run, "by");
    let by = if run["order"].is_null() { format!("{by}, on the host") } else { by };
    let plan = PlanId::stored(output::text(run, "plan"));
    vec![
        output::text(run, "id"),
        output::text(run, "agent"),
        by,
        output::text(run, "started_at"),
        status(run),
        plan.short().to_owned(),
        output::text(run, "reason"),
    ]
}

fn status(run: &Value) -> String {
    let mut word = output::text(run, "status").replace('_', " ");
    if run["undoes"].is_string() {
        word += &format!(", takes back {}", output::text(run, "undoes"));
    }
    word
}

fn show(host: &str, run: &str, follow: bool, common: &Common) -> anyhow::Result<ExitCode> {
    admin_client::converse(common, async |master| {
        let agent = agent_of(&master, host).await?;
        let path = format!("/api/v3/runs/{}/{}", admin_client::segment(&agent)?, run_of(run)?);
        let first = master.get(&path).await?;
        if !follow {
            if common.json {
                output::json(&first)?
            } else {
                print(&first)?
            }
            return Ok(ExitCode::SUCCESS);
        }
        let last = followed(&master, &path, first, common).await?;
        if common.json {
            output::json(&last)?;
        } else {
            output::line(&ending(&last))?;
        }
        Ok(match (last["status"].as_str(), last["is_refused"] == true) {
            (Some("verified"), _) => ExitCode::SUCCESS,
            (_, true) => ExitCode::from(REFUSED),
            _ => ExitCode::FAILURE,
        })
    })
}

fn print(run: &Value) -> anyhow::Result<()> {
    let changes = changes_of(run).ok();
    let what = changes.as_ref().map_or_else(|| output::text(run, "plan"), in_short);
    output::line(&format!("{} on {}: {what}", output::text(run, "id"), output::text(run, "agent")))?;
    if let Some(changes) = &changes {
        let version = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), spell_out);
        let rows = changes.all().iter().map(|change| {
            let what = change.operation.as_str().to_owned();
            vec![what, spell_out(&change.name), version(&change.from), version(&change.to)]
        });
        output::table(&["WHAT", "NAME", "FROM", "TO"], rows.collect(), "nothing is changed")?;
    }
    for step in run["steps"].as_array().into_iter().flatten() {
        output::line(&format!("{}  {} done", output::text(step, "at"), output::text(step, "name")))?;
    }
    output::line(&ending(run))?;
    let log = run["log"].as_str().unwrap_or_default();
    if !log.is_empty() {
        output::line("")?;
        log.lines().try_for_each(|line| output::line(&spell_out(line)))?;
    }
    Ok(())
}

fn ending(run: &Value) -> String {
    let by = output::text(run, "by");
    let by = if run["order"].is_null() {
        format!("on the host itself by {by}")
    } else {
        format!("approved by {by}")
    };
    if run["status"] == "running" {
        return format!("running, {by}: {}", progress(run));
    }
    let why = run["reason"].as_str().map(|text| format!(": {}", spell_out(text))).unwrap_or_default();
    format!("{}, {by}{why}", status(run))
}

fn progress(run: &Value) -> String {
    let percent = run["percent"].as_u64().map(|percent| format!(", {percent} %")).unwrap_or_default();
    let words = run["words"]
        .as_str()
        .filter(|words| !words.is_empty())
        .map(|words| format!(": {}", spell_out(words)));
    format!("{}{}{percent}", output::text(run, "step"), words.unwrap_or_default())
}

/// Prints the log as it comes, and how far the run is beside it, until it ends.
async fn followed(master: &AdminClient, path: &str, first: Value, common: &Common) -> anyhow::Result<Value> {
    let (mut run, mut log, mut said) = (first, String::new(), String::new());
    let mut failed = 0;
    loop {
        let now = run["log"].as_str().unwrap_or_default().to_owned();
        if !common.json {
            for line in news(&log, &now).lines() {
                output::line(&spell_out(line))?;
            }
        }
        log = now;
        if run["status"] != "running" {
            return Ok(run);
        }
        let words = progress(&run);
        if words != said {
            eprintln!("{words}");
            said = words;
        }
        sleep(OFTEN).await;
        match master.get(path).await {
            Ok(next) => (run, failed) = (next, 0),
            Err(error) if failed >= PATIENCE => return Err(error),
            // The master may be starting anew.
            Err(_) => failed += 1,
        }
    }
}

/// Returns what came to a log of which only the end is kept, and of it only whole lines were shown.
fn news<'a>(before: &str, now: &'a str) -> &'a str {
    if let Some(more) = now.strip_prefix(before) {
        return more;
    }
    let mut at = before.len().saturating_sub(SEAM);
    while !before.is_char_boundary(at) {
        at += 1;
    }
    let seam = before.get(at..).unwrap_or_default();
    now.rfind(seam).and_then(|found| now.get(found + seam.len()..)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_only_what_is_new_is_shown_however_much_of_its_beginning_went() {
        assert_eq!(news("", "one\n"), "one\n");
        assert_eq!(news("one\n", "one\ntwo\n"), "two\n");
        assert_eq!(news("one\n", "one\n"), "");
        let before = format!("gone\n{}end\n", "ü".repeat(300));
        let now = format!("{}end\nnew\n", "ü".repeat(300));
        assert_eq!(news(&before, &now), "new\n");
        assert_eq!(news("something\n", "quite another\n"), "quite another\n");
    }
}
