//! What installers of packages have in common, whatever the package manager.

use std::io;
use std::path::Path;

use super::run::{Back, StepFailed};
use crate::domain::update::Problem;

/// A step ends with what is wrong.
pub(super) fn failed(problem: Problem) -> StepFailed {
    StepFailed::because(problem.reason)
}

/// What was there before could not be kept.
pub(super) fn not_kept(name: &str, error: &io::Error) -> StepFailed {
    StepFailed::because(format!("{name} cannot be kept to be put back: {error}"))
}

/// Fails if a disk is too full for so many bytes. One that does not say how full it is stops nobody.
pub(super) fn has_room(path: &Path, wanted: u64) -> Result<(), StepFailed> {
    let free = rustix::fs::statvfs(path).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    match free {
        Ok(free) if free < wanted => Err(StepFailed::because(format!(
            "the disk of {} has {} MB left, and {} MB are needed",
            path.display(),
            free / 1_000_000,
            wanted.div_ceil(1_000_000)
        ))),
        _ => Ok(()),
    }
}

/// A change that failed, seen after the host was looked at.
pub(super) fn looked_at(failed: StepFailed, is_untouched: bool) -> StepFailed {
    let back = match (is_untouched, failed.back) {
        (true, Back::Refused) => Back::Refused,
        (true, _) => Back::NotNeeded,
        (false, _) => Back::No,
    };
    StepFailed { back, ..failed }
}
