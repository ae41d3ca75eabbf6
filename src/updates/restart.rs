//! Starts the host anew: a run of one step that ends after the start, when the host has another boot id.

use std::fs;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::host::HostReader;
use super::keep::{shown, trouble};
use super::run::{At, Back, Progress, Step, StepFailed, cancelled};
use crate::domain::update::{
    Changes, OnHost, Plan, PlanAsk, PlannedChange, Problem, RebootAsk, Run, UndoSource,
};
use crate::process::{Program, find};

/// What names this start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How long after the appointed time a host that is still the old one counts as one that does not restart.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);
/// How often is looked whether it was called off.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long `shutdown` may take to take an order.
const ORDER_LIMIT: Duration = Duration::from_secs(30);
/// In the folder of a run: what was ordered.
const ORDERED: &str = "restart.json";

/// A restart that was ordered.
#[derive(Debug, Serialize, Deserialize)]
struct Ordered {
    /// The start before it.
    boot_id: String,
    /// When it is to be over.
    due: DateTime<Utc>,
}

/// Works out a restart: the one change is the same on every host.
pub(super) async fn plan() -> Result<Plan, Problem> {
    if find("shutdown").is_none() {
        let way_out = "start the host anew by what it has for that".to_owned();
        return Err(Problem { reason: "`shutdown` is not installed".into(), way_out: Some(way_out) });
    }
    let restart = PlannedChange::restart_of_host();
    let wanted = HostReader::of_this_host().wants_reboot().await;
    let reason = if wanted.is_empty() { "nothing else asks for it".into() } else { wanted.join("; ") };
    let on_host = OnHost {
        reboot: Some(format!("it is what this plan does; {reason}")),
        undo: [("host:".to_owned(), UndoSource::NotNeeded)].into(),
        ..OnHost::default()
    };
    let changes =
        Changes::new(vec![restart]).map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
    Ok(Plan { changes, on_host })
}

/// Returns the steps of a run, if that is what it does.
pub(super) fn steps(run: &Run) -> Option<Vec<Box<dyn Step>>> {
    let PlanAsk::Reboot(ask) = run.asked() else { return None };
    Some(vec![Box::new(Restart(ask))])
}

/// True if a run ordered a restart, and the host was started anew since. Blocks.
pub(super) fn is_over(folder: &Path) -> bool {
    matches!((ordered(folder), boot_id()), (Some(ordered), Ok(now)) if ordered.boot_id != now)
}

/// Calls off what was ordered.
pub(super) async fn call_off() -> Result<(), String> {
    shutdown(&["-c".into()]).await
}

/// Has the host started anew, and waits until it was.
struct Restart(RebootAsk);

#[async_trait]
impl Step for Restart {
    fn name(&self) -> &'static str {
        "host.restart"
    }

    fn changes_the_host(&self) -> bool {
        true
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let unknown = |reason: String| StepFailed { reason, back: Back::NotNeeded };
        let before = boot_id().map_err(|error| unknown(format!("{BOOT_ID}: {error}")))?;
        let due = match ordered(at.folder) {
            Some(ordered) if ordered.boot_id != before => {
                return Ok(json!({ "boot_id": before, "before": ordered.boot_id }));
            }
            Some(ordered) => ordered.due,
            None => self.order(at, &before).await.map_err(unknown)?,
        };
        (at.tell)(Progress::Does(format!("the host restarts in {} min", self.0.delay_minutes)));
        while at.clock.now() < due {
            if let Some(by) = cancelled(at.folder) {
                let off = call_off().await;
                let reason = format!("it was cancelled by {by}");
                return Err(match off {
                    Ok(()) => unknown(reason),
                    Err(why) => StepFailed::because(format!("{reason}, and cannot be called off: {why}")),
                });
            }
            sleep(LOOK_EVERY).await;
        }
        Err(StepFailed::because("the host was to be started anew, and still is the one that it was"))
    }
}

impl Restart {
    /// Orders it. What is ordered is on the disk before: a host that is gone cannot write it down any more.
    async fn order(&self, at: &At<'_>, boot_id: &str) -> Result<DateTime<Utc>, String> {
        let RebootAsk { delay_minutes, message } = &self.0;
        let due = at.clock.now() + TimeDelta::minutes(i64::from(*delay_minutes)) + PATIENCE;
        let ordered = Ordered { boot_id: boot_id.to_owned(), due };
        let json = serde_json::to_vec(&ordered).expect("it holds nothing that JSON cannot");
        crate::state_dir::replace_file(&at.folder.join(ORDERED), &json).map_err(|error| error.to_string())?;
        let mut args = vec!["-r".to_owned(), "--".into(), format!("+{delay_minutes}")];
        args.extend((!message.is_empty()).then(|| message.clone()));
        shutdown(&args).await.inspect_err(|_| {
            let _ = fs::remove_file(at.folder.join(ORDERED));
        })?;
        Ok(due)
    }
}

async fn shutdown(args: &[String]) -> Result<(), String> {
    let ended = Program::new("shutdown").args(args).time_limit(ORDER_LIMIT).run().await;
    let ended = ended.map_err(|error| trouble(error).reason)?;
    match ended.code {
        Some(0) => Ok(()),
        _ => Err(shown(&format!("`shutdown` failed: {}{}", ended.stdout, ended.stderr))),
    }
}

fn boot_id() -> std::io::Result<String> {
    fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned())
}

fn ordered(folder: &Path) -> Option<Ordered> {
    serde_json::from_slice(&fs::read(folder.join(ORDERED)).ok()?).ok()
}
