//! Gathers what settings are read from: file, `.env` and environment. The only reader of the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::common::Common;
use crate::config::{Loaded, Role, Sources, is_ours, read_dot_env};
use crate::telemetry;

/// Reads the settings for `role`. Options of the command line win over all of them.
pub(super) fn load(common: &Common, role: Role) -> anyhow::Result<Loaded> {
    let dot_env = read_dot_env(".env".as_ref(), &environment())
        .context("cannot read `.env` in the working directory")?;
    load_beside(common, role, dot_env)
}

/// Reads the settings for `role`, with this file in the place of `.env`; it has to be there. Returns its variables too.
pub(super) fn load_with(
    common: &Common,
    role: Role,
    file: &Path,
) -> anyhow::Result<(Loaded, BTreeMap<String, String>)> {
    let place = || format!("cannot read `{}`", file.display());
    // Opening a pipe that nobody writes to would wait for ever.
    if !std::fs::metadata(file).with_context(place)?.is_file() {
        bail!("`{}` is not a file; name the file with DockFlare's variables", file.display());
    }
    let variables = read_dot_env(file, &environment()).with_context(place)?;
    Ok((load_beside(common, role, variables.clone())?, variables))
}

/// True if a variable of this name changes what this program does.
pub(super) fn is_read(name: &str) -> bool {
    is_ours(name) || name == "TZ" || is_proxy(name)
}

fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Variables that are not text cannot be ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn load_beside(common: &Common, role: Role, dot_env: BTreeMap<String, String>) -> anyhow::Result<Loaded> {
    let (file, environment) = (common.config.clone(), environment());
    let sources = Sources { file, environment, dot_env, options: options(common, role)? };
    let mut loaded = Loaded::read(&sources, role)?;
    loaded.warnings.extend(time_zone().as_deref().and_then(telemetry::zone_problem));
    let dir = loaded.settings.state.dir.take();
    loaded.settings.state.dir = Some(dir.map_or_else(default_state_dir, anyhow::Ok)?);
    if loaded.settings.docker.tls {
        loaded.settings.docker.cert_path.get_or_insert_with(docker_folder);
    }
    Ok(loaded)
}

/// For which process a service manager opened sockets, and how many.
pub(super) fn handed_sockets() -> (Option<i32>, usize) {
    let number = |name: &str| std::env::var(name).ok();
    let pid = number("LISTEN_PID").and_then(|text| text.parse().ok());
    (pid, number("LISTEN_FDS").and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Proxies that the environment names, without their passwords.
pub(super) fn proxies() -> Vec<(String, String)> {
    let found = environment().into_iter().filter(|(name, value)| is_proxy(name) && !value.trim().is_empty());
    found.map(|(name, value)| (name, super::output::address(&value))).collect()
}

const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// The value of `TZ`.
pub(super) fn time_zone() -> Option<String> {
    // What is no text is no zone either.
    std::env::var_os("TZ").map(|zone| zone.to_string_lossy().into_owned())
}

/// False if somebody asked every program for no colours.
pub(super) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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

/// Where Docker's own clients look for certificates unless told otherwise.
fn docker_folder() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker")
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
