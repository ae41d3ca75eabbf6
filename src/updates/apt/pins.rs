//! APT's preferences about single packages: whether there are any, and which file has the one that counts.

use std::path::{Path, PathBuf};

use regex::Regex;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The files of the preferences in `etc`, in the order in which APT reads them.
fn files(etc: &Path) -> Vec<PathBuf> {
    let is_read = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let end = path.extension().and_then(|end| end.to_str());
        !name.starts_with('.') && end.is_none_or(|end| end == "pref")
    };
    let parts = std::fs::read_dir(etc.join("preferences.d")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|file| file.path()).filter(is_read).collect();
    files.push(etc.join("preferences"));
    files.sort();
    files
}

/// The patterns of packages in a file; a line that goes on on the next one is put together.
fn patterns(file: &Path) -> Vec<String> {
    let found = file.metadata().ok().filter(|found| found.is_file() && found.len() <= MAX_FILE);
    let text = found.and_then(|_| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let mut patterns = Vec::new();
    let mut is_in_it = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = match line.split_once(':') {
            Some((field, value)) if !line.starts_with([' ', '\t']) => {
                is_in_it = field.trim().eq_ignore_ascii_case("package");
                value
            }
            _ => line,
        };
        if is_in_it {
            patterns.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    patterns
}

/// True if any preference is about single packages.
pub(super) fn has_any(etc: &Path) -> bool {
    files(etc).iter().any(|file| patterns(file).iter().any(|pattern| pattern != "*"))
}

/// Returns the file whose preference is about this package, or about its source package.
pub(super) fn file_of(etc: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let is_it = |pattern: &String| match pattern.strip_prefix("src:") {
        Some(pattern) => fits(pattern, source),
        None => {
            pattern != "*" && (fits(pattern, name) || fits(pattern, name.split(':').next().unwrap_or(name)))
        }
    };
    files(etc).into_iter().find(|file| patterns(file).iter().any(is_it))
}

/// A name, a pattern of a shell, or `/an expression/`.
fn fits(pattern: &str, name: &str) -> bool {
    let expression = match pattern.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(expression) => expression.to_owned(),
        None if !pattern.contains(['*', '?', '[']) => return pattern == name,
        None => format!("^{}$", regex::escape(pattern).replace("\\*", ".*").replace("\\?", ".")),
    };
    Regex::new(&expression).is_ok_and(|expression| expression.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_by_every_way_to_name_a_package() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::create_dir(etc.path().join("preferences.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(etc.path().join(name), text).unwrap();
        write("preferences", "Package: *\nPin: release a=sid\nPin-Priority: 100\n");
        assert!(!has_any(etc.path()), "whole sources are another matter");
        write(
            "preferences.d/10-many.pref",
            "# t-none\nPackage: t-a t-b*\n t-c\nPin: version 1\nPin-Priority: 1001\n",
        );
        write(
            "preferences.d/20-source",
            "Explanation: of t-x\npackage: src:t-source /^t-d.$/\nPin: version 1\nPin-Priority: -1\n",
        );
        write("preferences.d/30.bak", "Package: t-none\n");
        assert!(has_any(etc.path()));
        for (name, expected) in [
            ("t-a", Some("10-many.pref")),
            ("t-a:i386", Some("10-many.pref")),
            ("t-bcd", Some("10-many.pref")),
            ("t-c", Some("10-many.pref")),
            ("t-d1", Some("20-source")),
            ("t-none", None),
            ("t-x", None),
        ] {
            let found = file_of(etc.path(), name, "t-other");
            assert_eq!(found.as_deref().and_then(|path| path.file_name()?.to_str()), expected, "{name}");
        }
        assert!(file_of(etc.path(), "lib", "t-source").unwrap().ends_with("20-source"));
        assert_eq!(file_of(&etc.path().join("none"), "t-a", "t-a"), None);
    }
}
