//! Where APT keeps what it knows, how old that is, and whether it changed. Looks at names, sizes and times only.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::Access;

use crate::updates::print::Print;

/// Folders and files of APT and dpkg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) lists: PathBuf,
    pub(super) status: PathBuf,
    etc: PathBuf,
    state: PathBuf,
    archives: PathBuf,
    /// Where APT keeps its cache, if it does.
    pub(super) cache: Option<PathBuf>,
    pub(super) native: String,
}

/// What [`Places::parse`] reads.
pub(super) const QUESTION: [&str; 15] = [
    "shell",
    "LISTS",
    "Dir::State::lists/d",
    "STATUS",
    "Dir::State::status/f",
    "ETC",
    "Dir::Etc/d",
    "STATE",
    "Dir::State/d",
    "ARCHIVES",
    "Dir::Cache::archives/d",
    "CACHE",
    "Dir::Cache::pkgcache/f",
    "NATIVE",
    "APT::Architecture",
];

impl Places {
    /// Reads the answer of `apt-config shell`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            let value = line.trim().trim_matches('\'');
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(Self {
            lists: value("LISTS")?.into(),
            status: value("STATUS")?.into(),
            etc: value("ETC")?.into(),
            state: value("STATE")?.into(),
            archives: value("ARCHIVES")?.into(),
            cache: value("CACHE").map(PathBuf::from),
            native: value("NATIVE")?,
        })
    }

    /// dpkg's own folder.
    pub(super) fn dpkg(&self) -> &Path {
        self.status.parent().unwrap_or(Path::new("/var/lib/dpkg"))
    }

    /// Returns the file of a version in APT's cache, if it is there.
    pub(super) fn archive(&self, name: &str, version: &str, arch: &str) -> Option<PathBuf> {
        let path = self.archives.join(format!("{name}_{}_{arch}.deb", version.replace(':', "%3a")));
        path.is_file().then_some(path)
    }

    /// Where APT keeps what it fetched.
    pub(super) fn archives(&self) -> &Path {
        &self.archives
    }

    /// Files whose locks an installation needs. The last one is held by a refresh of the lists, which changes what there is.
    pub(super) fn locks(&self) -> [PathBuf; 4] {
        let dpkg = self.dpkg();
        [dpkg.join("lock-frontend"), dpkg.join("lock"), self.archives.join("lock"), self.lists.join("lock")]
    }

    /// The lists of packages, if any of them is compressed: looking up one package in such a list reads all before it.
    pub(super) fn compressed_lists(&self) -> Option<Vec<PathBuf>> {
        let files = std::fs::read_dir(&self.lists).ok()?.flatten().map(|file| file.path());
        let packed_with = |file: &Path| {
            let (_, end) = file.file_name()?.to_str()?.rsplit_once("_Packages")?;
            ["", ".lz4", ".gz", ".xz", ".bz2", ".lzma", ".zst"].into_iter().find(|known| *known == end)
        };
        let mut lists: Vec<PathBuf> = files.filter(|file| packed_with(file).is_some()).collect();
        lists.sort();
        lists.iter().any(|file| packed_with(file) != Some("")).then_some(lists)
    }

    /// Returns when the lists were last seen to be fresh. A refresh that finds nothing new, or fails, leaves no trace.
    pub(super) fn refreshed_at(&self) -> Option<DateTime<Utc>> {
        let is_list = |name: &str| name.contains("_Packages") || name.ends_with("Release");
        let has_lists = std::fs::read_dir(&self.lists)
            .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_str().is_some_and(is_list)));
        if !has_lists {
            return None;
        }
        let stamp = self.state.join("periodic/update-success-stamp");
        let traces = [self.lists.clone(), self.lists.join("partial"), stamp];
        let times = traces.iter().filter_map(|path| path.metadata().ok()?.modified().ok());
        times.max().map(DateTime::from)
    }

    /// True if this user may refresh the lists.
    pub(super) fn may_refresh(&self) -> bool {
        // Without it APT makes the inner one itself.
        let partial = Some(self.lists.join("partial")).filter(|folder| folder.exists());
        [Some(self.lists.clone()), partial]
            .iter()
            .flatten()
            .all(|folder| rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok())
    }

    /// True if an installation was broken off, or is under way.
    pub(super) fn is_interrupted(&self) -> bool {
        let is_entry = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
        std::fs::read_dir(self.dpkg().join("updates"))
            .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_str().is_some_and(is_entry)))
    }

    /// True if dpkg knows any package at all.
    pub(super) fn has_packages(&self) -> bool {
        self.status.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Looks at everything that an answer of APT depends on.
    pub(super) fn print(&self) -> Print {
        let mut print = Print::default()
            .file(&self.status)
            .file(&self.state.join("extended_states"))
            .folder(&self.dpkg().join("updates"))
            .folder(&self.lists)
            .folder(&self.etc);
        for parts in ["sources.list.d", "preferences.d", "apt.conf.d"] {
            print = print.folder(&self.etc.join(parts));
        }
        print
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "LISTS='/r/var/lib/apt/lists/'\nSTATUS='/r/var/lib/dpkg/status'\nETC='/r/etc/apt/'\n\
                          STATE='/r/var/lib/apt/'\nARCHIVES='/r/var/cache/apt/archives/'\n\
                          CACHE='/r/var/cache/apt/pkgcache.bin'\nNATIVE='amd64'\n";

    #[test]
    fn places_are_where_apt_says() {
        let places = Places::parse(ANSWER).unwrap();
        assert_eq!(places.dpkg(), Path::new("/r/var/lib/dpkg"));
        assert_eq!((places.lists.to_str(), places.native.as_str()), (Some("/r/var/lib/apt/lists/"), "amd64"));
        for half in ["", "LISTS=''\n", &ANSWER[..60]] {
            assert_eq!(Places::parse(half), None, "{half}");
        }
    }

    #[test]
    fn a_print_changes_with_whatever_an_answer_depends_on() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::parse(&ANSWER.replace("/r/", &format!("{}/", dir.path().display()))).unwrap();
        for folder in ["var/lib/apt/lists/partial", "var/lib/dpkg/updates", "etc/apt/preferences.d"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let mut before = places.print();
        assert_eq!(places.print(), before);
        assert!(!places.has_packages() && places.refreshed_at().is_none() && !places.is_interrupted());
        for file in [
            "var/lib/dpkg/status",
            "var/lib/apt/lists/x_Packages",
            "var/lib/apt/extended_states",
            "etc/apt/preferences.d/pin",
            "etc/apt/sources.list",
            "var/lib/dpkg/updates/0001",
        ] {
            std::fs::write(dir.path().join(file), "x").unwrap();
            let after = places.print();
            assert_ne!(after, before, "{file}");
            before = after;
        }
        std::fs::write(dir.path().join("var/lib/apt/lists/lock"), "").unwrap();
        assert!(places.has_packages() && places.refreshed_at().is_some() && places.is_interrupted());
        assert!(places.may_refresh());

        assert_eq!(places.compressed_lists(), None);
        for other in ["x_Packages.IndexDiff", "x_InRelease", "y_Packages.lz4"] {
            std::fs::write(dir.path().join("var/lib/apt/lists").join(other), "").unwrap();
        }
        let lists = places.compressed_lists().unwrap();
        assert_eq!(lists, ["x_Packages", "y_Packages.lz4"].map(|name| places.lists.join(name)));
    }
}
