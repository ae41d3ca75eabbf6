//! `lightship try`: looks, beside a DockFlare that runs, what would become of each published name. Only reads.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use super::files::{self, Files};
use super::look::Look;
use super::report::{self, Commands};
use crate::cli::common::Common;
use crate::cli::{output, sources, values};
use crate::config::{Loaded, Role, Secret, Settings, Sources};
use crate::docker::BollardDocker;
use crate::domain::dockflare::env_file::{hindrances, plain};
use crate::domain::dockflare::switch::{Setup, commands};
use crate::domain::dockflare::trial::Verdict;
use crate::io::{Io, IoRuntime};

/// Exit code that says that something would change.
const PENDING: u8 = 2;
/// Exit code for what would not be as it is now, or could not be checked.
const IN_PART: u8 = 3;

/// Most bytes of the file with variables.
const MOST_BYTES: usize = 1 << 20;

/// Variables of DockFlare that name its tunnel.
const TUNNEL: [&str; 2] = ["EXTERNAL_TUNNEL_ID", "TUNNEL_NAME"];

/// Options of `lightship try`.
#[derive(clap::Args)]
pub(in crate::cli) struct TryArgs {
    /// The file with DockFlare's variables, such as .env; a variable of the environment wins over it.
    #[arg(long, value_name = "FILE")]
    env: PathBuf,
    /// DockFlare's data folder (its /app/data) or a backup of it: what was set on its page, and its agents' hosts.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Write the variables of the file into this new one, as Docker reads them, and name it in the command. It holds secrets,
    /// and is for its owner only.
    #[arg(long, value_name = "NEW-FILE")]
    write_env: Option<PathBuf>,
    /// Name or id of the tunnel of this host. Left out: that of the connector that runs here.
    #[arg(long)]
    tunnel: Option<String>,
}

pub(in crate::cli) fn run(args: &TryArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let (loaded, variables) = sources::load_with(common, Role::Standalone, &args.env)?;
    let mut settings = loaded.settings;
    if let Some(new) = args.write_env.as_ref().filter(|new| new.symlink_metadata().is_ok()) {
        bail!("`{}` is there already, and is not written over; name a new file", new.display());
    }
    let files = args.data.as_deref().map(files::read).transpose()?;
    let is_token_set = settings.cloudflare.api_token.is_set();
    fill_in(&mut settings, files.as_ref());
    let runtime = IoRuntime::start().context("cannot start the threads for input and output")?;
    let look = Look {
        client: client(&settings, runtime.io())?,
        docker: BollardDocker::at(values::engine(&settings)?, runtime.io()),
        tunnel: args
            .tunnel
            .clone()
            .or_else(|| {
                TUNNEL.iter().find_map(|name| variables.get(*name).filter(|text| !text.is_empty()).cloned())
            })
            .or_else(|| files.as_ref()?.config.tunnel_name.clone()),
        is_tunnel_told: args.tunnel.is_some(),
        settings: &settings,
        files: files.as_ref(),
    };
    let found = runtime.io().handle().block_on(look.at_all())?;
    let env_file = args.write_env.as_ref().unwrap_or(&args.env);
    let inside = inside(&variables).unwrap_or_else(|| settings.clone());
    let setup = Setup {
        env_file: env_file.display().to_string(),
        has_socket: inside
            .docker
            .host
            .as_deref()
            .is_none_or(|host| host.starts_with("unix:") || host.starts_with('/')),
        port: inside.server.port,
        ..found.setup
    };
    let commands = switch(args, &variables, &setup)?;
    let mut notes = loaded.warnings;
    if !is_token_set {
        notes.push(format!(
            "the token for Cloudflare is in DockFlare's data folder only; write CF_API_TOKEN and CF_ACCOUNT_ID into `{}` before you switch",
            env_file.display()
        ));
    }
    if !settings.admin.token.is_set() {
        notes.push(format!(
            "no admin token is set; write LIGHTSHIP_ADMIN_TOKEN (`openssl rand -hex 16` makes one) into `{}` before you switch, so that \
             `lightship import` reaches the new master",
            env_file.display()
        ));
    }
    notes.extend(files.into_iter().flat_map(|files| files.notes));
    let verdict = found.names.iter().map(|name| name.verdict).max().unwrap_or(Verdict::Kept);
    report::print(&found.names, &notes, &commands, common.json)?;
    Ok(match verdict {
        _ if commands.is_err() => ExitCode::from(IN_PART),
        Verdict::Kept => ExitCode::SUCCESS,
        Verdict::Change => ExitCode::from(PENDING),
        Verdict::Refuse | Verdict::NotChecked => ExitCode::from(IN_PART),
    })
}

/// What a container goes by that has these variables and no others.
fn inside(variables: &BTreeMap<String, String>) -> Option<Settings> {
    let sources = Sources { dot_env: variables.clone(), ..Sources::default() };
    Loaded::read(&sources, Role::Standalone).ok().map(|loaded| loaded.settings)
}

/// The commands, if Docker reads the file that they name as it was read here. Writes that file, if it is to.
fn switch(args: &TryArgs, variables: &BTreeMap<String, String>, setup: &Setup) -> anyhow::Result<Commands> {
    if let Some(new) = &args.write_env {
        let place = || format!("cannot write `{}`", new.display());
        let text = plain(variables).map_err(anyhow::Error::msg).with_context(place)?;
        write_new(new, &text).with_context(place)?;
        return Ok(Ok(commands(setup)));
    }
    let bytes = files::bounded(&args.env, MOST_BYTES).with_context(|| format!("`{}`", args.env.display()))?;
    let mut found = hindrances(&String::from_utf8_lossy(&bytes), variables, sources::is_read);
    if found.is_empty() {
        return Ok(Ok(commands(setup)));
    }
    found.push(format!(
        "that is what `docker run --env-file` makes of `{}`; put it right there, or, if DockFlare needs it as it is, have a file made          for Docker: `lightship try --write-env NEW-FILE` with the same options",
        args.env.display()
    ));
    Ok(Err(found))
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// What DockFlare has on its page counts where the file says nothing.
fn fill_in(settings: &mut Settings, files: Option<&Files>) {
    let Some(config) = files.map(|files| &files.config) else { return };
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let cloudflare = &mut settings.cloudflare;
    if cloudflare.api_token.get().is_none()
        && let Some(token) = &config.cf_api_token
    {
        cloudflare.api_token = Secret::new(token.expose_secret());
    }
    cloudflare.account_id = cloudflare.account_id.take().or_else(|| filled(&config.cf_account_id));
    cloudflare.zone_id = cloudflare.zone_id.take().or_else(|| filled(&config.cf_zone_id));
}

fn client(settings: &Settings, io: Io) -> anyhow::Result<crate::cloudflare::Cloudflare> {
    match values::cloudflare(settings, io).map_err(|error| anyhow::anyhow!(output::chain(&error)))? {
        Some(client) => Ok(client),
        None => bail!(
            "there is no CF_API_TOKEN in the file, so nobody can look at Cloudflare; DockFlare keeps it sealed in its data folder: name \
             that with --data FOLDER, or set CF_API_TOKEN and CF_ACCOUNT_ID"
        ),
    }
}
