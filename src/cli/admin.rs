//! `lightship admin`: who may sign in to the page.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

use super::common::Common;
use super::{admin_client, output};

/// Options of `lightship admin`.
#[derive(clap::Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    verb: AdminVerb,
}

#[derive(Subcommand)]
enum AdminVerb {
    /// Set an administrator's password, read as one line from standard input; everybody signed in with the
    /// old one is signed out.
    ResetPassword {
        /// The administrator's name.
        name: String,
    },
}

pub(super) fn run(args: AdminArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let AdminVerb::ResetPassword { name } = args.verb;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("new password for `{name}` (shown while you type; to avoid that, pipe it in):");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password was given; write it as one line to standard input");
    }
    let path = format!("/api/v3/admins/{}/password", admin_client::segment(&name)?);
    let body = json!({ "password": password });
    let answer = admin_client::converse(common, async |master| master.post(&path, body).await)?;
    if common.json {
        output::json(&answer)?;
    } else {
        eprintln!("the password of `{name}` is set");
    }
    Ok(ExitCode::SUCCESS)
}
