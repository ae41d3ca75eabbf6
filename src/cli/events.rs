//! `lightship events`: the recorded decisions, read from the database itself.

use std::process::ExitCode;

use super::common::Common;
use super::database::{self, Access};
use super::output;
use crate::db::events::{EventFilter, list_events};

/// Options of `lightship events`.
#[derive(clap::Args)]
pub(super) struct EventsArgs {
    /// Only streams that start with this, such as `agent/web-1` or `keys`.
    #[arg(long, value_name = "PREFIX")]
    stream: Option<String>,
    /// Only events after this number.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: u64,
    /// At most so many; a warning says if there are more.
    #[arg(long, default_value_t = 200)]
    max: u64,
    /// Check that no recorded decision was changed afterwards.
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(args: EventsArgs, common: &Common) -> anyhow::Result<ExitCode> {
    database::with(common, Access::Read, async |db| {
        if args.verify {
            let report = db.verify_chain().await?;
            if common.json {
                output::json(&report)?;
            } else {
                for problem in &report.problems {
                    output::line(problem)?;
                }
                let found = if report.is_sound() { "none was changed" } else { "some were changed" };
                output::line(&format!("{} decisions in {} streams: {found}", report.events, report.streams))?;
            }
            return Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let filter =
            EventFilter { stream_prefix: args.stream, after_seq: args.after, ..EventFilter::default() };
        let mut events = list_events(&db, &filter, args.max.saturating_add(1)).await?;
        if events.len() as u64 > args.max {
            events.truncate(usize::try_from(args.max).unwrap_or(usize::MAX));
            let after = events.last().map_or(args.after, |event| event.seq);
            eprintln!(
                "warning: there are more events; `--after {after}` shows the next, `--max` more at once"
            );
        }
        if common.json {
            output::json(&events)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = events.iter().map(|event| {
            let at = event.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            let mut payload = serde_json::to_value(&event.event).unwrap_or_default();
            let kind = output::text(&payload, "type");
            if let Some(fields) = payload.as_object_mut() {
                fields.remove("type");
            }
            vec![
                event.seq.to_string(),
                at,
                event.stream.to_string(),
                kind,
                event.actor.clone(),
                payload.to_string(),
            ]
        });
        output::table(&["NUMBER", "AT", "STREAM", "WHAT", "BY", "DETAIL"], rows.collect(), "no events")?;
        Ok(ExitCode::SUCCESS)
    })
}
