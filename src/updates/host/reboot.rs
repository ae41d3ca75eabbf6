//! Whether a machine wants to be started anew, by three signs, and which services run on files that were replaced.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::files::read;
use crate::domain::host::Reboot;
use crate::domain::text::spell_out;
use crate::domain::update::Problem;
use crate::process::{Program, find};
use crate::updates::processes::{look_at_processes, replaced_code};

/// How long a program may think about it.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);
/// Most packages that are named.
const MAX_NAMED: usize = 8;

/// The first two signs, and the services.
pub(super) fn by_files(root: &Path) -> Reboot {
    let mut found = Reboot::default();
    if root.join("run/reboot-required").exists() {
        let packages = read(root, "run/reboot-required.pkgs").unwrap_or_default();
        found.reasons.push(asked_for_by(&packages));
    }
    let running = read(root, "proc/sys/kernel/osrelease").unwrap_or_default();
    let files = std::fs::read_dir(root.join("boot")).into_iter().flatten().flatten();
    let names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    if let Some(newer) = newer_kernel(running.trim(), names.iter().map(String::as_str)) {
        found.reasons.push(format!("kernel {newer} is installed, {} runs", running.trim()));
    }
    let looked = look_at_processes(&root.join("proc"), replaced_code);
    found.stale_services = looked.owners.into_keys().map(|owner| owner.name).collect();
    if looked.hidden > 0 {
        found.problem = Some(Problem {
            reason: format!(
                "{} of {} processes belong to others and could not be looked at",
                looked.hidden, looked.count
            ),
            way_out: Some("have it looked at by root: `sudo lightship status`".into()),
        });
    }
    found.wanted = !found.reasons.is_empty();
    found
}

/// The third sign: what programs made for it say.
pub(super) async fn ask_programs(found: &mut Reboot) {
    if find("needrestart").is_some() {
        let program = Program::new("needrestart").args(["-b", "-k", "-r", "l"]);
        if let Ok(ended) = program.time_limit(PROGRAM_LIMIT).run().await
            && let Some(reason) = kernel_by_needrestart(&ended.stdout)
            && found.reasons.iter().all(|reason| !reason.starts_with("kernel "))
        {
            found.reasons.push(reason);
        }
    } else if find("needs-restarting").is_some() {
        let program = Program::new("needs-restarting").arg("-r");
        if let Ok(ended) = program.time_limit(PROGRAM_LIMIT).run().await
            && ended.code == Some(1)
            && ended.stderr.is_empty()
        {
            found.reasons.push("core packages were replaced since the start (`needs-restarting -r`)".into());
        }
    } else if find("dnf5").is_some() {
        let program = Program::new("dnf5").args(["needs-restarting", "--json"]);
        if let Ok(ended) = program.time_limit(PROGRAM_LIMIT).run().await
            && let Some(reason) = wanted_by_dnf5(&ended.stdout)
        {
            found.reasons.push(reason);
        }
    }
    found.wanted = !found.reasons.is_empty();
}

fn asked_for_by(packages: &str) -> String {
    let names: BTreeSet<&str> = packages.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return "a package asked for it".into();
    }
    let listed: Vec<&str> = names.iter().copied().take(MAX_NAMED).collect();
    let more = names.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("asked for by {}{more}", listed.join(", "))
}

/// `NEEDRESTART-KSTA: 3` is a newer kernel, 2 one that is close to what runs.
fn kernel_by_needrestart(text: &str) -> Option<String> {
    let value = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let state = value("NEEDRESTART-KSTA:")?;
    let expected = value("NEEDRESTART-KEXP:").unwrap_or_else(|| "newer".into());
    matches!(state.as_str(), "2" | "3").then(|| format!("kernel {expected} is installed, an older one runs"))
}

/// Reads `dnf5 needs-restarting --json`: what it found out, a thing each.
fn wanted_by_dnf5(text: &str) -> Option<String> {
    let found: Vec<Value> = serde_json::from_str(text).ok()?;
    let is = |one: &Value, key: &str, value: Value| one.get(key) == Some(&value);
    let is_wanted =
        |one: &&Value| is(one, "type", "reboot".into()) && is(one, "reboot_required", true.into());
    let wanted = found.iter().find(is_wanted)?;
    let packages = wanted.get("packages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let name = |package: &Value| package.as_str().or_else(|| package.get("name")?.as_str()).map(spell_out);
    let names: Vec<String> = packages.iter().filter_map(name).collect();
    Some(format!("{} (`dnf5 needs-restarting`)", asked_for_by(&names.join("\n"))))
}

/// Returns the newest installed kernel of the running one's flavour, if that is newer. Where the running one is not
/// among them, somebody else chooses the kernel, and nothing is said.
fn newer_kernel<'a>(running: &str, boot: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let kernels: Vec<&str> = boot.filter_map(|name| name.strip_prefix("vmlinuz-")).collect();
    if running.is_empty() || !kernels.contains(&running) {
        return None;
    }
    let newest =
        kernels.into_iter().filter(|name| flavour(name) == flavour(running)).max_by(|a, b| compare(a, b))?;
    (compare(newest, running) == Ordering::Greater).then_some(newest)
}

/// What stands behind the last number: `-cloud-amd64`.
fn flavour(name: &str) -> &str {
    // A name such as `x86_64` or `amd64` ends in digits, and is no number of a version.
    let end = name.rfind(['-', '.']).map_or(name, |at| &name[at..]);
    let before = &name[..name.len() - end.len()];
    match before.rfind('-') {
        Some(at) if before[at + 1..].chars().all(|c| c.is_ascii_alphabetic()) && end.starts_with('-') => {
            &name[at..]
        }
        _ => end,
    }
}

/// By their parts; numbers count as numbers.
fn compare(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> impl Iterator<Item = Result<u64, &str>> {
        let parts = text.split(['.', '-', '_', '+', '~']);
        parts.map(|part| part.parse::<u64>().map_err(|_| part))
    }
    parts(a).cmp_by_parts(parts(b))
}

trait ByParts<'a>: Iterator<Item = Result<u64, &'a str>> + Sized {
    fn cmp_by_parts(mut self, mut other: impl Iterator<Item = Result<u64, &'a str>>) -> Ordering {
        loop {
            let order = match (self.next(), other.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(Ok(a)), Some(Ok(b))) => a.cmp(&b),
                (Some(Err(a)), Some(Err(b))) => a.cmp(b),
                (Some(Ok(_)), Some(Err(_))) => Ordering::Greater,
                (Some(Err(_)), Some(Ok(_))) => Ordering::Less,
            };
            if order != Ordering::Equal {
                return order;
            }
        }
    }
}

impl<'a, I: Iterator<Item = Result<u64, &'a str>>> ByParts<'a> for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_kernel_of_the_same_flavour_asks_for_a_restart() {
        for (running, boot, newer) in [
            ("6.1.0-18-amd64", &["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-18-amd64"][..], None),
            ("6.1.0-9-amd64", &["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-18-amd64"], Some("6.1.0-18-amd64")),
            ("6.1.0-9-amd64", &["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-18-cloud-amd64"], None),
            (
                "5.14.0-70.el9.x86_64",
                &["vmlinuz-5.14.0-70.el9.x86_64", "vmlinuz-5.14.0-362.el9.x86_64", "vmlinuz-0-rescue-0123"],
                Some("5.14.0-362.el9.x86_64"),
            ),
            (
                "5.15.0-97-generic",
                &["vmlinuz-5.15.0-97-generic", "vmlinuz-5.15.0-101-generic"],
                Some("5.15.0-101-generic"),
            ),
            // The machine's keeper chooses the kernel.
            ("6.8.12-pve", &["vmlinuz-6.1.0-18-amd64"], None),
            ("", &["vmlinuz-6.1.0-18-amd64"], None),
        ] {
            assert_eq!(newer_kernel(running, boot.iter().copied()), newer, "{running}");
        }
    }

    #[test]
    fn packages_that_ask_for_a_restart_are_named() {
        assert_eq!(asked_for_by("linux-image\nlibc6\nlibc6\n"), "asked for by libc6, linux-image");
        assert_eq!(asked_for_by(""), "a package asked for it");
        let many: String = (0..20).map(|n| format!("p{n:02}\n")).collect();
        assert!(asked_for_by(&many).ends_with("p07 and 12 more"));
    }

    #[test]
    fn needrestart_says_whether_a_newer_kernel_waits() {
        let text =
            "NEEDRESTART-VER: 3.6\nNEEDRESTART-KCUR: 6.1.0-9\nNEEDRESTART-KEXP: 6.1.0-18\nNEEDRESTART-KSTA: ";
        let said = |state: &str| kernel_by_needrestart(&format!("{text}{state}\n"));
        assert_eq!(said("3").as_deref(), Some("kernel 6.1.0-18 is installed, an older one runs"));
        assert_eq!((said("1"), said("0"), kernel_by_needrestart("")), (None, None, None));
    }

    #[test]
    fn dnf5_says_which_packages_ask_for_a_restart() {
        for (said, expected) in [
            (
                r#"[{"type":"reboot","reboot_required":true,"packages":["systemd","glibc"]}]"#,
                Some("asked for by glibc, systemd (`dnf5 needs-restarting`)"),
            ),
            (
                r#"[{"type":"reboot","reboot_required":true}]"#,
                Some("a package asked for it (`dnf5 needs-restarting`)"),
            ),
            (r#"[{"type":"reboot","reboot_required":false,"packages":[]}]"#, None),
            (r#"[{"type":"service","name":"ssh"}]"#, None),
            ("{}", None),
            ("Unknown argument \"needs-restarting\" for command \"dnf5\".", None),
        ] {
            assert_eq!(wanted_by_dnf5(said).as_deref(), expected, "{said}");
        }
    }

    /// A child of ours looks as an ordinary user; root is refused nothing.
    #[test]
    fn those_of_others_are_hidden_from_an_ordinary_user_and_told_with_a_way_out() {
        const FOLDER: &str = "LIGHTSHIP_TEST_PROC_OF";
        if let Ok(root) = std::env::var(FOLDER) {
            let found = by_files(Path::new(&root));
            let problem = found.problem.unwrap();
            assert_eq!(problem.reason, "1 of 2 processes belong to others and could not be looked at");
            assert!(problem.way_out.unwrap().contains("sudo"));
            assert_eq!(found.stale_services, ["old"]);
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for (pid, mode) in [("1", 0o600), ("2", 0o644)] {
            let folder = dir.path().join("proc").join(pid);
            std::fs::create_dir_all(&folder).unwrap();
            let map = folder.join("maps");
            std::fs::write(&map, "7f-8f r-xp 0 08:01 1 /usr/bin/old (deleted)\n").unwrap();
            std::fs::set_permissions(&map, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            std::fs::write(folder.join("comm"), "old\n").unwrap();
        }
        let name = "updates::host::reboot::tests::those_of_others_are_hidden_from_an_ordinary_user_and_told_with_a_way_out";
        // Where it lies an ordinary user may not come.
        let script = "exec 9<\"$1\"; shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups /proc/self/fd/9 \"$@\"";
        let mut child = std::process::Command::new("/bin/sh");
        let ended = child.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
        let ended = ended.args(["--exact", name]).env(FOLDER, dir.path()).current_dir("/");
        let ended = ended.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
}
