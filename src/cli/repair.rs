//! `lightship repair`: brings an installation of packages to its end that was broken off.

use std::process::ExitCode;

use anyhow::bail;

use super::common::Common;
use super::host_run::{self, Agreed, Host};
use super::output;
use crate::domain::update::PlanAsk;

/// Options of `lightship repair`.
#[derive(clap::Args)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    agreed: Agreed,
}

/// Runs the verb.
pub(super) fn run(args: &RepairArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let host = Host::open(common)?;
    if let Some(run) = host.unfinished()? {
        bail!("{}", host_run::cut_off(&run));
    }
    let plan = host.plan(&PlanAsk::Repair)?;
    if plan.changes.is_empty() && !common.json {
        output::line("No installation of packages is broken off.")?;
        return Ok(ExitCode::SUCCESS);
    }
    host.ask_and_carry_out(plan, &PlanAsk::Repair, "Do exactly this?", &args.agreed, common)
}
