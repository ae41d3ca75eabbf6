//! `lightship notify`: where people are told what happened.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::Value;

use super::common::Common;
use super::groups_file;
use super::{admin_client, output};
use crate::domain::text::spell_out;

const TARGETS: &str = "/api/v3/notifications/targets";

/// Options of `lightship notify`.
#[derive(clap::Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    verb: Option<NotifyVerb>,
}

#[derive(Subcommand)]
enum NotifyVerb {
    /// List the targets, what each is told of, and whether messages arrive (the default).
    List,
    /// Make a target, or put it in the place of the one that has its id.
    ///
    /// What opens it (an address, a token, a password) is kept sealed and never shown. Left out of the file it stays as it is,
    /// if the server does.
    Set {
        /// The target's id.
        id: String,
        /// File with the target (JSON, docs/notifications.md); `-` is standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a target, with all that waits for it.
    Remove {
        /// The target's id.
        id: String,
    },
    /// Send a test message now; ends with 0 once the target took it.
    Test {
        /// The target's id.
        id: String,
    },
    /// List what is sent and what was, the newest first.
    Outbox {
        /// Only what is for this target.
        #[arg(long, value_name = "ID")]
        target: Option<String>,
    },
}

/// Runs the verb.
pub(super) fn run(args: NotifyArgs, common: &Common) -> anyhow::Result<ExitCode> {
    match args.verb.unwrap_or(NotifyVerb::List) {
        NotifyVerb::List => {
            let answer = admin_client::converse(common, async |master| master.get(TARGETS).await)?;
            if common.json { output::json(&answer["targets"])? } else { list(&answer)? }
        }
        NotifyVerb::Set { id, file } => {
            let (path, body) = (path_of(&id)?, read(&file)?);
            let target = admin_client::converse(common, async |master| master.put(&path, body).await)?;
            if common.json {
                output::json(&target)?
            } else {
                let place = output::text(&target, "place");
                eprintln!(
                    "the target `{}` is set: {place}; try it with `lightship notify test`",
                    spell_out(&id)
                )
            }
        }
        NotifyVerb::Remove { id } => {
            let path = path_of(&id)?;
            let answer = admin_client::converse(common, async |master| master.delete(&path).await)?;
            if common.json {
                output::json(&answer)?
            } else {
                eprintln!("the target `{}` is removed", spell_out(&id))
            }
        }
        NotifyVerb::Test { id } => {
            let path = format!("{}/test", path_of(&id)?);
            let body = Value::Object(serde_json::Map::new());
            let answer = admin_client::converse(common, async |master| master.post(&path, body).await)?;
            if common.json {
                output::json(&answer)?
            } else {
                eprintln!("`{}` took the test message", spell_out(&id))
            }
        }
        NotifyVerb::Outbox { target } => {
            let path = match &target {
                Some(id) => format!("/api/v3/notifications/outbox?target={}", admin_client::segment(id)?),
                None => "/api/v3/notifications/outbox".to_owned(),
            };
            let answer = admin_client::converse(common, async |master| master.get(&path).await)?;
            if common.json { output::json(&answer["messages"])? } else { outbox(&answer)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path_of(id: &str) -> anyhow::Result<String> {
    Ok(format!("{TARGETS}/{}", admin_client::segment(id)?))
}

/// The target as it is sent; the master says what is wrong with it.
fn read(file: &Path) -> anyhow::Result<Value> {
    let is_standard_input = file == Path::new("-");
    let place = || match is_standard_input {
        true => "the target on standard input".to_owned(),
        false => format!("the target in `{}`", file.display()),
    };
    let text = match is_standard_input {
        true => groups_file::limited(std::io::stdin().lock()),
        false => groups_file::text(file),
    };
    // The words of a parser may repeat what it read, which opens something.
    let parsed = serde_json::from_str(&text.with_context(place)?);
    parsed
        .map_err(|error| anyhow::anyhow!("it is no JSON (line {}, column {})", error.line(), error.column()))
        .with_context(place)
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let row = |target: &Value| {
        vec![
            output::text(target, "id"),
            output::text(target, "name"),
            output::text(target, "kind"),
            output::text(target, "place"),
            about(&target["about"]),
            output::text(target, "quiet_hours"),
            state(&target["state"]),
        ]
    };
    let rows = super::plan::items(answer, "targets").iter().map(row).collect();
    let header = ["TARGET", "NAME", "KIND", "PLACE", "TOLD OF", "QUIET", "STATE"];
    output::table(&header, rows, "nobody is told; make a target with `lightship notify set ID --file FILE`")
}

fn about(about: &Value) -> String {
    match about.as_array() {
        Some(listed) => listed.iter().filter_map(Value::as_str).map(spell_out).collect::<Vec<_>>().join(", "),
        None => "everything".into(),
    }
}

fn state(state: &Value) -> String {
    let waiting = state["waiting"].as_u64().filter(|count| *count > 0);
    let waiting = waiting.map(|count| format!("; {count} to be sent")).unwrap_or_default();
    if state["is_failing"] == true {
        let (since, error) = (output::text(state, "failing_since"), output::text(state, "error"));
        return format!("failing since {since}: {error}{waiting}");
    }
    match state["last_sent_at"].as_str() {
        Some(at) => format!("last sent {}{waiting}", spell_out(at)),
        None => format!("nothing sent yet{waiting}"),
    }
}

fn outbox(answer: &Value) -> anyhow::Result<()> {
    let row = |message: &Value| {
        vec![
            output::text(message, "created_at"),
            output::text(message, "target"),
            output::text(message, "title"),
            output::text(message, "state"),
            output::text(message, "attempts"),
            output::text(message, "error"),
        ]
    };
    let rows = super::plan::items(answer, "messages").iter().map(row).collect();
    output::table(&["WHEN", "TARGET", "MESSAGE", "STATE", "TRIES", "ERROR"], rows, "nothing was sent")
}
