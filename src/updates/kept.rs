//! Packages that were kept, so that what was there before can be had again when no repository has it any more.
//!
//! A file says in its name what it is and which content it has. It is a hard link where that is possible, so that it costs
//! nothing while the package manager has it too.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::domain::update::PlannedChange;
use crate::state_dir::make_lasting_dir;

/// Where packages of one kind are kept. Everything here blocks.
#[derive(Debug, Clone)]
pub struct Kept {
    root: PathBuf,
    ending: &'static str,
}

/// A package that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of its content, as its name says.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// When it was kept.
    pub at: SystemTime,
}

impl Kept {
    /// Those in a folder, which is made with the first one; their names end with `ending`.
    pub fn of(root: PathBuf, ending: &'static str) -> Self {
        Self { root, ending }
    }

    /// Returns the file of this version, if it was kept.
    pub fn find(&self, change: &PlannedChange, version: &str) -> Option<KeptFile> {
        let beginning = beginning(&change.name, version, &change.arch);
        self.all().into_iter().find(|file| {
            let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.strip_prefix(&beginning)
                .is_some_and(|rest| rest == format!("{}{}", file.digest, self.ending))
        })
    }

    /// Keeps a file of this version, on the disk when it returns. Returns the digest of its content.
    pub fn keep(&self, change: &PlannedChange, version: &str, file: &Path) -> std::io::Result<String> {
        make_lasting_dir(&self.root, 0o755)?;
        let digest = digest_of(file)?;
        let name = format!("{}{digest}{}", beginning(&change.name, version, &change.arch), self.ending);
        let place = self.root.join(name);
        if !place.exists() || digest_of(&place)? != digest {
            let half = self.root.join(format!(".{digest}.new"));
            let _ = fs::remove_file(&half);
            // What is linked shares its content with a file of the package manager, which never writes into one.
            if fs::hard_link(file, &half).is_err() {
                fs::copy(file, &half)?;
            }
            File::open(&half)?.sync_all()?;
            fs::rename(&half, &place)?;
        }
        // Whoever kept one that is there already may have been killed before this.
        File::open(&self.root)?.sync_all()?;
        Ok(digest)
    }

    /// Returns all, the oldest first.
    pub fn all(&self) -> Vec<KeptFile> {
        let Ok(folder) = fs::read_dir(&self.root) else { return Vec::new() };
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let digest = name.strip_suffix(self.ending)?.rsplit_once('_')?.1.to_owned();
            let about = entry.metadata().ok()?;
            (digest.len() == 64).then_some(KeptFile {
                path: entry.path(),
                digest,
                size: about.len(),
                at: about.modified().ok()?,
            })
        };
        let mut all: Vec<KeptFile> = folder.flatten().filter_map(read).collect();
        all.sort_by(|one, other| (one.at, &one.path).cmp(&(other.at, &other.path)));
        all
    }

    /// Removes the oldest until the rest has at most so many bytes; those with the digests in `needed` stay. What was only
    /// half kept before `orphaned` goes too.
    pub fn bound(
        &self,
        most_bytes: u64,
        needed: &BTreeSet<String>,
        orphaned: SystemTime,
    ) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let is_half = entry.file_name().to_str().is_some_and(|name| name.starts_with('.'));
            if is_half && entry.metadata()?.modified()? < orphaned {
                fs::remove_file(entry.path())?;
            }
        }
        let all = self.all();
        let mut held: u64 = all.iter().map(|file| file.size).sum();
        for file in all.iter().filter(|file| !needed.contains(&file.digest)) {
            if held <= most_bytes {
                return Ok(());
            }
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => held = held.saturating_sub(file.size),
            }
        }
        Ok(())
    }
}

fn beginning(name: &str, version: &str, arch: &str) -> String {
    // Neither a colon nor a slash is in a file's name; an underscore is in no name, version or architecture of a package.
    let plain =
        |text: &str| text.replace('%', "%25").replace(':', "%3a").replace('/', "%2f").replace('_', "%5f");
    format!("{}_{}_{}_", plain(name), plain(version), plain(arch))
}

/// Returns the SHA-256 of a file's content.
pub fn digest_of(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Kind, Operation};

    fn change(name: &str) -> PlannedChange {
        let (arch, operation) = ("all".into(), Operation::Upgrade);
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch,
            operation,
            from: None,
            to: None,
            digest: None,
        }
    }

    #[test]
    fn a_version_is_found_by_all_that_it_is_and_by_nothing_less() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::of(dir.path().join("kept"), ".deb");
        let file = dir.path().join("x");
        fs::write(&file, "content").unwrap();
        assert_eq!(kept.find(&change("a"), "1:1.0"), None);

        let digest = kept.keep(&change("a"), "1:1.0", &file).unwrap();
        assert_eq!(kept.keep(&change("a"), "1:1.0", &file).unwrap(), digest, "twice is fine");

        let found = kept.find(&change("a"), "1:1.0").unwrap();
        assert_eq!(
            (found.digest.as_str(), fs::read(&found.path).unwrap()),
            (digest.as_str(), b"content".to_vec())
        );
        for (name, version) in
            [("a", "1.0"), ("a", "1:1"), ("b", "1:1.0"), ("a_1:1.0", ""), ("../a", "1:1.0")]
        {
            assert_eq!(kept.find(&change(name), version), None, "{name} {version}");
        }
    }

    #[test]
    fn the_oldest_goes_first_and_never_what_an_undo_needs() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::of(dir.path().join("kept"), ".deb");
        let file = dir.path().join("x");
        let mut digests = Vec::new();
        for (age, name) in [(3, "a"), (2, "b"), (1, "c")] {
            fs::remove_file(&file).unwrap_or_default();
            fs::write(&file, name.repeat(100)).unwrap();
            digests.push(kept.keep(&change(name), "1", &file).unwrap());
            let at = SystemTime::now() - std::time::Duration::from_secs(age * 1_000);
            File::options().append(true).open(&file).unwrap().set_modified(at).unwrap();
        }
        let day = std::time::Duration::from_secs(24 * 3_600);
        let halves = [(".half.new", SystemTime::now() - 2 * day), (".now.new", SystemTime::now())];
        for (name, at) in halves {
            File::create(dir.path().join("kept").join(name)).unwrap().set_modified(at).unwrap();
        }
        let needed = BTreeSet::from([digests[0].clone()]);
        kept.bound(250, &needed, SystemTime::now() - day).unwrap();
        let left: Vec<String> = kept.all().into_iter().map(|file| file.digest).collect();
        assert_eq!(left, [digests[0].clone(), digests[2].clone()]);
        let is_there = |name: &str| dir.path().join("kept").join(name).exists();
        assert!(is_there(".now.new") && !is_there(".half.new"), "only what nobody is at any more goes");
    }
}
