//! What runs on this host did: a folder each, with the record and the log.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::StateError;
use super::files;
use crate::domain::id::{AgentId, CommandId};
use crate::domain::update::{Run, RunId};
use crate::io::open_lock_file;

/// Largest record that is read: a plan of 20,000 changes fits.
const SIZE_LIMIT: u64 = 32 * 1024 * 1024;
/// Most runs that are listed.
const MOST: usize = 1_000;

/// Names the agent as whose a run was told.
const TOLD: &str = "told";

/// The runs in a state directory. Everything here blocks.
#[derive(Debug, Clone)]
pub struct Runs {
    root: PathBuf,
    beside: Option<PathBuf>,
}

/// Held while something on the host is changed; the system frees it when the process dies.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "they are held")] Vec<File>);

impl Runs {
    /// Those of a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self { root: state_dir.join("runs"), beside: None }
    }

    /// The same on a host that is also changed with the records in `other`, as soon as that is there: whoever has the right to change
    /// the host has it for both.
    pub fn beside(self, other: Option<PathBuf>) -> Self {
        Self { beside: other, ..self }
    }

    /// Takes the right to change this host; none if another process has it.
    pub fn lock(&self) -> Result<Option<RunLock>, StateError> {
        files::make_dir(&self.root)?;
        let mut roots = vec![self.root.clone()];
        if let Some(other) = self.beside.as_ref().filter(|other| may_be_locked(other)) {
            let other = other.join("runs");
            files::make_dir(&other)?;
            // Under two names it is one and the same, and nobody takes it twice.
            if fs::canonicalize(&other).ok() != fs::canonicalize(&self.root).ok() {
                roots.push(other);
            }
        }
        let locks: Option<Vec<File>> =
            roots.iter().map(|root| lock_of(root)).collect::<Result<_, StateError>>()?;
        Ok(locks.map(RunLock))
    }

    /// Returns the folder of a run, which is made if it is not there.
    pub fn folder(&self, id: &RunId) -> Result<PathBuf, StateError> {
        let folder = self.root.join(id.as_str());
        files::make_dir(&folder)?;
        Ok(folder)
    }

    /// Puts the record of a run in the place of the one before.
    pub fn write(&self, run: &Run) -> Result<(), StateError> {
        let json = serde_json::to_vec(run).expect("it holds nothing that JSON cannot");
        files::replace(&self.folder(&run.id)?.join("run.json"), &json)
    }

    /// Reads the record of a run.
    pub fn read(&self, id: &RunId) -> Result<Option<Run>, StateError> {
        let path = self.root.join(id.as_str()).join("run.json");
        files::read_checked_up_to(&path, SIZE_LIMIT, files::from_json)
    }

    /// Removes folders without a record that nobody touched since `before`: of runs that never began.
    pub fn remove_orphans(&self, before: SystemTime) -> Result<(), StateError> {
        for id in self.ids()? {
            let folder = self.root.join(id.as_str());
            let is_old = fs::metadata(&folder).and_then(|about| about.modified()).is_ok_and(|at| at < before);
            if is_old && !folder.join("run.json").exists() {
                fs::remove_dir_all(&folder)
                    .map_err(|error| StateError::from_io(&folder, "removed", error))?;
            }
        }
        Ok(())
    }

    /// Names all runs, the newest first.
    fn ids(&self) -> Result<Vec<RunId>, StateError> {
        let folder = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder.map_err(|error| StateError::from_io(&self.root, "read", error))?,
        };
        let names = folder.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<RunId> = names.filter_map(|name| RunId::parse(&name)).collect();
        ids.sort_by(|one, other| other.cmp(one));
        ids.truncate(MOST);
        Ok(ids)
    }

    /// Reads a record; none also if it cannot be read: it was set aside and named.
    fn readable(&self, id: &RunId) -> Result<Option<Run>, StateError> {
        match self.read(id) {
            Err(StateError::Corrupt { .. }) => Ok(None),
            read => read,
        }
    }

    /// Reads all records, the newest first. One that cannot be read is named in the log and left out.
    pub fn list(&self) -> Result<Vec<Run>, StateError> {
        let ids = self.ids()?;
        let runs = ids.iter().filter_map(|id| self.readable(id).transpose());
        let mut runs = runs.collect::<Result<Vec<Run>, StateError>>()?;
        // Names tell seconds apart, and two runs may begin within one.
        runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        Ok(runs)
    }

    /// Returns the run that carries out an order, if it was begun.
    pub fn of_order(&self, order: &CommandId) -> Result<Option<Run>, StateError> {
        for id in self.ids()? {
            if let Some(run) = self.readable(&id)?.filter(|run| run.order.as_ref() == Some(order)) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Names runs that ended and were not told as this agent's, the oldest first; at most so many.
    pub fn untold(&self, agent: &AgentId, most: usize) -> Result<Vec<RunId>, StateError> {
        let mut found = Vec::new();
        for id in self.ids()?.into_iter().rev() {
            if found.len() >= most {
                break;
            }
            if self.told_as(&id).as_deref() == Some(agent.as_str()) {
                continue;
            }
            if self.readable(&id)?.is_some_and(|run| run.outcome.is_some()) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Returns as which agent's a run was told last.
    fn told_as(&self, id: &RunId) -> Option<String> {
        let file = File::open(self.root.join(id.as_str()).join(TOLD)).ok()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, 1024), &mut text).ok()?;
        Some(text)
    }

    /// Notes that a run was told as this agent's.
    pub fn mark_told(&self, id: &RunId, agent: &AgentId) -> Result<(), StateError> {
        let folder = self.root.join(id.as_str());
        if folder.is_dir() { files::replace(&folder.join(TOLD), agent.as_str().as_bytes()) } else { Ok(()) }
    }
}

/// True if who changes the host from a state directory can be kept from it there. Whoever it belongs to could not get at what another
/// user makes in it; and where no lock was ever taken nobody changes the host.
fn may_be_locked(state_dir: &Path) -> bool {
    let is_own = |about: fs::Metadata| about.is_dir() && about.uid() == rustix::process::geteuid().as_raw();
    fs::metadata(state_dir).is_ok_and(is_own) || state_dir.join("runs/.lock").is_file()
}

/// Takes the lock in a folder of runs; none if another process has it.
fn lock_of(root: &Path) -> Result<Option<File>, StateError> {
    let path = root.join(".lock");
    let file = open_lock_file(&path).map_err(|error| StateError::from_io(&path, "opened", error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StateError::from_io(&path, "locked", error)),
    }
}

/// Reads what stands in a file from a place on, of much of it the last `most` bytes; of one that is not there nothing.
/// Blocks.
pub fn read_end(path: &Path, from: u64, most: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};

    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(most))))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let mut text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    // What is no UTF-8 takes more room when it is replaced.
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    text.drain(..text.ceil_char_boundary(text.len().saturating_sub(most)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Plan, RunOutcome};

    fn run(id: &str) -> Run {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        Run::new(RunId::parse(id).unwrap(), Plan::nothing(), "root", at)
    }

    #[test]
    fn runs_are_listed_the_newest_first_and_a_damaged_one_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path());
        assert_eq!(runs.list().unwrap(), []);
        for id in ["20260101-000000-a", "20260301-000000-a", "20260201-000000-a"] {
            runs.write(&run(id)).unwrap();
        }
        fs::write(dir.path().join("runs/20260301-000000-a/run.json"), "{half").unwrap();
        let listed: Vec<String> = runs.list().unwrap().iter().map(|run| run.id.to_string()).collect();
        assert_eq!(listed, ["20260201-000000-a", "20260101-000000-a"]);
    }

    #[test]
    fn a_folder_of_a_run_that_never_began_goes_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path());
        runs.write(&run("20260101-000000-a")).unwrap();
        for id in ["20260102-000000-a", "20260103-000000-a"] {
            runs.folder(&RunId::parse(id).unwrap()).unwrap();
        }
        let old = SystemTime::now() - std::time::Duration::from_secs(100);
        for id in ["20260101-000000-a", "20260102-000000-a"] {
            File::open(dir.path().join("runs").join(id)).unwrap().set_modified(old).unwrap();
        }
        runs.remove_orphans(SystemTime::now() - std::time::Duration::from_secs(50)).unwrap();
        let left: Vec<String> = runs.ids().unwrap().iter().map(RunId::to_string).collect();
        assert_eq!(left, ["20260103-000000-a", "20260101-000000-a"]);
    }

    #[test]
    fn a_run_is_untold_until_it_was_told_as_this_agents() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path());
        let (own, other) = (AgentId::new("a1"), AgentId::new("a2"));
        let ended = |id| Run { outcome: Some(RunOutcome::Verified), ..run(id) };
        runs.write(&run("20260103-000000-a")).unwrap();
        runs.write(&ended("20260102-000000-a")).unwrap();
        runs.write(&ended("20260101-000000-a")).unwrap();
        let untold =
            |agent| -> Vec<String> { runs.untold(agent, 20).unwrap().iter().map(RunId::to_string).collect() };
        assert_eq!(untold(&own), ["20260101-000000-a", "20260102-000000-a"]);
        runs.mark_told(&RunId::parse("20260101-000000-a").unwrap(), &own).unwrap();
        assert_eq!(untold(&own), ["20260102-000000-a"]);
        assert_eq!(untold(&other).len(), 2);
    }

    #[test]
    fn one_at_a_time_may_change_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path());
        let first = runs.lock().unwrap();
        assert!(first.is_some() && runs.lock().unwrap().is_none());
        drop(first);
        assert!(runs.lock().unwrap().is_some());
    }

    #[test]
    fn one_at_a_time_may_change_a_host_that_has_two_records_and_none_waits_for_one_that_is_not_there() {
        // given: the records of the verbs beside those of a helper that comes later
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (dir.path().join("own"), dir.path().join("helper"));
        let verbs = Runs::of(&own).beside(Some(other.clone()));
        assert!(verbs.lock().unwrap().is_some());
        assert!(!other.exists(), "it is not made for that");
        std::fs::create_dir(&other).unwrap();
        let helper = Runs::of(&other);

        // when, then: each is in the way of the other, and of nobody longer than that
        let lock = verbs.lock().unwrap();
        assert!(lock.is_some() && helper.lock().unwrap().is_none());
        drop(lock);
        let lock = helper.lock().unwrap();
        assert!(lock.is_some() && verbs.lock().unwrap().is_none());
        assert!(Runs::of(&own).lock().unwrap().is_some(), "what could not be taken whole is let go");
        drop(lock);
        // In a folder of somebody else nothing is made that he could not get at; what is there is taken.
        if rustix::process::geteuid().is_root() {
            let others = dir.path().join("others");
            std::fs::create_dir(&others).unwrap();
            std::os::unix::fs::chown(&others, Some(65_534), Some(65_534)).unwrap();
            let of_root = Runs::of(&own).beside(Some(others.clone()));
            assert!(
                of_root.lock().unwrap().is_some() && std::fs::read_dir(&others).unwrap().next().is_none()
            );
            let lock = Runs::of(&others).lock().unwrap();
            assert!(lock.is_some() && of_root.lock().unwrap().is_none());
        }
        // By another name it is the same folder.
        std::os::unix::fs::symlink(&other, dir.path().join("name")).unwrap();
        let twice = Runs::of(&other).beside(Some(dir.path().join("name")));
        assert!(twice.lock().unwrap().is_some());
    }
}
