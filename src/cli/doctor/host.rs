//! The host: state directory, descriptors, memory.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Resource, geteuid, getrlimit};

use super::patient::Patient;
use crate::config::Role;
use crate::domain::doctor::Check;
use crate::domain::doctor::host::{
    StateDir, available, judge_files, judge_memory, judge_state_dir, left_of_limit,
};

/// Memory that a role needs, in bytes.
const FOR_AGENT: u64 = 64 << 20;
const FOR_MASTER: u64 = 128 << 20;
/// What is written to see whether it can be.
const SAMPLE: [u8; 4_096] = [b'x'; 4_096];
/// Control groups of a container, as it sees its own.
const CGROUP: &str = "/sys/fs/cgroup";

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    let (dir, role) = (patient.dir.clone(), patient.role);
    let looked = tokio::task::spawn_blocking(move || {
        let mut checks = judge_state_dir(&dir, &state_dir(&dir));
        checks.push(judge_files(getrlimit(Resource::Nofile).current));
        let least = if role == Role::Agent { FOR_AGENT } else { FOR_MASTER };
        checks.push(judge_memory(memory(), least));
        checks
    });
    looked.await.unwrap_or_else(|_| vec![Check::not_checked("Host", "the look at it broke off", "try again")])
}

fn state_dir(dir: &Path) -> StateDir {
    let about = match dir.metadata() {
        Ok(about) if about.is_dir() => about,
        Ok(_) => return StateDir::Unreadable("it is no folder".into()),
        Err(error) if error.kind() == ErrorKind::NotFound => return StateDir::Missing,
        Err(error) => return StateDir::Unreadable(error.to_string()),
    };
    let free = rustix::fs::statvfs(dir).map(|stat| {
        // File systems without a fixed number of inodes say none at all.
        let files = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
        (stat.f_bavail * stat.f_frsize, files)
    });
    StateDir::There {
        is_own: about.uid() == geteuid().as_raw(),
        free: free.map_err(|error| error.to_string()),
        written: write_sample(dir).map_err(|error| error.to_string()),
    }
}

/// Writes a file, waits until it is on the disk, and removes it; returns how many milliseconds that took.
fn write_sample(dir: &Path) -> std::io::Result<u64> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let _end = Removed(path.clone());
    let begun = Instant::now();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(&SAMPLE)?;
    file.sync_all()?;
    Ok(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A file that goes, however its making ends.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Bytes that are left: of the machine, or of the limit of this container if that is less.
fn memory() -> Result<u64, String> {
    let meminfo =
        std::fs::read_to_string("/proc/meminfo").map_err(|error| format!("/proc/meminfo: {error}"))?;
    let of_host = available(&meminfo).ok_or("/proc/meminfo does not say what is available")?;
    let read = |name: &str| std::fs::read_to_string(Path::new(CGROUP).join(name)).ok();
    let of_limit = read("memory.max").zip(read("memory.current"));
    let of_limit = of_limit.and_then(|(max, current)| left_of_limit(&max, &current));
    Ok(of_limit.map_or(of_host, |left| left.min(of_host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let seen = state_dir(dir.path());
        assert!(matches!(&seen, StateDir::There { is_own: true, free: Ok(_), written: Ok(_) }), "{seen:?}");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        assert_eq!(state_dir(&dir.path().join("none")), StateDir::Missing);
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(state_dir(&file), StateDir::Unreadable(_)));
    }

    #[test]
    fn memory_of_this_machine_is_known() {
        assert!(memory().unwrap() > 0);
    }
}
