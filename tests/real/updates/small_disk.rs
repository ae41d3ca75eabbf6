//! A small disk that can be filled, in the place of a folder.

use super::shell;

/// See the module. Taken away again when it is dropped.
pub struct SmallDisk(String);

impl SmallDisk {
    /// In the place of this folder, with what was in it.
    pub fn at(path: &str, size: &str) -> Self {
        let mount = "mkdir -p \"$1\"; cp -a \"$1\" \"$1\".was; mount -t tmpfs -o size=$2,mode=755 tmpfs \"$1\"; cp -a \"$1\".was/. \"$1\"";
        shell(mount, &[path, size]);
        Self(path.to_owned())
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        shell("dd if=/dev/zero of=\"$1\"/full bs=4k status=none 2>/dev/null || true", &[&self.0]);
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(format!("{}/full", self.0)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        shell("umount -l \"$1\"", &[&self.0]);
    }
}
