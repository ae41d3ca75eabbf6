//! What installers of packages have in common, whatever the package manager.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::keep::shown;
use super::run::{At, Back, StepFailed};
use crate::domain::update::{Kind, Problem};
use crate::state_dir::replace_file;

/// Most changes beside a plan that are named.
const MOST_NAMED: usize = 5;

/// A step ends with what is wrong.
pub(super) fn failed(problem: Problem) -> StepFailed {
    StepFailed::because(problem.reason)
}

/// What was there before could not be kept.
pub(super) fn not_kept(name: &str, error: &io::Error) -> StepFailed {
    StepFailed::because(format!("{name} cannot be kept to be put back: {error}"))
}

/// A file or a folder that the change needs cannot be used; nothing is changed yet.
pub(super) fn not_read(path: &Path, error: &io::Error) -> StepFailed {
    StepFailed { reason: format!("{}: {error}", path.display()), back: Back::NotNeeded }
}

/// Makes a folder that is empty.
pub(super) fn emptied(folder: &Path) -> Result<(), StepFailed> {
    let removed = std::fs::remove_dir_all(folder).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    removed.and_then(|()| std::fs::create_dir_all(folder)).map_err(|error| not_read(folder, &error))
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

/// Has the disks hold these files. Whatever else is on the same ones comes along: one call for each, not for each file.
/// Blocks for as long as they need.
pub(super) fn flush(files: &BTreeSet<String>) -> io::Result<()> {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| Path::new(file).parent()).collect();
    let mut seen = BTreeSet::new();
    for folder in folders {
        // What a package only names need not be there.
        let Ok(opened) = File::open(folder) else { continue };
        if seen.insert(opened.metadata()?.dev()) {
            rustix::fs::syncfs(&opened)?;
        }
    }
    Ok(())
}

/// What is installed, by name: its version, and whether that is only half there.
pub(super) type Inventory = BTreeMap<String, (String, bool)>;

/// Writes down what is installed before anything is changed, so that [`changed_beside`] can tell afterwards what a script
/// did that no plan has. It stands in a file of its own: thousands of lines that nobody reads are no part of a run's record.
pub(super) fn note_inventory(at: &At<'_>, kind: Kind, inventory: &Inventory) -> Result<(), StepFailed> {
    let json = serde_json::to_vec(inventory).expect("it holds nothing that JSON cannot");
    replace_file(&noted_in(at.folder, kind), &json).map_err(|error| StepFailed::because(error.to_string()))
}

/// Fails if anything is not as it was before that is not in the plan. Nothing is said of a run that noted nothing.
pub(super) fn changed_beside(at: &At<'_>, kind: Kind, now: &Inventory) -> Result<(), StepFailed> {
    // One that goes on with a run that failed begins behind its note.
    let first = at.run.goes_on.as_ref().and_then(|run| Some(at.folder.parent()?.join(run.as_str())));
    let folders = [Some(at.folder.to_owned()), first];
    let noted = folders.into_iter().flatten().find_map(|folder| std::fs::read(noted_in(&folder, kind)).ok());
    let Some(before) = noted.and_then(|noted| serde_json::from_slice::<Inventory>(&noted).ok()) else {
        return Ok(());
    };
    let planned: BTreeSet<&str> = at.run.plan.changes.of(kind).map(|change| change.name.as_str()).collect();
    let changed = differences(&before, now, |name| planned.contains(name));
    if changed.is_empty() {
        return Ok(());
    }
    let more = changed.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let named: Vec<String> = changed.into_iter().take(MOST_NAMED).collect();
    let reason = format!(
        "the plan is carried out, and more was changed meanwhile, by a script of a package or by somebody else: {}{more}",
        named.join("; ")
    );
    Err(StepFailed::because(shown(&reason)))
}

fn noted_in(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("before.{kind}.json"))
}

/// Says what differs. `is_planned` is asked for names without their architecture.
fn differences(before: &Inventory, now: &Inventory, is_planned: impl Fn(&str) -> bool) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |name: &&String| match (before.get(*name), now.get(*name)) {
        (Some((was, _)), None) => Some(format!("{name} {was} is gone")),
        (None, Some((is, _))) => Some(format!("{name} {is} came")),
        (Some((was, _)), Some((is, _))) if was != is => Some(format!("{name} is {is} and was {was}")),
        (Some((_, false)), Some((is, true))) => Some(format!("{name} {is} is half installed")),
        // What was half installed before may be whole now.
        _ => None,
    };
    let bare = |name: &str| name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned();
    names.iter().filter(|name| !is_planned(&bare(name))).filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_plan_has_is_named_and_nothing_else() {
        let inventory = |all: &[(&str, &str, bool)]| -> Inventory {
            all.iter()
                .map(|(name, version, half)| ((*name).to_owned(), ((*version).to_owned(), *half)))
                .collect()
        };
        let before = inventory(&[
            ("app:all", "1", false),
            ("gone:amd64", "1", false),
            ("half:all", "1", false),
            ("mended:all", "1", true),
            ("moved:all", "1", false),
            ("same:all", "1", false),
        ]);
        let now = inventory(&[
            ("app:amd64", "2", false),
            ("came:i386", "3", false),
            ("half:all", "1", true),
            ("mended:all", "1", false),
            ("moved:all", "2", false),
            ("same:all", "1", false),
        ]);
        assert_eq!(
            differences(&before, &now, |name| name == "app"),
            [
                "came:i386 3 came",
                "gone:amd64 1 is gone",
                "half:all 1 is half installed",
                "moved:all is 2 and was 1"
            ]
        );
        assert!(differences(&before, &before, |_| false).is_empty());
    }
}
