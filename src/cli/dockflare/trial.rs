//! `lightship try`: looks, beside a DockFlare that runs, what would become of each published name. Only reads.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use super::files::{self, Files};
use super::look::Look;
use super::report;
use crate::cli::common::Common;
use crate::cli::{output, sources, values};
use crate::config::{Role, Secret, Settings};
use crate::docker::BollardDocker;
use crate::domain::dockflare::switch::Setup;
use crate::domain::dockflare::trial::Verdict;
use crate::io::{Io, IoRuntime};

/// Exit code that says that something would change.
const PENDING: u8 = 2;
/// Exit code for what would not be as it is now, or could not be checked.
const IN_PART: u8 = 3;

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
    /// Name or id of the tunnel of this host. Left out: that of the connector that runs here.
    #[arg(long)]
    tunnel: Option<String>,
}

pub(in crate::cli) fn run(args: &TryArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let (loaded, variables) = sources::load_with(common, Role::Standalone, &args.env)?;
    let mut settings = loaded.settings;
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
    let setup = Setup {
        env_file: args.env.display().to_string(),
        has_socket: settings
            .docker
            .host
            .as_deref()
            .is_none_or(|host| host.starts_with("unix:") || host.starts_with('/')),
        ..found.setup
    };
    let mut notes = loaded.warnings;
    if !is_token_set {
        notes.push(format!(
            "the token for Cloudflare is in DockFlare's data folder only; write CF_API_TOKEN and CF_ACCOUNT_ID into `{}` before you switch",
            args.env.display()
        ));
    }
    if !settings.admin.token.is_set() {
        notes.push(format!(
            "no admin token is set; write LIGHTSHIP_ADMIN_TOKEN (`openssl rand -hex 16` makes one) into `{}` before you switch, so that \
             `lightship import` reaches the new master",
            args.env.display()
        ));
    }
    notes.extend(files.into_iter().flat_map(|files| files.notes));
    let verdict = found.names.iter().map(|name| name.verdict).max().unwrap_or(Verdict::Kept);
    report::print(&found.names, &notes, &setup, common.json)?;
    Ok(match verdict {
        Verdict::Kept => ExitCode::SUCCESS,
        Verdict::Change => ExitCode::from(PENDING),
        Verdict::Refuse | Verdict::NotChecked => ExitCode::from(IN_PART),
    })
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
