//! Whether anything changed that an answer depends on: which files there are, how large, how old. Reads none of them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Print(Vec<(PathBuf, u64, SystemTime)>);

impl Print {
    /// Notes a file or a folder itself; one that is not there is noted by its absence.
    pub(super) fn file(mut self, path: &Path) -> Self {
        self.note(path);
        self
    }

    /// Notes a folder and what is in it, but not what is in its folders. Locks come and go.
    pub(super) fn folder(mut self, folder: &Path) -> Self {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
        files.retain(|file| !is_passing(file));
        files.sort();
        self.note(folder);
        files.iter().for_each(|file| self.note(file));
        self
    }

    fn note(&mut self, path: &Path) {
        if let Ok(found) = path.metadata()
            && let Ok(modified) = found.modified()
        {
            self.0.push((path.to_owned(), found.len(), modified));
        }
    }
}

/// True for what says nothing of the content: locks, and SQLite's shared memory, which readers write too.
fn is_passing(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "lock" || name.ends_with(".lock") || name.ends_with("-shm")
}
