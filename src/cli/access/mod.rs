//! `lightship access`: groups of people and machines that may reach what is published, and what machines show for it.

mod short;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::Value;

use super::common::Common;
use super::groups_file;
use super::{admin_client, output};
use crate::domain::text::spell_out;
use short::ShortForm;
use tokens::TokensVerb;

/// Options of `lightship access`.
#[derive(clap::Args)]
pub(super) struct AccessArgs {
    #[command(subcommand)]
    verb: Option<AccessVerb>,
}

#[derive(Subcommand)]
enum AccessVerb {
    /// List the groups, whom they let in, and how many routes ask for each (the default).
    Groups,
    /// Show one group; with `--json` as `set --file` takes it.
    Show {
        /// The group's id.
        id: String,
    },
    /// Make a group, or put it in the place of the one that has its id.
    ///
    /// Without `--file` it is a group of one policy: it is about anyone of those named without a prefix, who also meets all
    /// of `--require-…`, except those of `--exclude-…`.
    Set(Box<SetArgs>),
    /// Remove a group.
    Remove {
        /// The group's id.
        id: String,
        /// Remove it although routes ask for it: nobody reaches those any more.
        #[arg(long)]
        close_routes: bool,
    },
    /// Service tokens of the Cloudflare account: what programs show instead of a sign-in.
    Tokens {
        #[command(subcommand)]
        verb: Option<TokensVerb>,
    },
}

#[derive(clap::Args)]
struct SetArgs {
    /// The group's id; labels name it.
    id: String,
    /// File with the whole group (JSON, docs/access.md); `-` is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    short: ShortForm,
}

/// Runs the verb.
pub(super) fn run(args: AccessArgs, common: &Common) -> anyhow::Result<ExitCode> {
    match args.verb.unwrap_or(AccessVerb::Groups) {
        AccessVerb::Groups => {
            let path = "/api/v3/access/groups";
            let answer = admin_client::converse(common, async |master| master.get(path).await)?;
            if common.json { output::json(&answer["groups"])? } else { list(&answer)? }
        }
        AccessVerb::Show { id } => {
            let path = path_of(&id)?;
            let group = admin_client::converse(common, async |master| master.get(&path).await)?;
            if common.json { output::json(&group)? } else { show(&group)? }
        }
        AccessVerb::Set(args) => {
            let (path, body) = (path_of(&args.id)?, args.group()?);
            let group = admin_client::converse(common, async |master| master.put(&path, body).await)?;
            if common.json { output::json(&group)? } else { show(&group)? }
        }
        AccessVerb::Tokens { verb } => tokens::run(verb.unwrap_or(TokensVerb::List), common)?,
        AccessVerb::Remove { id, close_routes } => {
            let path = format!("{}?close_routes={close_routes}", path_of(&id)?);
            let answer = admin_client::converse(common, async |master| master.delete(&path).await)?;
            if common.json {
                output::json(&answer)?
            } else {
                eprintln!("the group `{}` is removed", spell_out(&id))
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path_of(id: &str) -> anyhow::Result<String> {
    Ok(format!("/api/v3/access/groups/{}", admin_client::segment(id)?))
}

impl SetArgs {
    /// The group as it is sent; the master says what is wrong with it.
    fn group(&self) -> anyhow::Result<Value> {
        let Some(file) = &self.file else { return self.short.group() };
        if self.short != ShortForm::default() {
            bail!("`--file` has the whole group; leave the other options out, or `--file`");
        }
        let place = || match is_standard_input(file) {
            true => "the group on standard input".to_owned(),
            false => format!("the group in `{}`", file.display()),
        };
        let text = match is_standard_input(file) {
            true => groups_file::limited(std::io::stdin().lock()),
            false => groups_file::text(file),
        };
        serde_json::from_str(&text.with_context(place)?).context("it is no JSON").with_context(place)
    }
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(spell_out).collect()
}

fn set_by(group: &Value) -> String {
    if group["is_built_in"] == true { "built in".into() } else { output::text(group, "set_by") }
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let row = |group: &Value| {
        vec![
            output::text(group, "id"),
            output::text(group, "name"),
            texts(&group["in_words"]).join("; "),
            output::text(group, "routes_total"),
            set_by(group),
            output::text(group, "set_at"),
        ]
    };
    let rows = super::plan::items(answer, "groups").iter().map(row).collect();
    let header = ["GROUP", "NAME", "WHOM IT LETS IN", "ROUTES", "SET BY", "SET AT"];
    output::table(&header, rows, "no groups; make one with `lightship access set ID --domain example.com`")
}

fn show(group: &Value) -> anyhow::Result<()> {
    output::line(&format!("{} ({})", output::text(group, "id"), output::text(group, "name")))?;
    for words in texts(&group["in_words"]) {
        output::line(&format!("  {words}"))?;
    }
    let options = &group["options"];
    output::line(&format!("a sign-in lasts {}", output::text(options, "session_duration")))?;
    let idps = texts(&options["allowed_idps"]);
    if !idps.is_empty() {
        output::line(&format!("sign-ins with {} only", idps.join(", ")))?;
    }
    match group["is_built_in"] == true {
        true => output::line("built in")?,
        false => output::line(&format!("set by {} at {}", set_by(group), output::text(group, "set_at")))?,
    }
    if group["is_open_to_everyone"] == true {
        eprintln!("this group lets everyone in");
    }
    show_routes(group)
}

fn show_routes(group: &Value) -> anyhow::Result<()> {
    let total = group["routes_total"].as_u64().unwrap_or_default();
    if total == 0 {
        return output::line("no route asks for it");
    }
    output::line(&format!(
        "{} for it:",
        if total == 1 { "1 route asks".into() } else { format!("{total} routes ask") }
    ))?;
    let routes = super::plan::items(group, "routes");
    for route in routes {
        let path = route["path"].as_str().map(spell_out).unwrap_or_default();
        output::line(&format!("  {}{path}", output::text(route, "hostname")))?;
    }
    let more = total.saturating_sub(u64::try_from(routes.len()).unwrap_or(u64::MAX));
    if more > 0 { output::line(&format!("  and {more} more")) } else { Ok(()) }
}
