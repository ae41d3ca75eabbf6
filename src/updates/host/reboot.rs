//! Whether a machine wants to be started anew, by three signs, and which services run on files that were replaced.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use super::files::read;
use crate::domain::host::Reboot;
use crate::domain::update::Problem;
use crate::process::{Program, find};

/// Most of one process's map that is read.
const MAX_MAP: u64 = 4 * 1024 * 1024;
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
    let looked = look_at_processes(&root.join("proc"));
    found.stale_services = looked.stale.into_iter().collect();
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

/// What was seen of all processes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    stale: BTreeSet<String>,
    count: usize,
    hidden: usize,
}

fn look_at_processes(proc: &Path) -> Looked {
    let mut looked = Looked::default();
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_process)) {
        let folder = entry.path();
        let mut map = Vec::new();
        let opened = std::fs::File::open(folder.join("maps"));
        match opened.and_then(|file| file.take(MAX_MAP).read_to_end(&mut map)) {
            Ok(_) => looked.count += 1,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                looked.count += 1;
                looked.hidden += 1;
                continue;
            }
            // It ended meanwhile.
            Err(_) => continue,
        }
        if !runs_on_replaced_files(&String::from_utf8_lossy(&map)) {
            continue;
        }
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        looked.stale.extend(service(&text("cgroup"), text("comm").trim()));
    }
    looked
}

/// True if a program or a library that it runs is not on the disk any more.
fn runs_on_replaced_files(map: &str) -> bool {
    map.lines().any(|line| {
        let Some(line) = line.strip_suffix(" (deleted)") else { return false };
        let mut words = line.split_whitespace();
        let is_code = words.nth(1).is_some_and(|rights| rights.contains('x'));
        let path = words.nth(3).unwrap_or_default();
        is_code && ["/usr/", "/lib", "/bin/", "/sbin/", "/opt/"].iter().any(|place| path.starts_with(place))
    })
}

/// The unit that a process belongs to, else its own name. What runs in a container has the container's files.
fn service(cgroup: &str, name: &str) -> Option<String> {
    let is_contained = ["docker", "libpod", "kubepods", "lxc", "containerd", "machine.slice"]
        .iter()
        .any(|word| cgroup.contains(&format!("/{word}")));
    // The daemons of the same names are units.
    let unit = cgroup.lines().flat_map(|line| line.split('/')).rfind(|part| part.ends_with(".service"));
    match unit {
        Some(unit) => Some(unit.trim_end_matches(".service").to_owned()),
        None if is_contained || name.is_empty() => None,
        None => Some(name.to_owned()),
    }
}

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
    fn only_code_of_the_system_that_is_gone_makes_a_service_stale() {
        let line = |rights: &str, path: &str| format!("7f00-7f01 {rights} 00000000 08:01 123    {path}\n");
        for (map, stale) in [
            (line("r-xp", "/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)"), true),
            (line("r-xp", "/lib/x86_64-linux-gnu/libc.so.6 (deleted)"), true),
            (line("r--p", "/usr/lib/locale/C (deleted)"), false),
            (line("r-xp", "/usr/lib/x86_64-linux-gnu/libssl.so.3"), false),
            (line("rwxp", "/memfd:jit (deleted)"), false),
            (line("r-xp", "/tmp/x (deleted)"), false),
            (line("rwxs", "/dev/zero (deleted)"), false),
            ("half".into(), false),
        ] {
            assert_eq!(runs_on_replaced_files(&map), stale, "{map}");
        }
    }

    #[test]
    fn a_process_is_named_by_its_service() {
        for (cgroup, name, service_name) in [
            ("0::/system.slice/ssh.service\n", "sshd", Some("ssh")),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", "x", Some("x")),
            ("0::/user.slice/user-0.slice/session-1.scope\n", "bash", Some("bash")),
            ("0::/system.slice/docker-0123.scope\n", "nginx", None),
            ("0::/system.slice/docker.service\n", "dockerd", Some("docker")),
            ("1:name=systemd:/docker/0123\n", "nginx", None),
            ("", "", None),
        ] {
            assert_eq!(service(cgroup, name).as_deref(), service_name, "{cgroup}");
        }
    }

    #[test]
    fn processes_that_cannot_be_looked_at_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, map) in [("1", "7f-8f r-xp 0 08:01 1 /usr/bin/old (deleted)\n"), ("2", "")] {
            let folder = dir.path().join(pid);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("maps"), map).unwrap();
            std::fs::write(folder.join("comm"), "old\n").unwrap();
        }
        std::fs::create_dir(dir.path().join("3")).unwrap();
        std::fs::create_dir(dir.path().join("sys")).unwrap();
        let looked = look_at_processes(dir.path());
        assert_eq!(looked, Looked { stale: BTreeSet::from(["old".into()]), count: 2, hidden: 0 });
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
