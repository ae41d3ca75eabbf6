//! The host: its state directory, descriptors and memory.

use std::path::Path;

use super::Check;

const MIB: u64 = 1 << 20;
/// Less than this is soon full.
const LEAST_DISK: u64 = 256 * MIB;
/// Every agent, every browser and every call has one.
const LEAST_FILES: u64 = 1_024;

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDir {
    /// It is there.
    There {
        /// True if it belongs to the user who looks.
        is_own: bool,
        /// Bytes and files that are free; in words why nobody knows.
        free: Result<(u64, u64), String>,
        /// Whether a file could be written and brought to the disk, and how many milliseconds that took.
        written: Result<u64, String>,
    },
    /// It is made at the first start.
    Missing,
    /// Nobody could look, for this reason.
    Unreadable(String),
}

/// Judges the state directory at `path`.
pub fn judge_state_dir(path: &Path, seen: &StateDir) -> Vec<Check> {
    let (name, shown) = ("State directory", path.display());
    let (is_own, free, written) = match seen {
        StateDir::There { is_own, free, written } => (*is_own, free, written),
        StateDir::Missing => {
            return vec![Check::not_checked(
                name,
                format!("`{shown}` is not there yet; it is made at the first start"),
                "start the role once, or set LIGHTSHIP_STATE_DIR to the folder that it has",
            )];
        }
        StateDir::Unreadable(reason) => {
            return vec![Check::problem(name, format!("`{shown}`: {reason}"), AS_ITS_USER)];
        }
    };
    let mut checks = vec![match written {
        Ok(millis) => {
            Check::fine(name, format!("`{shown}` can be written; {millis} ms until it was on the disk"))
        }
        Err(reason) => Check::problem(name, format!("`{shown}` cannot be written: {reason}"), AS_ITS_USER),
    }];
    if !is_own {
        checks.push(Check::not_checked(
            "User",
            format!("`{shown}` belongs to another user than the one who looks"),
            "run this as the user of the master or agent, as in `sudo -u lightship lightship doctor`",
        ));
    }
    checks.push(judge_space(free));
    checks
}

const AS_ITS_USER: &str =
    "run this as the user of the master or agent; if that is so, let that user write there";

fn judge_space(free: &Result<(u64, u64), String>) -> Check {
    let name = "Space in the state directory";
    let way_out = "make room on its file system; what cannot be written down is not carried out";
    match free {
        Err(reason) => Check::not_checked(name, reason.clone(), "look at it with `df`"),
        Ok((_, 0)) => {
            Check::problem(name, "no file can be made any more: its file system has no inodes left", way_out)
        }
        Ok((bytes, _)) if *bytes < LEAST_DISK => {
            Check::problem(name, format!("{} MiB are free", bytes / MIB), way_out)
        }
        Ok((bytes, _)) => Check::fine(name, format!("{} MiB are free", bytes / MIB)),
    }
}

/// Judges how many files a process may have open.
pub fn judge_files(limit: Option<u64>) -> Check {
    let name = "Open files";
    match limit {
        None => Check::fine(name, "no limit"),
        Some(limit) if limit < LEAST_FILES => Check::problem(
            name,
            format!("a process may have {limit}"),
            format!(
                "raise the limit to {LEAST_FILES} or more, with `LimitNOFILE=` in a unit or `ulimits` in a compose file"
            ),
        ),
        Some(limit) => Check::fine(name, format!("a process may have {limit}")),
    }
}

/// Judges the memory that is left, of `least` bytes that the role needs.
pub fn judge_memory(left: Result<u64, String>, least: u64) -> Check {
    let name = "Memory";
    match left {
        Err(reason) => Check::not_checked(name, reason, "look at it with `free`"),
        Ok(left) if left < least => Check::problem(
            name,
            format!("{} MiB are left", left / MIB),
            format!("leave {} MiB for it, or raise the limit of its container", least / MIB),
        ),
        Ok(left) => Check::fine(name, format!("{} MiB are left", left / MIB)),
    }
}

/// Reads the memory that is available, from `/proc/meminfo`.
pub fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// Returns what a limited container has left, from `memory.max` and `memory.current` of its control group; none without a limit.
pub fn left_of_limit(max: &str, current: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    Some(max.saturating_sub(current.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fine, NotChecked, Problem};
    use super::*;

    #[test]
    fn a_state_directory_is_judged_by_what_can_be_written_in_it() {
        let there = |is_own, free: Result<(u64, u64), String>, written: Result<u64, String>| {
            StateDir::There { is_own, free, written }
        };
        let no = || "no".to_owned();
        for (seen, expected) in [
            (there(true, Ok((LEAST_DISK, 1)), Ok(3)), vec![Fine, Fine]),
            (there(true, Ok((LEAST_DISK - 1, 1)), Ok(3)), vec![Fine, Problem]),
            (there(true, Ok((LEAST_DISK, 0)), Err(no())), vec![Problem, Problem]),
            (there(false, Err(no()), Ok(3)), vec![Fine, NotChecked, NotChecked]),
            (StateDir::Missing, vec![NotChecked]),
            (StateDir::Unreadable(no()), vec![Problem]),
        ] {
            let found: Vec<_> =
                judge_state_dir(Path::new("/x"), &seen).iter().map(|check| check.verdict).collect();
            assert_eq!(found, expected, "{seen:?}");
        }
    }

    #[test]
    fn limits_are_judged_and_read() {
        for (limit, verdict) in [(None, Fine), (Some(1_023), Problem), (Some(1_024), Fine)] {
            assert_eq!(judge_files(limit).verdict, verdict);
        }
        for (left, verdict) in [(Ok(64 * MIB), Fine), (Ok(MIB), Problem), (Err("no".to_owned()), NotChecked)]
        {
            assert_eq!(judge_memory(left, 64 * MIB).verdict, verdict);
        }
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 * MIB));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        for (max, current, left) in
            [("100\n", "40\n", Some(60)), ("100", "140", Some(0)), ("max\n", "40\n", None)]
        {
            assert_eq!(left_of_limit(max, current), left);
        }
    }
}
