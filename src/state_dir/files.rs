//! Atomic replacement, bounded reading and setting aside of small files. Blocks; see the module above.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::StateError;

/// Largest file that is read: all of ours are far smaller.
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;
/// Larger than nearly every file of ours.
const PROBE_BYTES: usize = 16 * 1024;

/// Makes `dir` and its parents, for this user only, if it is not there.
pub(super) fn make_dir(dir: &Path) -> Result<(), StateError> {
    make_lasting_dir(dir, 0o700).map_err(|e| StateError::from_io(dir, "created", e))
}

/// Makes `dir` and its parents with this mode, if it is not there, and has the disk hold that: a file that is on the disk is
/// lost all the same with a folder that is not. Blocks.
pub fn make_lasting_dir(dir: &Path, mode: u32) -> std::io::Result<()> {
    let is_missing = |one: &&Path| !one.as_os_str().is_empty() && !one.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match sync_dir(parent) {
            // Whoever may make a folder there need not be allowed to read what else is there.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Fails if no file of ours could be written in `dir` now.
pub(super) fn check_writable(dir: &Path) -> Result<(), StateError> {
    let probe = dir.join(".write-check");
    let written = write_new(&probe, &[0; PROBE_BYTES], None);
    // Left over if that failed; it holds nothing.
    let _ = fs::remove_file(&probe);
    written.map_err(|e| StateError::from_io(dir, "written to", e))
}

/// Puts a file with `bytes` in the place of `path`: after a crash there is the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    replace_for(path, bytes, None)
}

/// The same with a file that belongs to this user and group.
pub(super) fn replace_for(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> Result<(), StateError> {
    let parent = path.parent().expect("every file of ours is in the state directory");
    let name = path.file_name().expect("every file of ours has a name").to_string_lossy();
    let temp = parent.join(format!(".{name}.new"));
    let written =
        write_new(&temp, bytes, owner).and_then(|()| fs::rename(&temp, path)).and_then(|()| sync_dir(parent));
    written.map_err(|e| {
        // Half a file is worth nothing, and on a full disk it takes the space it lacks.
        let _ = fs::remove_file(&temp);
        StateError::from_io(path, "written", e)
    })
}

/// Writes a file that is not there before: what a crash left is removed, and so is a symbolic link, but not what it
/// leads to.
fn write_new(temp: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> std::io::Result<()> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(temp)?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StateError::from_io(path, "removed", e)),
        _ => Ok(()),
    }
}

/// Reads a JSON object; the reason why it is none quotes nothing of it.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    // A list would do for the fields in their order, and an empty one for none of them.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not the JSON object that this agent writes".into());
    }
    serde_json::from_slice(bytes).map_err(|e| {
        format!("it is not the JSON that this agent writes (line {} column {})", e.line(), e.column())
    })
}

/// Reads a file and checks it with `parse`; `None` if it is not there.
///
/// What `parse` refuses is set aside and reported as [`StateError::Corrupt`].
pub(super) fn read_checked<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, StateError> {
    read_checked_up_to(path, SIZE_LIMIT, parse)
}

/// The same for a file that may have so many bytes.
pub(super) fn read_checked_up_to<T>(
    path: &Path,
    size_limit: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, StateError> {
    let Some(parsed) = read_parsed(path, size_limit, parse)? else { return Ok(None) };
    parsed.map(Some).or_else(|reason| {
        let kept_as = set_aside(path)?;
        let error = StateError::Corrupt { path: path.to_owned(), kept_as, reason };
        // Named here, because whoever asks next finds no file and would say nothing.
        tracing::error!(error = %error, "a file of the agent was set aside");
        Err(error)
    })
}

/// The same for a file whose content is told again anyway: what `parse` refuses is removed, and reported as
/// [`StateError::Dropped`]. Nothing that another program says makes copies of it pile up.
pub(super) fn read_or_drop<T>(
    path: &Path,
    size_limit: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, StateError> {
    let Some(parsed) = read_parsed(path, size_limit, parse)? else { return Ok(None) };
    parsed.map(Some).or_else(|reason| {
        remove(path)?;
        Err(StateError::Dropped { path: path.to_owned(), reason })
    })
}

/// Reads a file for whoever only looks: one that is damaged stays where it is. `None` if it is not there.
pub(super) fn peek<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let failed = |reason: String| format!("`{}` cannot be read: {reason}", path.display());
    match read_parsed(path, SIZE_LIMIT, parse) {
        Ok(None) => Ok(None),
        Ok(Some(parsed)) => parsed.map(Some).map_err(failed),
        Err(error) => Err(failed(error.cause().unwrap_or_else(|| error.to_string()))),
    }
}

/// Reads a file; `None` if it is not there, and the reason if it is not what it should be.
fn read_parsed<T>(
    path: &Path,
    size_limit: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<Result<T, String>>, StateError> {
    let bytes = match read(path, size_limit) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StateError::from_io(path, "read", e)),
    };
    let too_large = bytes.len() as u64 > size_limit;
    Ok(Some(if too_large { Err("it is larger than any file of ours".to_owned()) } else { parse(&bytes) }))
}

fn read(path: &Path, size_limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(size_limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Renames a file to the first free `<name>.corrupt-<n>`, so that no earlier one is lost either.
fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let name = path.file_name().expect("every file of ours has a name").to_string_lossy();
    let free = (1..10_000).map(|n| path.with_file_name(format!("{name}.corrupt-{n}"))).find(|p| !p.exists());
    let kept_as = free.ok_or_else(|| {
        StateError::from_io(
            path,
            "set aside: there are 9,999 corrupt copies already",
            ErrorKind::AlreadyExists.into(),
        )
    })?;
    fs::rename(path, &kept_as).map_err(|e| StateError::from_io(path, "set aside", e))?;
    Ok(kept_as)
}

/// Returns the numbered files of `dir` (`<number>-<anything>.json`), in order. Other files are left alone.
pub(super) fn numbered(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StateError> {
    let failed = |e| StateError::from_io(dir, "listed", e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let number =
            name.strip_suffix(".json").and_then(|stem| stem.split('-').next()).and_then(|n| n.parse().ok());
        found.extend(number.map(|n| (n, path)));
    }
    found.sort();
    Ok(found)
}
