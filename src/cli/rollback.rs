//! `lightship rollback`: puts back what a run changed.

use std::process::ExitCode;

use anyhow::Context;

use super::common::Common;
use super::host_run::{Host, NEEDS_ROOT, PENDING, REFUSED, confirmed, finish, show_plan};
use super::{install, output};
use crate::domain::update::{PlanAsk, Run, RunId};

/// Options of `lightship rollback`.
#[derive(clap::Args)]
pub(super) struct RollbackArgs {
    /// A run, as `lightship history` names it, or names of packages and containers: those are put back to what they were before their
    /// last change.
    #[arg(value_name = "RUN|NAME", required = true)]
    what: Vec<String>,
    /// Show what would be put back and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

/// Runs the verb.
pub(super) fn run(args: &RollbackArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let host = Host::open(common)?;
    let runs = host.runs().list()?;
    let (run, only) = meant(&runs, &args.what)?;
    let plan = host.plan(&PlanAsk::Undo { run: run.id.clone(), only })?;
    if plan.changes.is_empty() || args.dry_run {
        if common.json {
            output::json(&install::in_json(&plan))?;
        } else if plan.changes.is_empty() {
            output::line(&format!(
                "Nothing of {} is to be put back: everything is as it was before.",
                run.id
            ))?;
        } else {
            show_plan(&plan)?;
        }
        if !args.dry_run && run.outcome.is_none() && host.is_root() {
            host.hands.give_up(run)?;
        }
        return Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PENDING) });
    }
    if !common.json {
        show_plan(&plan)?;
    }
    if !host.allows(&plan, true)? {
        return Ok(ExitCode::from(REFUSED));
    }
    if !host.is_root() {
        eprintln!("lightship: putting packages back needs root: run the same with sudo");
        return Ok(ExitCode::from(NEEDS_ROOT));
    }
    if !confirmed(args.yes, "Put back exactly this?")? {
        return Ok(ExitCode::FAILURE);
    }
    if run.outcome.is_none() {
        host.hands.give_up(run)?;
    }
    finish(&host.carry_out_new(plan, Some(run))?, common)
}

/// Returns the run that is meant, and which of its packages.
fn meant<'a>(runs: &'a [Run], what: &[String]) -> anyhow::Result<(&'a Run, Vec<String>)> {
    if let [one] = what
        && let Some(id) = RunId::parse(one)
        && let Some(run) = runs.iter().find(|run| run.id == id)
    {
        return Ok((run, Vec::new()));
    }
    let is_undone = |run: &Run| runs.iter().any(|other| other.undoes.as_ref() == Some(&run.id));
    let changes = |run: &&Run| {
        let has = |name: &String| run.plan.changes.all().iter().any(|change| change.name == *name);
        run.undoes.is_none() && what.iter().all(has) && !is_undone(run)
    };
    let run = runs.iter().find(changes).with_context(|| {
        format!("no run on this host changed {}; `lightship history` lists them", what.join(" and "))
    })?;
    Ok((run, what.to_vec()))
}
