//! What the last scan of this host found, for who asks without scanning.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::files;
use crate::domain::update::{Findings, FirstSeen};

/// Its name in the state directory.
const LAST_SCAN: &str = "last_scan.json";
/// Largest file that is read: 20,000 findings of each kind fit.
const SIZE_LIMIT: u64 = 128 * 1024 * 1024;

/// Bytes of most findings.
const BYTES_EACH: usize = 512;

/// What the last scan found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastScan {
    /// The host's name.
    pub host: String,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Of every scanner that the host has.
    pub scanners: Vec<Findings>,
    /// Since when what it found is pending.
    #[serde(default)]
    pub first_seen: FirstSeen,
}

/// Reads what was found last; none if nothing was, or nothing that can be read. Blocks.
///
/// Fails with [`StateError::Corrupt`] if the file holds something else; it is then set aside.
pub fn read_last_scan(dir: &Path) -> Result<Option<LastScan>, StateError> {
    files::read_checked_up_to(&dir.join(LAST_SCAN), SIZE_LIMIT, files::from_json)
}

/// Keeps what was found, for this user only. Blocks.
pub fn write_last_scan(dir: &Path, scan: &LastScan) -> Result<(), StateError> {
    files::make_dir(dir)?;
    // Of thousands it is long; to grow it step by step would take as much again.
    let count: usize = scan.scanners.iter().map(|found| found.items.len()).sum();
    let mut json = Vec::with_capacity((count + 1) * BYTES_EACH);
    serde_json::to_writer(&mut json, scan).expect("it holds nothing that JSON cannot");
    files::replace(&dir.join(LAST_SCAN), &json)
}

/// Puts a file in the place of `path`, for this user only; after a crash there is the old one or the new one. A symbolic
/// link is replaced, and what it leads to stays as it is. Blocks.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    files::replace(path, bytes)
}

/// The same in a state directory that may not be there yet.
pub fn replace_file_in(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    files::make_dir(dir)?;
    files::replace(&dir.join(name), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Finding, Kind, Standing};

    #[test]
    fn what_was_found_is_there_for_the_next_one_who_asks() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        assert_eq!(read_last_scan(&dir).unwrap(), None);
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let items = vec![Finding::new("a", Standing::Newer)];
        let scanners = vec![Findings::new(Kind::Apt, items).as_of(at)];
        let scan = LastScan { host: "web-1".into(), at, scanners, first_seen: FirstSeen::default() };
        write_last_scan(&dir, &scan).unwrap();
        assert_eq!(read_last_scan(&dir).unwrap(), Some(scan));
        std::fs::write(dir.join(LAST_SCAN), "{\"half").unwrap();
        assert!(matches!(read_last_scan(&dir), Err(StateError::Corrupt { .. })));
        assert_eq!(read_last_scan(&dir).unwrap(), None, "it was set aside");
    }
}
