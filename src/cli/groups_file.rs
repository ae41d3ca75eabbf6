//! Files of groups of Access, read whole and within bounds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use crate::domain::access::{Group, MAX_FILE, read_groups};

/// Reads the groups that the master sets when it starts.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Group>> {
    let place = || format!("the groups of Access in `{}` (`publish.access_groups_file`)", path.display());
    let text = text(path).with_context(place)?;
    read_groups(&text).map_err(anyhow::Error::msg).with_context(place)
}

/// Returns what is in a file.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    // Opening a pipe that nobody writes to would wait for ever.
    let facts = std::fs::metadata(path)
        .context("it cannot be read; check the path, and that this user may read it")?;
    if !facts.is_file() {
        bail!("it is not a file; name a file with JSON");
    }
    limited(File::open(path).context("it cannot be read; check that this user may read it")?)
}

/// Returns what `reader` has, if it is text and not too much.
pub(super) fn limited(reader: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    reader.take(most + 1).read_to_string(&mut text).context("it cannot be read as text")?;
    if text.len() > MAX_FILE {
        bail!("it is larger than {} MiB", MAX_FILE >> 20);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::output::chain;
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_group_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups.json");
        let refused = || chain(&read(&path).unwrap_err());
        assert!(refused().contains("groups.json") && refused().contains("cannot be read"), "{}", refused());
        for (content, words) in [
            (&b"[{\"id\":\"staff\",\"policies\":[]}]"[..], "group `staff`: "),
            (b"{", "no JSON array of groups"),
            (b"\xff\xfe", "as text"),
            (&vec![b' '; MAX_FILE + 1], "larger than 1 MiB"),
        ] {
            File::create(&path).unwrap().write_all(content).unwrap();
            assert!(
                refused().contains(words) && refused().contains("publish.access_groups_file"),
                "{}",
                refused()
            );
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(refused().contains("not a file"), "{}", refused());
    }
}
