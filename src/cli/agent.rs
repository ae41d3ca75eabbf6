//! `lightship agent`: one per host.

use std::process::ExitCode;

use super::common::Common;
use super::run as process;
use super::values::agent_way;
use super::{agent_half, output};
use crate::actors::supervision::Root;
use crate::config::Role;

/// Runs the agent until it is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
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
