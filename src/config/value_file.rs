//! Reads a file that holds one value, such as a secret that Docker or Kubernetes mounts.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file that is read; no setting is that long.
const SIZE_LIMIT: u64 = 64 * 1024;

/// Returns the content without the one line end that editors put behind it; or why it cannot be had. The reason never
/// repeats any of it.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let unreadable =
        |error: std::io::Error| format!("{error}; check the path, and that this user may read it");
    // Opening a pipe that nobody writes to would wait for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is not a file; name a file that holds the value alone".into());
    }
    let mut text = String::new();
    File::open(path)
        .map_err(unreadable)?
        .take(SIZE_LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err("it is larger than 64 KiB; it must hold the value alone".into());
    }
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.trim().is_empty() {
        return Err("it is empty; put the value into it".into());
    }
    Ok(value.to_owned())
}
