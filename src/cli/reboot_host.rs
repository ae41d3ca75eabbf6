//! `lightship reboot-host`: starts this host anew, where its owner allows it.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::common::Common;
use super::host_run::{self, Agreed, Host, NEEDS_ROOT, told};
use crate::domain::update::{PlanAsk, RebootAsk, Run};

/// Options of `lightship reboot-host`.
#[derive(clap::Args)]
pub(super) struct RebootHostArgs {
    /// Minutes until then.
    #[arg(long = "in", value_name = "MINUTES", default_value_t = 1)]
    delay_minutes: u16,
    /// What people who work on the host are told.
    #[arg(long, default_value = "")]
    message: String,
    /// Call off the restart that is ordered.
    #[arg(long, conflicts_with_all = ["delay_minutes", "message", "dry_run"])]
    cancel: bool,
    #[command(flatten)]
    agreed: Agreed,
}

/// Runs the verb.
pub(super) fn run(args: RebootHostArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let host = Host::open(common)?;
    if args.cancel {
        return cancel(&host);
    }
    if let Some(run) = host.unfinished()? {
        bail!("{}", host_run::cut_off(&run));
    }
    let ask = PlanAsk::Reboot(RebootAsk { delay_minutes: args.delay_minutes, message: args.message });
    ask.check()?;
    let plan = host.plan(&ask)?;
    host.ask_and_carry_out(plan, &ask, "Restart this host?", &args.agreed, common)
}

fn cancel(host: &Host) -> anyhow::Result<ExitCode> {
    if !host.is_root() {
        eprintln!("lightship: calling a restart off needs root: run the same with sudo");
        return Ok(ExitCode::from(NEEDS_ROOT));
    }
    let is_restart = |run: &Run| run.outcome.is_none() && matches!(run.ask, Some(PlanAsk::Reboot(_)));
    let run = host.runs()?.into_iter().find(is_restart);
    let run = run.context("no restart of this host is ordered; `lightship history` lists what was")?;
    host.call_off(&run)?;
    told(&format!("{}: called off", run.id));
    Ok(ExitCode::SUCCESS)
}
