//! The file in which RedFlag's agent keeps its last scan: other programs read it.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::export::redflag_items;
use crate::state_dir::{LastScan, StateError, replace_file};

/// Where RedFlag's agent keeps it.
pub(super) const PATH: &str = "/var/lib/aggregator/last_scan.json";
/// Largest earlier file of which anything is kept.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;
/// A time that never was, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Writes the file beside whatever an agent of RedFlag said of itself in it. Fails if this user may not.
pub(super) fn write(path: &Path, scan: &LastScan) -> Result<(), StateError> {
    let before = read(path).unwrap_or_default();
    let kept =
        |key: &str, or: &str| before.get(key).filter(|value| value.is_string()).cloned().unwrap_or(json!(or));
    let items = redflag_items(scan);
    let file = json!({
        "last_scan_time": scan.at,
        "last_check_in": kept("last_check_in", NEVER),
        "agent_id": kept("agent_id", ""),
        "server_url": kept("server_url", ""),
        "update_count": items.len(),
        "updates": items,
        "agent_status": kept("agent_status", "offline"),
    });
    replace_file(path, file.to_string().as_bytes())
}

fn read(path: &Path) -> Option<Map<String, Value>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(SIZE_LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::update::{Finding, Findings, FirstSeen, Kind, Standing};

    fn scan() -> LastScan {
        let items = vec![Finding::new("a", Standing::Newer), Finding::new("b", Standing::Same)];
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let scanners = vec![Findings::new(Kind::Apt, items)];
        LastScan { host: "web-1".into(), at, scanners, first_seen: FirstSeen::default() }
    }

    #[test]
    fn the_file_has_redflags_shape_and_keeps_what_its_agent_said_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last_scan.json");
        std::fs::write(
            &path,
            r#"{"agent_id":"0123","server_url":"http://h","update_count":9,"updates":null}"#,
        )
        .unwrap();
        write(&path, &scan()).unwrap();
        let file = read(&path).unwrap();
        assert_eq!((&file["agent_id"], &file["server_url"]), (&json!("0123"), &json!("http://h")));
        assert_eq!((&file["update_count"], &file["last_check_in"]), (&json!(1), &json!(NEVER)));
        assert_eq!(file["updates"][0]["package_name"], "a");
        assert_eq!(file["last_scan_time"], "2026-01-31T12:00:00Z");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("last_scan.json"), dir.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write(&path, &scan()).unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
        assert!(!path.symlink_metadata().unwrap().is_symlink());
    }
}
