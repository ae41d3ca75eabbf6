//! Where Winget is if no search path leads to it.

use std::path::{Path, PathBuf};

const FAMILY: &str = "Microsoft.DesktopAppInstaller_";
const PUBLISHER: &str = "__8wekyb3d8bbwe";

/// Looks where Windows keeps packages.
pub(super) fn newest_of_this_host() -> Option<String> {
    let folder = PathBuf::from(std::env::var_os("ProgramFiles")?).join("WindowsApps");
    newest_in(&folder)
}

fn newest_in(folder: &Path) -> Option<String> {
    let names =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_there = |name: &String| folder.join(name).join("winget.exe").is_file();
    let found =
        names.filter_map(|name| Some((version(&name)?, name))).filter(|(_, name)| is_there(name)).max();
    Some(folder.join(found?.1).join("winget.exe").display().to_string())
}

/// Returns the version of a folder such as `Microsoft.DesktopAppInstaller_1.22.3_x64__8wekyb3d8bbwe`.
fn version(folder: &str) -> Option<Vec<u64>> {
    let rest = folder.strip_prefix(FAMILY)?.strip_suffix(PUBLISHER)?;
    let (numbers, architecture) = rest.split_once('_')?;
    let is_program = matches!(architecture, "x64" | "arm64" | "x86");
    numbers.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>().filter(|_| is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_one_that_is_there_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for (name, has_program) in [
            ("Microsoft.DesktopAppInstaller_1.9.25_x64__8wekyb3d8bbwe", true),
            ("Microsoft.DesktopAppInstaller_1.22.3_x64__8wekyb3d8bbwe", true),
            ("Microsoft.DesktopAppInstaller_1.30.0_x64__8wekyb3d8bbwe", false),
            ("Microsoft.DesktopAppInstaller_9.0.0_neutral_~_8wekyb3d8bbwe", true),
            ("Evil.DesktopAppInstaller_99.0.0_x64__8wekyb3d8bbwe", true),
        ] {
            let place = folder.path().join(name);
            std::fs::create_dir(&place).unwrap();
            if has_program {
                std::fs::write(place.join("winget.exe"), "").unwrap();
            }
        }
        assert!(newest_in(folder.path()).unwrap().contains("_1.22.3_x64_"));
        assert_eq!(newest_in(&folder.path().join("none")), None);
    }
}
