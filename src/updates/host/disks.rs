//! File systems that hold data.

use std::collections::BTreeSet;
use std::path::Path;

use crate::domain::host::Disk;

/// File systems of disks. Those of the network are left out: one that hangs would hang whoever asks it.
const OF_DISKS: [&str; 12] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "ntfs3", "vfat"];

/// One line of the table of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    at: String,
    filesystem: String,
}

fn mounts(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, at, filesystem) = (words.next()?, words.next()?, words.next()?);
        Some(Mount { device: plain(device), at: plain(at), filesystem: filesystem.to_owned() })
    })
}

/// Blanks and the like are written as `\040`.
fn plain(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits =
            behind.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = &behind[3..];
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// True if something is mounted exactly there.
pub(super) fn is_mount(text: &str, path: &str) -> bool {
    mounts(text).any(|mount| mount.at == path)
}

/// Those that hold data, each once: a disk that is mounted in two places is one. In a container the root alone.
fn of_interest(text: &str) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    let is_one = |mount: &Mount| {
        let is_disk = OF_DISKS.contains(&mount.filesystem.as_str());
        let is_root = mount.at == "/" && mount.filesystem == "overlay";
        is_disk && !mount.at.starts_with("/etc/") || is_root
    };
    mounts(text).filter(is_one).filter(|mount| seen.insert(mount.device.clone())).collect()
}

/// Reads how full they are.
pub(super) fn read(root: &Path, text: &str) -> Vec<Disk> {
    let full = |mount: Mount| {
        let stat = rustix::fs::statvfs(root.join(mount.at.trim_start_matches('/'))).ok()?;
        let (total, free) = (stat.f_blocks * stat.f_frsize, stat.f_bfree * stat.f_frsize);
        (total > 0).then(|| Disk {
            mount: mount.at,
            filesystem: mount.filesystem,
            total_bytes: total,
            used_bytes: total.saturating_sub(free),
        })
    };
    of_interest(text).into_iter().filter_map(full).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
/dev/sda1 /var/lib/docker ext4 rw 0 0
/dev/sdb1 /mnt/my\\040disk xfs rw 0 0
server:/x /mnt/nfs nfs4 rw 0 0
tmpfs /run tmpfs rw 0 0
half
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
/dev/sdc1 /etc/hosts ext4 rw 0 0
";

    #[test]
    fn each_disk_is_one_and_what_is_no_disk_is_left_out() {
        let found: Vec<_> = of_interest(TABLE).into_iter().map(|mount| mount.at).collect();
        assert_eq!(found, ["/", "/mnt/my disk"]);
        let found = of_interest("overlay / overlay rw 0 0\n/dev/sda1 /etc/hostname ext4 rw 0 0\n");
        assert_eq!(found.len(), 1, "in a container");
        assert!(is_mount(TABLE, "/mnt/my disk") && !is_mount(TABLE, "/mnt"));
    }

    #[test]
    fn what_is_written_in_octal_is_read() {
        for (text, read) in
            [("a\\040b", "a b"), ("a\\134", "a\\"), ("a\\04", "a\\04"), ("\\999", "\\999"), ("ü", "ü")]
        {
            assert_eq!(plain(text), read, "{text}");
        }
    }

    #[test]
    fn a_disk_says_how_full_it_is() {
        let disks = read(Path::new("/"), "/dev/x / ext4 rw 0 0\n/dev/y /no/such/place ext4 rw 0 0\n");
        assert_eq!(disks.len(), 1);
        assert!(disks[0].total_bytes > disks[0].used_bytes && disks[0].used_bytes > 0, "{disks:?}");
    }
}
