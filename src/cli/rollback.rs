//! `lightship rollback`: puts back what a run changed.

use std::process::ExitCode;

use anyhow::Context;

use super::common::Common;
use super::host_run::{
    Agreed, Host, NEEDS_ROOT, PENDING, REFUSED, confirmed, finish, plan_in_json, show_plan,
};
use super::output;
use crate::domain::update::{PlanAsk, Run, RunId};

/// Options of `lightship rollback`.
#[derive(clap::Args)]
pub(super) struct RollbackArgs {
    /// A run, as `lightship history` names it, or names of packages and containers: those are put back to what they were before their
    /// last change.
    #[arg(value_name = "RUN|NAME", required = true)]
    what: Vec<String>,
    /// Afterwards restart the services that run on files which were replaced.
    #[arg(long)]
    restart_services: bool,
    #[command(flatten)]
    agreed: Agreed,
}

/// Runs the verb.
pub(super) fn run(args: &RollbackArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let host = Host::open(common)?;
    let runs = host.runs()?;
    if let [one] = &args.what[..]
        && let Some(id) = RunId::parse(one)
    {
        host.may_act_on(&id)?;
    }
    let (run, only) = meant(&runs, &args.what)?;
    let ask = PlanAsk::Undo { run: run.id.clone(), only, restart_services: args.restart_services };
    let plan = host.plan(&ask)?;
    if plan.changes.is_empty() || args.agreed.dry_run {
        if common.json {
            output::json(&plan_in_json(&plan))?;
        } else if plan.changes.is_empty() {
            output::line(&format!(
                "Nothing of {} is to be put back: everything is as it was before.",
                run.id
            ))?;
        } else {
            show_plan(&plan)?;
        }
        if !args.agreed.dry_run && run.outcome.is_none() && host.is_root() {
            host.give_up(run)?;
        }
        return Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PENDING) });
    }
    if !common.json {
        show_plan(&plan)?;
    }
    if !host.allows(&plan, &ask)? {
        return Ok(ExitCode::from(REFUSED));
    }
    if !host.is_root() {
        eprintln!("lightship: putting packages back needs root: run the same with sudo");
        return Ok(ExitCode::from(NEEDS_ROOT));
    }
    if !confirmed(args.agreed.yes, "Put back exactly this?")? {
        return Ok(ExitCode::FAILURE);
    }
    if run.outcome.is_none() {
        host.give_up(run)?;
    }
    finish(&host.carry_out_new(plan, &ask)?, common)
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
