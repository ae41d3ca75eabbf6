//! What can be wrong with the agent's files, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A file or directory that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Nothing can be written there.
    #[error(
        "`{path}` cannot be {action}: the agent keeps its id and its tunnel there; make the directory writable \
         for this user, or name another one in `LIGHTSHIP_STATE_DIR`"
    )]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("`{path}` cannot be {action}: no space is left on its disk; free some space")]
    Full {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Any other failure.
    #[error("`{path}` cannot be {action}; see to the file and its disk")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something else than it should. It is kept under another name.
    #[error(
        "`{path}` cannot be read: {reason}; it was kept as `{kept_as}`, and the agent goes on without it: put it \
         right and back in its place, or remove it"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        kept_as: PathBuf,
        /// What is wrong with it; never quotes its content.
        reason: String,
    },
    /// The file holds something else than it should, and nothing may go on without it.
    #[error(
        "`{path}` cannot be read: {reason}; put it right, or remove it: the next key is then trusted as the first one"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never quotes its content.
        reason: String,
    },
    /// The file held something else than it should. What it is for is told again, so it was removed.
    #[error(
        "`{path}` could not be read: {reason}; it was removed, and is written anew once it is told again"
    )]
    Dropped {
        /// The file.
        path: PathBuf,
        /// What was wrong with it; never quotes its content.
        reason: String,
    },
    /// What was to be kept is not what the file is for. Nothing was changed.
    #[error("`{path}` is not written: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why not; never quotes it.
        reason: String,
    },
    /// Another agent uses the directory.
    #[error(
        "`{dir}` is in use by another agent; stop that one, or name another directory in `LIGHTSHIP_STATE_DIR`"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// So many results wait for the master that no further command is taken.
    #[error(
        "`{dir}` holds {count} results that the master has not taken yet; no further command is carried out until it does"
    )]
    SpoolFull {
        /// The directory.
        dir: PathBuf,
        /// How many there are.
        count: usize,
    },
}

impl StateError {
    /// Sorts a failure of the system by what a person can do about it.
    pub(super) fn from_io(path: &Path, action: &'static str, source: io::Error) -> Self {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            PermissionDenied | ReadOnlyFilesystem => Self::NotWritable { path, action, source },
            StorageFull | QuotaExceeded => Self::Full { path, action, source },
            _ => Self::Io { path, action, source },
        }
    }

    /// What the system said, if it was the system that failed.
    pub(super) fn cause(&self) -> Option<String> {
        std::error::Error::source(self).map(ToString::to_string)
    }

    /// Stable identifier, for status output and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWritable { .. } => "state_not_writable",
            Self::Full { .. } => "state_disk_full",
            Self::Io { .. } => "state_io",
            Self::Corrupt { .. } => "state_corrupt",
            Self::Unreadable { .. } => "state_unreadable",
            Self::Dropped { .. } => "state_dropped",
            Self::Refused { .. } => "state_refused",
            Self::InUse { .. } => "state_in_use",
            Self::SpoolFull { .. } => "state_spool_full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_system_say_what_to_do() {
        let cases = [
            (io::ErrorKind::StorageFull, "state_disk_full", "free some space"),
            (io::ErrorKind::QuotaExceeded, "state_disk_full", "free some space"),
            (io::ErrorKind::PermissionDenied, "state_not_writable", "LIGHTSHIP_STATE_DIR"),
            (io::ErrorKind::ReadOnlyFilesystem, "state_not_writable", "LIGHTSHIP_STATE_DIR"),
            (io::ErrorKind::NotADirectory, "state_io", "its disk"),
        ];
        for (kind, code, way_out) in cases {
            let error = StateError::from_io(Path::new("/state/agent_id.txt"), "written", kind.into());
            let text = error.to_string();
            assert_eq!(error.code(), code);
            assert!(
                text.contains("`/state/agent_id.txt` cannot be written") && text.contains(way_out),
                "{text}"
            );
        }
    }
}
