//! A cache in APT's own form that this program keeps for itself. Without one, every call reads all lists anew where APT keeps
//! none, or keeps it where this user may not write.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, access, statvfs};

/// Room that it may need on its disk, beside what is there: those of Debian and Ubuntu are of 30 to 120 MB.
const ROOM: u64 = 256 * 1024 * 1024;

/// See the module. APT itself sees whether it still fits the lists.
pub(super) struct KeptCache {
    folder: PathBuf,
    is_usable: AtomicBool,
}

impl KeptCache {
    /// In a folder of its own, which is made when it is needed.
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder, is_usable: AtomicBool::new(false) }
    }

    /// Sees whether it can be kept now, and takes over APT's own if that is newer: it was built already. Blocks.
    pub(super) fn prepare(&self, apts: Option<&Path>) {
        let prepared = self.make_folder().map(|()| {
            // Without it the first call builds one.
            let _ = apts.map(|apts| take_over(apts, &self.file()));
        });
        if prepared.is_err() {
            // On a full disk it takes the space that others lack.
            let _ = std::fs::remove_file(self.file());
        }
        self.is_usable.store(prepared.is_ok(), Ordering::Relaxed);
    }

    /// What makes a program of APT use it, and leave APT's own as it is.
    pub(super) fn options(&self) -> Vec<String> {
        if !self.is_usable.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let file = format!("Dir::Cache::pkgcache={}", self.file().display());
        // A second one, without what is installed, would save little and is as large.
        ["-o", &file, "-o", "Dir::Cache::srcpkgcache="].map(str::to_owned).into()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("pkgcache.bin")
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        access(&self.folder, Access::WRITE_OK | Access::EXEC_OK)?;
        let disk = statvfs(&self.folder)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Copies a cache if it is newer. Its age is copied too: APT compares it with that of its settings.
fn take_over(apts: &Path, ours: &Path) -> io::Result<()> {
    let age = |file: &Path| file.metadata()?.modified();
    let built = age(apts)?;
    if !apts.is_file() || age(ours).is_ok_and(|own| own >= built) {
        return Ok(());
    }
    let copy = ours.with_extension("copy");
    let copied = std::fs::copy(apts, &copy)
        .and_then(|_| File::options().write(true).open(&copy)?.set_modified(built))
        .and_then(|()| std::fs::rename(&copy, ours));
    copied.inspect_err(|_| {
        let _ = std::fs::remove_file(&copy);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_own_is_taken_over_with_its_age_and_only_if_it_is_newer() {
        let dir = tempfile::tempdir().unwrap();
        let (apts, kept) = (dir.path().join("apts"), KeptCache::in_folder(dir.path().join("state/apt")));
        assert!(kept.options().is_empty(), "nobody has seen yet whether it can be kept");
        kept.prepare(Some(&apts));
        assert!(!kept.file().exists() && kept.options().len() == 4);

        std::fs::write(&apts, "old").unwrap();
        kept.prepare(Some(&apts));
        assert_eq!(std::fs::read_to_string(kept.file()).unwrap(), "old");
        let age = |file: &Path| file.metadata().unwrap().modified().unwrap();
        assert_eq!(age(&kept.file()), age(&apts));

        std::fs::write(kept.file(), "own").unwrap();
        File::options()
            .write(true)
            .open(kept.file())
            .unwrap()
            .set_modified(age(&apts) + std::time::Duration::from_secs(1))
            .unwrap();
        kept.prepare(Some(&apts));
        assert_eq!(std::fs::read_to_string(kept.file()).unwrap(), "own");
        assert_eq!(std::fs::read_dir(dir.path().join("state/apt")).unwrap().count(), 1);
    }

    #[test]
    fn where_no_folder_can_be_made_apt_is_asked_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let kept = KeptCache::in_folder(dir.path().join("file/apt"));
        kept.prepare(None);
        assert!(kept.options().is_empty());
    }
}
