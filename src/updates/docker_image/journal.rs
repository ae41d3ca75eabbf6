//! How far the replacements of a run came, on the disk before they go further.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::domain::update::swap::Swaps;
use crate::state_dir::replace_file;

/// Its name in the folder of a run.
const FILE: &str = "swaps.json";

/// The record in the folder of one run. It holds names and ids; what a container was told only of
/// one that is gone once it is stopped, and as long as it may have to be made anew.
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// That of a run's folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self { path: folder.join(FILE) }
    }

    /// Reads it; empty if nothing was replaced yet.
    pub(super) fn read(&self) -> Result<Swaps, String> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("`{}` cannot be understood: {error}", self.path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Swaps::default()),
            Err(error) => Err(format!("`{}` cannot be read: {error}", self.path.display())),
        }
    }

    /// Puts it in the place of what was there.
    pub(super) fn write(&self, swaps: &Swaps) -> Result<(), String> {
        let json = serde_json::to_vec(swaps).expect("it holds nothing that JSON cannot");
        replace_file(&self.path, &json).map_err(|error| error.to_string())
    }
}
