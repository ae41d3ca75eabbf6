//! Where APT keeps what it knows, how old that is, and whether it changed. Looks at names, sizes and times only.

use std::fs::File;
use std::io::Read;
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
    /// False if APT is told to take lists whose time is over.
    checks_times: bool,
}

/// Most of a `Release` file that is read: its fields stand before its long lists.
const HEAD: u64 = 8 << 10;

/// What [`Places::parse`] reads.
pub(super) const QUESTION: [&str; 17] = [
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
    "TIMES",
    "Acquire::Check-Valid-Until/b",
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
            checks_times: value("TIMES").is_none_or(|word| word != "false"),
        })
    }

    /// dpkg's own folder.
    pub(super) fn dpkg(&self) -> &Path {
        self.status.parent().unwrap_or(Path::new("/var/lib/dpkg"))
    }

    /// Returns the file of a version in APT's cache, if it is there.
    pub(super) fn archive(&self, name: &str, version: &str, arch: &str) -> Option<PathBuf> {
        file_in(&self.archives, name, version, arch)
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

    /// Where APT notes which packages are there for others' sake.
    pub(super) fn marks(&self) -> PathBuf {
        self.state.join("extended_states")
    }

    /// Where APT's settings are.
    pub(super) fn etc(&self) -> &Path {
        &self.etc
    }

    /// Returns when the lists were last seen to be fresh, as far as files tell. A refresh that finds nothing new leaves its
    /// trace in the inner folder only, and so does one that fails: where the system notes by itself which one worked, that
    /// counts instead.
    pub(super) fn refreshed_at(&self) -> Option<DateTime<Utc>> {
        let is_list = |name: &str| name.contains("_Packages") || name.ends_with("Release");
        let has_lists = std::fs::read_dir(&self.lists)
            .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_str().is_some_and(is_list)));
        if !has_lists {
            return None;
        }
        self.succeeded_at().or_else(|| modified(&self.lists.join("partial"))).max(modified(&self.lists))
    }

    /// Returns the last trace of a refresh that did not fail altogether.
    pub(super) fn worked_at(&self) -> Option<DateTime<Utc>> {
        self.succeeded_at().max(modified(&self.lists))
    }

    fn succeeded_at(&self) -> Option<DateTime<Utc>> {
        modified(&self.state.join("periodic/update-success-stamp"))
    }

    /// Returns the list whose time is over for longest, and since when: whatever was refreshed since, this one was not. None
    /// where the host is told to take such lists.
    pub(super) fn expired(&self, now: DateTime<Utc>) -> Option<(String, DateTime<Utc>)> {
        if !self.checks_times {
            return None;
        }
        let files = std::fs::read_dir(&self.lists).ok()?.flatten().map(|file| file.path());
        let read = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let source = name.strip_suffix("_InRelease").or_else(|| name.strip_suffix("_Release"))?;
            Some((source.replace('_', "/"), valid_until(&path).filter(|until| *until < now)?))
        };
        let oldest = files.filter_map(read).min_by_key(|(_, until)| *until)?;
        (!self.names_exceptions()).then_some(oldest)
    }

    /// True if a source of its own is told to take lists whose time is over; which one is not looked into.
    fn names_exceptions(&self) -> bool {
        let parts = std::fs::read_dir(self.etc.join("sources.list.d")).into_iter().flatten().flatten();
        let files = parts.map(|file| file.path()).chain([self.etc.join("sources.list")]);
        let is_told = |file: PathBuf| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.to_ascii_lowercase().contains("check-valid-until")
        };
        files.into_iter().any(is_told)
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
            .file(&self.marks())
            .folder(&self.dpkg().join("updates"))
            .folder(&self.lists)
            .folder(&self.etc);
        for parts in ["sources.list.d", "preferences.d", "apt.conf.d"] {
            print = print.folder(&self.etc.join(parts));
        }
        print
    }
}

/// Returns the file of a version in a folder that APT fetched it into, if it is there.
pub(super) fn file_in(folder: &Path, name: &str, version: &str, arch: &str) -> Option<PathBuf> {
    let path = folder.join(format!("{name}_{}_{arch}.deb", version.replace(':', "%3a")));
    path.is_file().then_some(path)
}

fn modified(path: &Path) -> Option<DateTime<Utc>> {
    path.metadata().ok()?.modified().ok().map(DateTime::from)
}

/// Until when a `Release` file says that it counts; most say nothing.
fn valid_until(path: &Path) -> Option<DateTime<Utc>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    let text = String::from_utf8_lossy(&head);
    let value = text.lines().find_map(|line| line.strip_prefix("Valid-Until:"))?.trim();
    let in_numbers =
        value.strip_suffix("UTC").map_or_else(|| value.to_owned(), |rest| format!("{rest}+0000"));
    DateTime::parse_from_rfc2822(&in_numbers).ok().map(|at| at.with_timezone(&Utc))
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
    fn a_failed_refresh_of_others_is_not_taken_for_one_that_worked() {
        let dir = tempfile::tempdir().unwrap();
        let parse = |more: &str| {
            let answer = format!("{}{more}", ANSWER.replace("/r/", &format!("{}/", dir.path().display())));
            Places::parse(&answer).unwrap()
        };
        let places = parse("");
        for folder in ["var/lib/apt/lists/partial", "var/lib/apt/periodic", "etc/apt/sources.list.d"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let now = DateTime::<Utc>::from(std::time::SystemTime::now());
        let ago = |path: &str, days: i64| {
            let time = std::time::SystemTime::from(now - chrono::TimeDelta::days(days));
            File::open(dir.path().join(path)).unwrap().set_modified(time).unwrap();
        };
        let release = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Lab\n\
                       Valid-Until: Sat, 31 Jan 2026 12:00:00 UTC\nSHA256:\n";
        std::fs::write(places.lists.join("lab_dists_stable_InRelease"), release).unwrap();
        std::fs::write(dir.path().join("var/lib/apt/periodic/update-success-stamp"), "").unwrap();
        ago("var/lib/apt/lists/partial", 0);
        ago("var/lib/apt/lists", 5);
        ago("var/lib/apt/periodic/update-success-stamp", 3);
        let days = |at: Option<DateTime<Utc>>| (now - at.unwrap()).num_days();

        assert_eq!((days(places.refreshed_at()), days(places.worked_at())), (3, 3));
        std::fs::remove_file(dir.path().join("var/lib/apt/periodic/update-success-stamp")).unwrap();
        assert_eq!(
            (days(places.refreshed_at()), days(places.worked_at())),
            (0, 5),
            "nobody says which it was"
        );

        let until = "2026-01-31T12:00:00Z".parse().unwrap();
        let second = chrono::TimeDelta::seconds(1);
        assert_eq!(places.expired(until), None);
        assert_eq!(places.expired(until + second), Some(("lab/dists/stable".into(), until)));
        assert_eq!(parse("TIMES='false'\n").expired(until + second), None);
        let source = "deb [check-valid-until=no] http://lab stable main\n";
        std::fs::write(dir.path().join("etc/apt/sources.list.d/old.list"), source).unwrap();
        assert_eq!(places.expired(until + second), None);
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
