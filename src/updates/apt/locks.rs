//! Who holds the locks that an installation needs. Only looks; takes none.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::domain::text::spell_out;

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Returns who holds one of these files, if anybody does. A file that is not there is held by nobody.
pub(super) fn holder(files: &[PathBuf]) -> Option<Holder> {
    let inodes: Vec<(u64, u64)> = files
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|about| (about.dev(), about.ino()))
        .collect();
    let pid = holding(&fs::read_to_string("/proc/locks").ok()?, &inodes)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: spell_out(name.trim()) })
}

/// Reads `/proc/locks` (`proc(5)`): `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`. Who only waits has an arrow.
fn holding(text: &str, inodes: &[(u64, u64)]) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? == "->" {
            return None;
        }
        let (_, mode, pid, place) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let mut parts = place.split(':');
        let (major, minor, inode) = (parts.next()?, parts.next()?, parts.next()?);
        let (major, minor) = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let place = (rustix::fs::makedev(major, minor), inode.parse().ok()?);
        (mode == "WRITE" && inodes.contains(&place)).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_found_and_who_waits_for_it_is_not() {
        let text = "1: POSIX  ADVISORY  READ 10 fe:00:77 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 11 fe:00:78 0 EOF\n\
                    2: -> POSIX  ADVISORY  WRITE 12 fe:00:78 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 13 fe:01:79 0 EOF\n\
                    4: nonsense\n";
        let at = |major, inode| [(rustix::fs::makedev(major, 0), inode)];
        assert_eq!(holding(text, &at(0xfe, 78)), Some(11));
        assert_eq!(holding(text, &at(0xfe, 77)), None, "who reads is in nobody's way");
        assert_eq!(holding(text, &at(0xfd, 78)), None);
        assert_eq!(holding("", &at(0xfe, 78)), None);
    }
}
