//! What the owner of a host allows, as it stands in a file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::HandsFault;
use crate::domain::update::Policy;

/// Largest policy that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Says whether the policy at `path` is there; fails if it is, and cannot be followed. Blocks.
pub fn check_policy(path: &Path) -> Result<bool, HandsFault> {
    let is_there = path.try_exists().unwrap_or(true);
    read(path).map(|_| is_there)
}

/// Reads what the owner of this host allows. What cannot be read, or could be written by others, allows nothing. Blocks.
pub(super) fn read(path: &Path) -> Result<Policy, HandsFault> {
    let fault = |reason: String| HandsFault::Policy { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Policy::default()),
        file => file.map_err(|error| fault(error.to_string()))?,
    };
    let about = file.metadata().map_err(|error| fault(error.to_string()))?;
    let is_of_root = about.uid() == 0 || about.uid() == rustix::process::geteuid().as_raw();
    if !is_of_root || about.mode() & 0o022 != 0 {
        let way_out = "others than root may write it; run `chown root: FILE` and `chmod 644 FILE` on it";
        return Err(fault(way_out.into()));
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    Policy::parse(&text).map_err(|error| fault(error.to_string()))
}
