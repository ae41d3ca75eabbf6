//! `lightship health`: for health checks of containers and units.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::common::Common;
use super::{output, sources};
use crate::config::Role;
use crate::http_client;

pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let settings = sources::load(common, Role::Client)?.settings;
    let dir = settings.state.dir.context("no state directory")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for name in ["admin.sock", "agent.sock"] {
            let socket = dir.join(name);
            if !socket.exists() {
                continue;
            }
            let http = http_client::socket_builder(&socket).timeout(Duration::from_secs(4)).build()?;
            let answer = http.get("http://localhost/healthz").send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => {
                    if common.json {
                        output::json(&json!({ "status": "ok", "socket": name }))?;
                    }
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(answer) => bail!("`{name}` answered {}", answer.status()),
                Err(_) => continue,
            }
        }
        bail!("nothing answers in `{}`: neither a master nor an agent runs there", dir.display())
    })
}
