//! `lightship agent`: one per host.

use std::process::ExitCode;

use anyhow::Context;

use super::run as process;
use super::{Common, agent_half, output};
use crate::actors::supervision::Root;
use crate::config::Role;

/// Runs the agent until it is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    process::run(common, Role::Agent, async |start| {
        let agent = &start.loaded.settings.agent;
        let master = agent.master_url.clone().context(
            "no master: set DOCKFLARE_MASTER_URL or `--master` to the master's address, such as \
             http://master:8080",
        )?;
        let key = agent.api_key.get().cloned().context(
            "no agent key: make one on the master's page Agents or with `lightship keys create`, then set \
             DOCKFLARE_API_KEY",
        )?;
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
