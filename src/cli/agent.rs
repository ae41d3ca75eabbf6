//! `lightship agent`: one per host.

use std::process::ExitCode;

use super::common::Common;
use super::run as process;
use super::scan::{self, Export, What};
use super::values::agent_way;
use super::{agent_half, output};
use crate::actors::supervision::Root;
use crate::config::Role;

/// Options of `lightship agent`: without one of them it runs; with one it does what RedFlag's agent does.
#[derive(clap::Args)]
pub(super) struct AgentArgs {
    /// Look for pending updates and end, as `lightship scan`.
    #[arg(long, group = "once")]
    scan: bool,
    /// Show how the last scan came out and end, as `lightship status`.
    #[arg(long, group = "once")]
    status: bool,
    /// List what the last scan found and end, as `lightship list-updates`.
    #[arg(long, group = "once")]
    list_updates: bool,
    /// Print for other programs, in RedFlag's form: `json` or `csv`.
    #[arg(long, value_name = "FORM", requires = "once")]
    export: Option<Export>,
}

impl AgentArgs {
    fn once(&self) -> Option<What> {
        let all =
            [(self.scan, What::Scan), (self.status, What::Status), (self.list_updates, What::ListUpdates)];
        all.into_iter().find_map(|(is_asked, what)| is_asked.then_some(what))
    }
}

/// Runs the agent until it is asked to end.
pub(super) fn run(args: &AgentArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if let Some(what) = args.once() {
        return scan::run_as_seed(what, args.export, common);
    }
    process::run(common, Role::Agent, async |start| {
        let (master, key) = agent_way(&start.loaded.settings)?;
        let (spec, ports) = agent_half::describe(&start, &master, key)?;
        let root = Root::start(start.tree.clone(), "agent", spec).await;
        let socket = agent_half::serve_status(&start, ports)?;
        process::say(&format!("agent of {}", output::address(&master)));
        let end = process::until_end(&root, start.signals.next()).await;
        let code = process::finish(root, end).await;
        socket.stop(false).await;
        Ok(code)
    })
}
