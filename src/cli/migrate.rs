//! `lightship migrate`: brings the database to this release, or refills what is derived from events.

use std::process::ExitCode;

use serde_json::json;

use super::common::Common;
use super::database::{self, Access};
use super::output;

/// Options of `lightship migrate`.
#[derive(clap::Args)]
pub(super) struct MigrateArgs {
    /// Drop everything that is derived from events and derive it again.
    #[arg(long)]
    rebuild: bool,
}

pub(super) fn run(args: MigrateArgs, common: &Common) -> anyhow::Result<ExitCode> {
    database::with(common, Access::Write, async |db| {
        db.migrate().await?;
        let rebuilt = if args.rebuild { Some(db.rebuild().await?) } else { None };
        match rebuilt {
            _ if common.json => {
                output::json(&json!({ "status": "up_to_date", "rebuilt_from_events": rebuilt }))?
            }
            Some(events) => {
                output::line(&format!("the database is up to date; derived again from {events} events"))?;
            }
            None => output::line("the database is up to date")?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
