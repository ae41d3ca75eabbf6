//! `lightship history`: what runs on this host did.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::common::Common;
use super::host_run::{run_in_json, seen_after, show_plan};
use super::records::Records;
use super::values::helper_dir;
use super::{output, sources};
use crate::config::Role;
use crate::domain::text::spell_out;
use crate::domain::update::{Run, RunId, RunOutcome};
use crate::state_dir::{Runs, read_end};

/// Longest end of a log that is shown, in bytes.
const LOG_END: u64 = 64 * 1024;

/// Options of `lightship history`.
#[derive(clap::Args)]
pub(super) struct HistoryArgs {
    /// A run: its plan, its steps and the end of its log.
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

/// Runs the verb.
pub(super) fn run(args: &HistoryArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = sources::load(common, Role::Client)?.settings;
    let dir = settings.state.dir.clone().context("no state directory")?;
    let helper = helper_dir(&settings, &dir).filter(|helper| helper.is_dir());
    if helper.is_none()
        && settings.updates.helper_state_dir != dir
        && settings.updates.helper_state_dir.is_dir()
    {
        eprintln!(
            "lightship: what the helper of this host did is shown to root only: run the same with sudo"
        );
    }
    let records = Records::new([Some(dir), helper].into_iter().flatten().map(|dir| Runs::of(&dir)));
    let runs = records.list()?;
    match &args.run {
        Some(text) => {
            let found = RunId::parse(text).and_then(|id| runs.iter().find(|run| run.id == id));
            let found = found
                .with_context(|| format!("no run `{text}` on this host; `lightship history` lists them"))?;
            one(&records, found, undone_by(&runs, found), common)?;
        }
        None if common.json => {
            let all: Vec<_> = runs.iter().map(|run| run_in_json(run, undone_by(&runs, run))).collect();
            output::json(&json!({ "runs": all }))?;
        }
        None => {
            let rows = runs.iter().map(|run| row(&runs, run)).collect();
            output::table(&["RUN", "BY", "CHANGES", "OUTCOME"], rows, "No run on this host yet.")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The run that took this one back.
fn undone_by<'a>(runs: &'a [Run], run: &Run) -> Option<&'a RunId> {
    let is_back =
        |other: &&Run| other.undoes.as_ref() == Some(&run.id) && other.outcome == Some(RunOutcome::Verified);
    runs.iter().find(is_back).map(|other| &other.id)
}

fn row(runs: &[Run], run: &Run) -> Vec<String> {
    let changes = run.plan.changes.all();
    let named: Vec<String> = changes.iter().take(3).map(|change| spell_out(&change.name)).collect();
    let more = changes.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut outcome = match &run.outcome {
        Some(outcome) => outcome.as_str().replace('_', " "),
        None => "under way, or cut off".into(),
    };
    if let Some(by) = undone_by(runs, run) {
        outcome += &format!(", taken back by {by}");
    }
    if let Some(of) = &run.undoes {
        outcome += &format!(", takes back {of}");
    }
    vec![run.id.to_string(), spell_out(&run.by), format!("{}{more}", named.join(", ")), outcome]
}

fn one(records: &Records, run: &Run, undone_by: Option<&RunId>, common: &Common) -> anyhow::Result<()> {
    let place = records.of(&run.id)?.with_context(|| format!("the record of {} is gone", run.id))?;
    let log = read_end(&place.folder(&run.id)?.join("log.txt"), 0, LOG_END);
    if common.json {
        let mut whole = run_in_json(run, undone_by);
        whole["plan"] = json!(run.plan);
        whole["steps"] = json!(run.steps);
        whole["log"] = json!(log);
        return output::json(&whole);
    }
    show_plan(&run.plan)?;
    for step in &run.steps {
        output::line(&format!("{}  {} done", step.at.format("%Y-%m-%d %H:%M:%S UTC"), step.name))?;
    }
    if let Some(begun) = &run.begun {
        output::line(&format!("{begun} was begun and not done"))?;
    }
    if let Some(outcome) = &run.outcome {
        let reason = outcome.reason().map(|reason| format!(": {}", spell_out(reason))).unwrap_or_default();
        output::line(&format!("{}{reason}", outcome.as_str().replace('_', " ")))?;
    }
    seen_after(run).iter().try_for_each(|line| output::line(&spell_out(line)))?;
    if !log.is_empty() {
        output::line("")?;
        log.lines().try_for_each(|line| output::line(&spell_out(line)))?;
    }
    Ok(())
}
