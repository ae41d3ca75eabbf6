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

/// Writes down what is installed right before anything is changed, so that [`changed_beside`] can tell afterwards what a script
/// did that no plan has. It stands in a file of its own: thousands of lines that nobody reads are no part of a run's record.
///
/// Called by the step that changes, once nobody else installs: what others did while they were waited for is not ours. If that
/// step is begun again (`is_again`), what was noted first stays, also of the run that failed and is gone on with.
pub(super) fn note_inventory(
    at: &At<'_>,
    kind: Kind,
    is_again: bool,
    inventory: &Inventory,
) -> Result<(), StepFailed> {
    let (own, first) = (noted_in(at.folder, kind), noted_first(at, kind));
    let json = match first.filter(|_| is_again) {
        Some(first) if first == own => return Ok(()),
        Some(first) => std::fs::read(&first).map_err(|error| not_read(&first, &error))?,
        // Nobody knows any more what was there before the run that failed.
        None if is_again && at.run.goes_on.is_some() => return Ok(()),
        None => serde_json::to_vec(inventory).expect("it holds nothing that JSON cannot"),
    };
    replace_file(&own, &json).map_err(|error| StepFailed::because(error.to_string()))
}

/// Where it stands what was there before the run, or before the one that it goes on with.
fn noted_first(at: &At<'_>, kind: Kind) -> Option<PathBuf> {
    let first = at.run.goes_on.as_ref().and_then(|run| Some(at.folder.parent()?.join(run.as_str())));
    let folders = [Some(at.folder.to_owned()), first];
    folders.into_iter().flatten().map(|folder| noted_in(&folder, kind)).find(|file| file.exists())
}

/// Fails if anything is not as it was before that is not in the plan. Nothing is said of a run that noted nothing.
pub(super) fn changed_beside(at: &At<'_>, kind: Kind, now: &Inventory) -> Result<(), StepFailed> {
    let noted = noted_first(at, kind).and_then(|file| std::fs::read(file).ok());
    let Some(before) = noted.and_then(|noted| serde_json::from_slice::<Inventory>(&noted).ok()) else {
        return Ok(());
    };
    let mut planned = BTreeMap::<&str, BTreeSet<&str>>::new();
    for change in at.run.plan.changes.of(kind) {
        planned.entry(&change.name).or_default().insert(&change.arch);
    }
    let changed = differences(&before, now, &planned);
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

/// Architectures of packages that stand in the place of any other one.
const ANY: [&str; 2] = ["all", "noarch"];

/// True if a plan has this package. One of any architecture can take the place of one of a certain one, and the other way round;
/// beside each other there are only those of certain ones.
fn is_planned(package: &str, planned: &BTreeMap<&str, BTreeSet<&str>>) -> bool {
    let (name, arch) = package.rsplit_once(':').unwrap_or((package, ""));
    planned.get(name).is_some_and(|arches| {
        ANY.contains(&arch) || arches.contains(arch) || ANY.iter().any(|any| arches.contains(any))
    })
}

/// Says what differs and is not planned: by name, with the architectures that are.
fn differences(before: &Inventory, now: &Inventory, planned: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |name: &&String| match (before.get(*name), now.get(*name)) {
        (Some((was, _)), None) => Some(format!("{name} {was} is gone")),
        (None, Some((is, _))) => Some(format!("{name} {is} came")),
        (Some((was, _)), Some((is, _))) if was != is => Some(format!("{name} is {is} and was {was}")),
        (Some((_, false)), Some((is, true))) => Some(format!("{name} {is} is half installed")),
        // What was half installed before may be whole now.
        _ => None,
    };
    names.iter().filter(|name| !is_planned(name, planned)).filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::domain::update::{Plan, Run, RunId};

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
            ("lib:amd64", "1", false),
            ("lib:i386", "1", false),
            ("mended:all", "1", true),
            ("moved:all", "1", false),
            ("same:all", "1", false),
        ]);
        let now = inventory(&[
            ("app:amd64", "2", false),
            ("came:i386", "3", false),
            ("half:all", "1", true),
            ("lib:amd64", "2", false),
            ("mended:all", "1", false),
            ("moved:all", "2", false),
            ("same:all", "1", false),
        ]);
        let planned =
            BTreeMap::from([("app", BTreeSet::from(["amd64"])), ("lib", BTreeSet::from(["amd64"]))]);
        assert_eq!(
            differences(&before, &now, &planned),
            [
                "came:i386 3 came",
                "gone:amd64 1 is gone",
                "half:all 1 is half installed",
                "lib:i386 1 is gone",
                "moved:all is 2 and was 1"
            ]
        );
        assert!(differences(&before, &before, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn what_was_there_first_is_noted_once_also_for_runs_that_go_on_with_one_that_failed() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let run = |id: &str, goes_on: Option<&str>| Run {
            goes_on: goes_on.and_then(RunId::parse),
            ..Run::new(RunId::parse(id).unwrap(), Plan::nothing(), "root", clock.now())
        };
        let one = |version: &str| Inventory::from([("beside:all".to_owned(), (version.to_owned(), false))]);
        let with = |run: &Run, what: &dyn Fn(&At<'_>) -> Result<(), StepFailed>| {
            let folder = dir.path().join(run.id.as_str());
            std::fs::create_dir_all(&folder).unwrap();
            what(&At { run, folder: &folder, clock: &clock, tell: &|_| () })
        };
        let note = |run: &Run, is_again, version: &str| {
            with(run, &|at| note_inventory(at, Kind::Apt, is_again, &one(version))).unwrap();
        };
        let looks = |run: &Run, version: &str| with(run, &|at| changed_beside(at, Kind::Apt, &one(version)));

        // While others were waited for they changed something; and then it begins.
        let (first, second, third) = (run("1", None), run("2", Some("1")), run("3", Some("2")));
        note(&first, false, "1");
        note(&first, false, "2");
        assert_eq!(looks(&first, "2"), Ok(()));
        // Cut off, and begun again after a script changed something.
        note(&first, true, "3");
        assert!(looks(&first, "3").unwrap_err().reason.contains("beside:all is 3 and was 2"));
        // It failed, and so did the one that went on with it.
        for run in [&second, &third] {
            note(run, true, "3");
            assert!(looks(run, "3").unwrap_err().reason.contains("beside:all is 3 and was 2"), "{}", run.id);
        }
        // Of one that is gone nobody knows what was there before it.
        let lost = run("5", Some("4"));
        note(&lost, true, "3");
        assert_eq!(looks(&lost, "4"), Ok(()));
        // One that was cut off while it waited for others had changed nothing.
        let waited = run("6", None);
        note(&waited, true, "3");
        assert!(looks(&waited, "4").is_err());
    }
}
