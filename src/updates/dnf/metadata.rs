//! How old the metadata is that DNF keeps, by its files: dnf5 does not say it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::process::geteuid;

/// Largest file of settings that is read.
const MAX_FILE: u64 = 1 << 20;

/// Returns where dnf5 keeps the metadata of a user who is not root.
pub(super) fn own_cache() -> Option<PathBuf> {
    if geteuid().is_root() {
        return None;
    }
    let set = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("libdnf5"))
}

/// Returns when the repository whose metadata was not looked at for longest was looked at last, of those that are in use.
/// `folders` are caches, with a folder for each repository in them, and folders of settings.
pub(super) fn refreshed_at(folders: &[PathBuf]) -> Option<DateTime<Utc>> {
    let in_use: BTreeSet<String> = folders.iter().flat_map(|folder| repositories(folder)).collect();
    let kept: Vec<(String, DateTime<Utc>)> = folders.iter().flat_map(|folder| kept_in(folder)).collect();
    let is_used = |id: &str| in_use.contains(id);
    let oldest = kept.iter().filter(|(id, _)| is_used(id)).map(|(_, at)| *at).min();
    oldest.or_else(|| kept.iter().map(|(_, at)| *at).max())
}

/// What a cache holds: the repositories' ids, and when each was looked at. What did not change is only touched.
fn kept_in(cache: &Path) -> Vec<(String, DateTime<Utc>)> {
    let read = |folder: PathBuf| {
        let (id, _) = folder.file_name()?.to_str()?.rsplit_once('-')?;
        let files = std::fs::read_dir(folder.join("repodata")).ok()?.flatten();
        let newest = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()?;
        Some((id.to_owned(), DateTime::from(newest)))
    };
    let folders = std::fs::read_dir(cache).into_iter().flatten().flatten();
    folders.filter_map(|folder| read(folder.path())).collect()
}

/// The repositories that the settings in a folder name and do not switch off.
fn repositories(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let is_read = |file: &PathBuf| {
        file.extension().is_some_and(|end| end == "repo")
            && file.metadata().is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE)
    };
    let mut found: Vec<String> = Vec::new();
    for text in files.filter(is_read).filter_map(|file| std::fs::read_to_string(file).ok()) {
        let mut is_first = true;
        for line in text.lines().map(str::trim) {
            if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                found.push(id.to_owned());
                is_first = false;
            } else if let Some((name, value)) = line.split_once('=')
                && name.trim() == "enabled"
                && matches!(value.trim().to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off")
                && !is_first
            {
                found.pop();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_oldest_that_is_in_use_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, settings) = (dir.path().join("cache"), dir.path().join("yum.repos.d"));
        let folders = vec![cache.clone(), settings.clone(), dir.path().join("none")];
        let now = DateTime::<Utc>::from(SystemTime::now());
        let keep = |id: &str, days: u64| {
            let folder = cache.join(format!("{id}-0123456789abcdef/repodata"));
            std::fs::create_dir_all(&folder).unwrap();
            let file = File::create(folder.join("repomd.xml")).unwrap();
            file.set_modified(SystemTime::from(now) - Duration::from_secs(days * 86_400)).unwrap();
        };
        let days = || refreshed_at(&folders).map(|at| (now - at).num_days());
        assert_eq!(days(), None);
        keep("updates", 1);
        keep("old-and-off", 30);
        keep("forgotten", 90);
        assert_eq!(days(), Some(1), "which are in use is not known");
        std::fs::create_dir(&settings).unwrap();
        let text = "[updates]\nenabled=1\n[old-and-off]\nname=x\nenabled = 0\n[slow-one]\nname=y\n";
        std::fs::write(settings.join("lab.repo"), text).unwrap();
        assert_eq!(days(), Some(1));
        keep("slow-one", 5);
        assert_eq!(days(), Some(5));
    }
}
