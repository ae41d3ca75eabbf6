//! `lightship agent`: one per host.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::Common;
use super::run::{self, Start};
use crate::actors::supervision::Root;
use crate::config::Role;

/// Runs the agent until it is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    run::run(common, Role::Agent, async |start| {
        let agent = &start.loaded.settings.agent;
        let master = agent.master_url.clone().context(
            "no master: set DOCKFLARE_MASTER_URL to the master's address, such as http://master:8080",
        )?;
        let key = agent.api_key.expose().map(str::to_owned).context(
            "no agent key: make one on the master's Agents page (or with `lightship keys create`) and set DOCKFLARE_API_KEY",
        )?;
        let spec = super::agent_half::describe(&start, &master, &key)?;
        let root = Root::start(start.tree.clone(), "agent", spec).await;
        let socket = super::agent_half::serve_status(&start)?;
        run::say(&format!("agent of {master}"));
        let end = run::until_end(&root).await?;
        socket.stop(false).await;
        Ok(run::finish(root, end).await)
    })
}
