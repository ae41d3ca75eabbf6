//! The prefix of labels that a master said counts beside the known ones: whoever changes the host knows by it, too, which
//! containers are published.

use std::path::Path;

use super::StateError;
use super::files;

const FILE: &str = "label_prefix.txt";
/// Longest prefix.
const MOST_BYTES: usize = 128;

/// Keeps what the master said; nothing forgets it. What is no prefix is refused before anything is touched: whoever says it may
/// be a stolen agent, and where it is kept may be root's. Blocks.
pub fn keep_label_prefix(state_dir: &Path, prefix: Option<&str>) -> Result<(), StateError> {
    let path = state_dir.join(FILE);
    let Some(prefix) = prefix else { return files::remove(&path) };
    parse(prefix.as_bytes()).map_err(|reason| StateError::Refused { path: path.clone(), reason })?;
    if kept_label_prefix(state_dir).ok().flatten().as_deref() == Some(prefix) {
        return Ok(());
    }
    files::make_dir(state_dir)?;
    files::replace(&path, prefix.as_bytes())
}

/// Returns what was kept. Blocks.
pub fn kept_label_prefix(state_dir: &Path) -> Result<Option<String>, StateError> {
    files::read_or_drop(&state_dir.join(FILE), MOST_BYTES as u64, parse)
}

fn parse(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let is_prefix = (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    is_prefix.then(|| text.to_owned()).ok_or_else(|| "it is no prefix of labels".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_master_said_is_kept_until_it_says_something_else_and_nothing_odd_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let kept = || kept_label_prefix(dir.path());
        keep_label_prefix(dir.path(), None).unwrap();
        assert_eq!(kept().unwrap(), None);
        for prefix in ["team", "team", "lab"] {
            keep_label_prefix(dir.path(), Some(prefix)).unwrap();
            assert_eq!(kept().unwrap().as_deref(), Some(prefix));
        }
        keep_label_prefix(dir.path(), None).unwrap();
        assert_eq!(kept().unwrap(), None);
        for odd in ["two words", "", &"x".repeat(MOST_BYTES + 1)] {
            std::fs::write(dir.path().join(FILE), odd).unwrap();
            assert!(matches!(kept(), Err(StateError::Dropped { .. })), "{odd}");
            assert_eq!(kept().unwrap(), None, "it was removed, and no copy of it stays");
        }
        keep_label_prefix(dir.path(), Some("team")).unwrap();
        assert_eq!(kept().unwrap().as_deref(), Some("team"));
    }

    #[test]
    fn what_is_no_prefix_is_not_written_however_often_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        keep_label_prefix(dir.path(), Some("team")).unwrap();
        for odd in ["two words", "", "na\u{ef}ve", &"x".repeat(MOST_BYTES + 1), &"x".repeat(1 << 20)] {
            let refused = keep_label_prefix(dir.path(), Some(odd));
            assert!(matches!(refused, Err(StateError::Refused { .. })), "{} bytes", odd.len());
        }
        let files: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
        assert_eq!(kept_label_prefix(dir.path()).unwrap().as_deref(), Some("team"));
        // Nor is there a folder for it where nothing was kept before.
        let none = dir.path().join("none");
        keep_label_prefix(&none, Some("two words")).unwrap_err();
        assert!(!none.exists());
    }
}
