//! Reads along in what a program writes into a file while it works.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::keep::shown;
use super::run::Progress;

/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Most that is read at once.
const TAIL: usize = 1024 * 1024;

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
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(file)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL as u64))))?;
        let mut bytes = Vec::new();
        file.take(TAIL as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
