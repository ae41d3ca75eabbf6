//! The prefix of labels that a master said counts beside the known ones: whoever changes the host knows by it, too, which
//! containers are published.

use std::path::Path;

use super::StateError;
use super::files;

const FILE: &str = "label_prefix.txt";
/// Longest prefix that is read.
const MOST_BYTES: usize = 128;

/// Keeps what the master said; nothing forgets it. Blocks.
pub fn keep_label_prefix(state_dir: &Path, prefix: Option<&str>) -> Result<(), StateError> {
    let path = state_dir.join(FILE);
    match prefix {
        Some(prefix) if kept_label_prefix(state_dir).ok().flatten().as_deref() == Some(prefix) => Ok(()),
        Some(prefix) => {
            files::make_dir(state_dir)?;
            files::replace(&path, prefix.as_bytes())
        }
        None => files::remove(&path),
    }
}

/// Returns what was kept. Blocks.
pub fn kept_label_prefix(state_dir: &Path) -> Result<Option<String>, StateError> {
    files::read_checked(&state_dir.join(FILE), |bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let is_prefix = (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        is_prefix.then(|| text.to_owned()).ok_or_else(|| "it is no prefix of labels".to_owned())
    })
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
            assert!(matches!(kept(), Err(StateError::Corrupt { .. })), "{odd}");
        }
        keep_label_prefix(dir.path(), Some("team")).unwrap();
        assert_eq!(kept().unwrap().as_deref(), Some("team"));
    }
}
