//! Gathers what settings are read from: file, `.env` and environment. The only reader of the environment.

mod dot_env;

use std::path::PathBuf;

use anyhow::Context;

use super::Common;
use crate::config::{Loaded, Role, Sources};

/// Reads the settings for `role`. Options of the command line win over all of them.
pub(super) fn load(common: &Common, role: Role) -> anyhow::Result<Loaded> {
    let dot_env = dot_env::read(".env".as_ref()).context("cannot read `.env` in the working directory")?;
    // Variables that are not text cannot be ours.
    let environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let sources = Sources {
        file: common.config.clone(),
        environment: environment.collect(),
        dot_env,
        options: options(common, role)?,
    };
    let mut loaded = Loaded::read(&sources, role)?;
    let dir = loaded.settings.state.dir.take();
    loaded.settings.state.dir = Some(dir.map_or_else(default_state_dir, anyhow::Ok)?);
    Ok(loaded)
}

fn options(common: &Common, role: Role) -> anyhow::Result<Vec<(&'static str, &'static str, String)>> {
    let mut options = Vec::new();
    if let Some(dir) = &common.state_dir {
        let dir = dir.to_str().context("`--state-dir` is no text; use a folder whose name is")?;
        options.push(("state.dir", "--state-dir", dir.to_owned()));
    }
    if let Some(url) = &common.master {
        let key = if role == Role::Agent { "agent.master_url" } else { "admin.master_url" };
        options.push((key, "--master", url.clone()));
    }
    Ok(options)
}

fn default_state_dir() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/lightship".into());
    }
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
    base.map(|base| base.join("lightship")).context(
        "no place for the state directory: set LIGHTSHIP_STATE_DIR to a folder that this user may write",
    )
}
