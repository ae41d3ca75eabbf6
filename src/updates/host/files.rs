//! Small files of the system.

use std::io::Read;
use std::path::Path;

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// The beginning of a file below the root, if it is text.
pub(super) fn read(root: &Path, path: &str) -> Option<String> {
    let file = std::fs::File::open(root.join(path)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
