//! Reads along in what a program writes into a file while it works.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::keep::shown;
use super::run::Progress;
use crate::state_dir::read_end;

/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Most that is read at once.
const TAIL: u64 = 1024 * 1024;

/// Waits for an end and tells how far it is; `read` finds percents and words in a line.
pub(super) async fn watched<T>(
    running: impl Future<Output = T>,
    file: &Path,
    read: impl Fn(&str) -> Option<(u8, String)>,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> T {
    let mut at = length(file);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            () = sleep(LOOK_EVERY) => {}
        }
        let said = tail(file, at);
        // The last line may be half written.
        let whole = said.rfind('\n').map_or(0, |end| end + 1);
        if let Some((percent, words)) = said[..whole].lines().filter_map(&read).next_back() {
            tell(Progress::Percent(percent, shown(&words)));
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
