//! `lightship migrate`: brings the database to this release, or refills what is derived from events.

use std::process::ExitCode;

use super::database::{self, Access};
use super::{Common, output};

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
        let line = if args.rebuild {
            format!("the database is up to date; derived again from {} events", db.rebuild().await?)
        } else {
            "the database is up to date".to_owned()
        };
        output::line(&line)?;
        Ok(ExitCode::SUCCESS)
    })
}
