//! Reads along in what a program writes into a file while it works.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::keep::shown;
use super::run::{Progress, StepFailed};
use crate::state_dir::read_end;

/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Most that is read at once.
const TAIL: u64 = 1024 * 1024;

/// What is read along.
pub(super) struct Watched<'a> {
    /// Where it says how far it is.
    pub(super) file: &'a Path,
    /// What it prints.
    pub(super) log: &'a Path,
    /// How long it may say nothing at all.
    pub(super) silence: Duration,
}

/// Waits for an end and tells how far it is; `read` finds percents and words in a line. Fails, with the last words, once
/// nothing was said for too long; what runs is not ended by that.
pub(super) async fn watched<T>(
    running: impl Future<Output = T>,
    Watched { file, log, silence }: Watched<'_>,
    read: impl Fn(&str) -> Option<(u8, String)>,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<T, StepFailed> {
    let mut at = length(file);
    let (mut heard, mut heard_at, mut last) = ((0, 0), Instant::now(), None);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended),
            () = sleep(LOOK_EVERY) => {}
        }
        let now = (length(file), length(log));
        if now != heard {
            (heard, heard_at) = (now, Instant::now());
        } else if heard_at.elapsed() >= silence {
            let at = last.map(|words: String| format!(" at \u{201c}{words}\u{201d}")).unwrap_or_default();
            let reason = format!(
                "it hangs{at}: nothing was said for {} s; it is still at work and was not ended, as a script cut in the middle \
                 does more harm. See what it waits for (`ps -ef --forest`)",
                silence.as_secs()
            );
            return Err(StepFailed::because(reason));
        }
        let said = tail(file, at);
        // The last line may be half written.
        let whole = said.rfind('\n').map_or(0, |end| end + 1);
        if let Some((percent, words)) = said[..whole].lines().filter_map(&read).next_back() {
            let words = shown(&words);
            last = Some(words.clone());
            tell(Progress::Percent(percent, words));
        }
        at += whole as u64;
    }
}

/// Returns how long a file is; nothing if it is not there.
pub(super) fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |about| about.len())
}

/// Returns what was added to a file; of much of it the end.
pub(super) fn tail(file: &Path, from: u64) -> String {
    read_end(file, from, TAIL)
}
