//! `lightship plan-updates` and `lightship install`: exactly what is shown, on this host, with no master.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::common::Common;
use super::host_run::{
    self, Agreed, Host, NEEDS_ROOT, PENDING, REFUSED, confirmed, finish, plan_in_json, show_plan, told,
};
use super::output;
use crate::domain::update::{Difference, Plan, PlanAsk, Run, RunOutcome, Wanted};
use crate::state_dir::{keep_plan, kept_plan};

/// What is to be installed.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Packages and containers, by name; containers also by their image (`nginx:1.27`). What they need, and what stands on
    /// them, comes along and is shown. A name that a container has means the container: `apt:NAME` means the package.
    #[arg(value_name = "NAME", conflicts_with_all = ["security", "all"])]
    names: Vec<String>,
    /// Everything newer that mends a hole.
    #[arg(long, conflicts_with = "all")]
    security: bool,
    /// Everything newer.
    #[arg(long)]
    all: bool,
}

/// Options of `lightship plan-updates`.
#[derive(clap::Args)]
pub(super) struct PlanUpdatesArgs {
    #[command(flatten)]
    which: Which,
}

/// Options of `lightship install`.
#[derive(clap::Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    which: Which,
    /// The plan with this id, or nothing: what `lightship plan-updates` printed, at least its first twelve digits.
    #[arg(long, value_name = "ID", conflicts_with_all = ["names", "security", "all"])]
    plan: Option<String>,
    /// Afterwards restart the services that run on files which were replaced. The plan names them, and those that are never
    /// restarted.
    #[arg(long)]
    restart_services: bool,
    #[command(flatten)]
    agreed: Agreed,
}

/// A plan that was shown.
#[derive(Serialize, Deserialize)]
struct Shown {
    asked: Wanted,
    plan: Plan,
}

impl Which {
    fn asked(self) -> anyhow::Result<Wanted> {
        match self {
            Self { names, .. } if !names.is_empty() => Ok(Wanted::Named(names)),
            Self { security: true, .. } => Ok(Wanted::Security),
            Self { all: true, .. } => Ok(Wanted::All),
            _ => bail!("say what: names of packages, --security or --all"),
        }
    }
}

/// Runs `lightship plan-updates`.
pub(super) fn plan_updates(args: PlanUpdatesArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let asked = match args.which.asked() {
        Ok(asked) => asked,
        // Looking at everything harms nobody.
        Err(_) => Wanted::All,
    };
    let host = Host::open(common)?;
    let ask = PlanAsk::install(asked.clone());
    let plan = host.plan(&ask)?;
    keep(host.dir(), asked, &plan);
    print(&plan, common)?;
    host.allows(&plan, &ask)?;
    Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PENDING) })
}

/// Runs `lightship install`.
pub(super) fn install(args: InstallArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let host = Host::open(common)?;
    let unfinished = host.unfinished()?;
    let (asked, approved) = match args.plan {
        Some(text) => {
            if let Some(run) = unfinished.clone().filter(|run| run.plan.id().is_meant_by(&text)) {
                return go_on(&host, run, "was cut off", &args.agreed, common);
            }
            // Where a plan failed it is gone on with.
            let is_meant = |run: &Run| run.can_be_gone_on_with() && run.plan.id().is_meant_by(&text);
            if let Some(failed) = newest(&host)?.filter(is_meant) {
                let run = host.new_run_after(&failed);
                return go_on(&host, run, "failed", &args.agreed, common);
            }
            let shown = kept_plan::<Shown>(host.dir(), &text)?;
            let shown = shown.with_context(|| {
                format!("no plan `{text}` was shown on this host: `lightship plan-updates` makes one and prints its id")
            })?;
            (shown.asked, Some(shown.plan))
        }
        None => (args.which.asked()?, None),
    };
    if let Some(run) = unfinished {
        bail!("{}", host_run::cut_off(&run));
    }
    let ask = PlanAsk::Install { wanted: asked.clone(), restart_services: args.restart_services };
    let plan = host.plan(&ask)?;
    if let Some(approved) = approved
        && let Some(refusal) = differs(&approved, &plan)
    {
        // Whoever did not hear how it ended asks again.
        let is_meant =
            |run: &Run| run.outcome == Some(RunOutcome::Verified) && run.plan.id() == approved.id();
        if nothing_is_left(&approved, &plan)
            && let Some(done) = newest(&host)?.filter(is_meant)
        {
            told("this plan was carried out already, and nothing of it is left to do");
            return finish(&done, common);
        }
        eprintln!("lightship: {refusal}");
        return Ok(ExitCode::from(REFUSED));
    }
    keep(host.dir(), asked, &plan);
    host.ask_and_carry_out(plan, &ask, "Install exactly this?", &args.agreed, common)
}

/// The run that made the host what it is: a later one that changed something makes it another host.
fn newest(host: &Host) -> anyhow::Result<Option<Run>> {
    let has_changed = |run: &Run| !matches!(run.outcome, Some(RunOutcome::NotStarted { .. }));
    Ok(host.runs()?.into_iter().find(has_changed))
}

/// True if the host would change nothing any more of what was planned.
fn nothing_is_left(approved: &Plan, now: &Plan) -> bool {
    let differences = approved.changes.compare(&now.changes);
    let gone = differences.iter().filter(|one| one.planned.is_some() && one.now.is_none());
    gone.count() == approved.changes.all().len()
}

/// Goes on with a plan whose run came to no good end.
fn go_on(host: &Host, run: Run, what: &str, agreed: &Agreed, common: &Common) -> anyhow::Result<ExitCode> {
    if agreed.dry_run {
        print(&run.plan, common)?;
        return Ok(ExitCode::from(PENDING));
    }
    if !host.allows(&run.plan, &run.asked())? {
        return Ok(ExitCode::from(REFUSED));
    }
    if !host.is_root() {
        eprintln!("lightship: installing needs root: run the same with sudo");
        return Ok(ExitCode::from(NEEDS_ROOT));
    }
    let id = run.goes_on.as_ref().unwrap_or(&run.id);
    told(&format!("going on with {id}, which {what}"));
    if !confirmed(agreed.yes, "Go on?")? {
        return Ok(ExitCode::FAILURE);
    }
    finish(&host.carry_out(run)?, common)
}

/// Says how what would be done now differs from what was approved.
fn differs(approved: &Plan, now: &Plan) -> Option<String> {
    let differences = approved.changes.compare(&now.changes);
    if differences.is_empty() {
        return None;
    }
    let lines = differences.iter().take(20).map(|difference| format!("  {}", line_of(difference)));
    let more = differences.len().saturating_sub(20);
    let more = (more > 0).then(|| format!("  and {more} more"));
    let lines: Vec<String> = lines.chain(more).collect();
    let ways = "Nothing was changed. `lightship plan-updates` shows what would be done now.";
    Some(format!("the plan {} no longer holds:\n{}\n{ways}", approved.id().short(), lines.join("\n")))
}

fn line_of(difference: &Difference) -> String {
    crate::domain::text::spell_out(&difference.to_string())
}

fn keep(dir: &Path, asked: Wanted, plan: &Plan) {
    if let Err(error) = keep_plan(dir, &plan.id(), &Shown { asked, plan: plan.clone() }) {
        eprintln!("warning: the plan cannot be named later, because it is not kept: {error}");
    }
}

fn print(plan: &Plan, common: &Common) -> anyhow::Result<()> {
    if common.json { output::json(&plan_in_json(plan)) } else { show_plan(plan) }
}
