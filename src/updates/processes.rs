//! What processes run on, and to which services they belong. Only looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Most of one process's map that is read.
const MAX_MAP: u64 = 4 * 1024 * 1024;
/// What names a container in the path of a control group.
const CONTAINERS: [&str; 6] = ["docker", "libpod", "kubepods", "lxc", "containerd", "machine.slice"];
/// Where the system has its programs and libraries.
const CODE: [&str; 5] = ["/usr/", "/lib", "/bin/", "/sbin/", "/opt/"];

/// Whom a process belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// The service without `.service`, else the process's own name.
    pub(super) name: String,
    /// True for a service of the system; what a person's session runs is none.
    pub(super) is_service: bool,
}

/// What was seen of all processes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Whose processes run on what was looked for, and on which files of it.
    pub(super) owners: BTreeMap<Owner, BTreeSet<String>>,
    /// Processes that there are.
    pub(super) count: usize,
    /// Those that this user may not look at.
    pub(super) hidden: usize,
}

/// Looks at all processes; `found` returns the files that are looked for, out of what one runs on. Blocks.
pub(super) fn look_at_processes(proc: &Path, found: impl Fn(&str) -> Vec<String>) -> Looked {
    let mut looked = Looked::default();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_process)) {
        let folder = entry.path();
        let mut map = Vec::new();
        let opened = File::open(folder.join("maps"));
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
        let files = found(&String::from_utf8_lossy(&map));
        if files.is_empty() {
            continue;
        }
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        if let Some(owner) = owner(&text("cgroup"), text("comm").trim()) {
            looked.owners.entry(owner).or_default().extend(files);
        }
    }
    looked
}

/// Returns the service that this process belongs to, if it is one.
pub(super) fn own_service() -> Option<String> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    owner(&cgroup, "").filter(|owner| owner.is_service).map(|owner| owner.name)
}

/// What a process runs as code, and whether it is not on the disk any more.
fn code(map: &str) -> impl Iterator<Item = (&str, bool)> {
    map.lines().filter_map(|line| {
        let is_code = line.split_whitespace().nth(1)?.contains('x');
        let path = line.get(line.find('/')?..)?;
        let gone = path.strip_suffix(" (deleted)");
        is_code.then_some((gone.unwrap_or(path), gone.is_some()))
    })
}

/// Returns the programs and libraries of the system that a process runs and that are not on the disk any more.
pub(super) fn replaced_code(map: &str) -> Vec<String> {
    let is_of_system = |path: &str| CODE.iter().any(|place| path.starts_with(place));
    let gone = code(map).filter(|(path, is_gone)| *is_gone && is_of_system(path));
    gone.map(|(path, _)| path.to_owned()).collect()
}

/// Returns those of these files that a process runs as code. `/lib` and `/usr/lib` are one place.
pub(super) fn code_among(map: &str, files: &BTreeSet<String>) -> Vec<String> {
    let is_among = |path: &str| {
        let other = path.strip_prefix("/usr").map_or_else(|| format!("/usr{path}"), str::to_owned);
        files.contains(path) || files.contains(&other)
    };
    code(map).filter(|(path, _)| is_among(path)).map(|(path, _)| path.to_owned()).collect()
}

/// Returns those of these files that a process runs as code though they are not on the disk any more.
pub(super) fn gone_among(map: &str, files: &BTreeSet<String>) -> Vec<String> {
    let gone = code(map).filter(|(path, is_gone)| *is_gone && files.contains(*path));
    gone.map(|(path, _)| path.to_owned()).collect()
}

/// The unit that a process belongs to, else its own name. What runs in a container has the container's files.
fn owner(cgroup: &str, name: &str) -> Option<Owner> {
    let is_contained = |path: &str| CONTAINERS.iter().any(|word| path.contains(&format!("/{word}")));
    for path in cgroup.lines() {
        let parts: Vec<&str> = path.split('/').collect();
        let Some(at) = parts.iter().rposition(|part| part.ends_with(".service")) else { continue };
        let (before, behind) = parts.split_at(at + 1);
        // The daemons of the same names are units; what stands below one may be a container of it.
        if is_contained(&format!("/{}", behind.join("/"))) {
            return None;
        }
        let is_of_session = before.iter().rev().skip(1).any(|part| part.starts_with("user@"));
        let name = before.last()?.trim_end_matches(".service").to_owned();
        return Some(Owner { name, is_service: !is_of_session });
    }
    if is_contained(cgroup) || name.is_empty() {
        return None;
    }
    Some(Owner { name: name.to_owned(), is_service: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rights: &str, path: &str) -> String {
        format!("7f00-7f01 {rights} 00000000 08:01 123    {path}\n")
    }

    #[test]
    fn only_code_of_the_system_that_is_gone_makes_a_service_stale() {
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
            assert_eq!(!replaced_code(&map).is_empty(), stale, "{map}");
        }
    }

    #[test]
    fn files_are_found_in_a_map_wherever_lib_is_a_link_to_usr_lib() {
        let files = BTreeSet::from(["/lib/libc.so.6".to_owned(), "/usr/sbin/a b".to_owned()]);
        for (path, found) in [
            ("/usr/lib/libc.so.6", true),
            ("/lib/libc.so.6", true),
            ("/usr/sbin/a b", true),
            ("/usr/sbin/a", false),
            ("/lib/libc.so.6.1", false),
        ] {
            assert_eq!(!code_among(&line("r-xp", path), &files).is_empty(), found, "{path}");
            assert!(code_among(&line("r--p", path), &files).is_empty(), "{path} is no code here");
        }
        let hit = BTreeSet::from(["/usr/lib/libc.so.6".to_owned()]);
        assert!(gone_among(&line("r-xp", "/usr/lib/libc.so.6"), &hit).is_empty());
        assert_eq!(gone_among(&line("r-xp", "/usr/lib/libc.so.6 (deleted)"), &hit).len(), 1);
    }

    #[test]
    fn a_process_is_named_by_its_service() {
        let service = |name: &str| Some((name.to_owned(), true));
        let other = |name: &str| Some((name.to_owned(), false));
        for (cgroup, name, expected) in [
            ("0::/system.slice/ssh.service\n", "sshd", service("ssh")),
            ("9:name=systemd:/system.slice/ssh.service\n8:pids:/\n0::/\n", "sshd", service("ssh")),
            ("0::/system.slice/web.service/worker\n", "web", service("web")),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", "x", other("x")),
            ("0::/user.slice/user-0.slice/session-1.scope\n", "bash", other("bash")),
            ("0::/system.slice/docker-0123.scope\n", "nginx", None),
            ("0::/system.slice/docker.service\n", "dockerd", service("docker")),
            ("0::/system.slice/web.service/libpod-payload-0123\n", "nginx", None),
            ("1:name=systemd:/docker/0123\n", "nginx", None),
            ("", "", None),
        ] {
            let owner = owner(cgroup, name).map(|owner| (owner.name, owner.is_service));
            assert_eq!(owner, expected, "{cgroup}");
        }
    }

    #[test]
    fn processes_that_cannot_be_looked_at_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, map) in [("1", "7f-8f r-xp 0 08:01 1 /usr/bin/old (deleted)\n"), ("2", "")] {
            let folder = dir.path().join(pid);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("maps"), map).unwrap();
            fs::write(folder.join("comm"), "old\n").unwrap();
        }
        fs::create_dir(dir.path().join("3")).unwrap();
        fs::create_dir(dir.path().join("sys")).unwrap();
        let looked = look_at_processes(dir.path(), replaced_code);
        let old = (Owner { name: "old".into(), is_service: false }, BTreeSet::from(["/usr/bin/old".into()]));
        assert_eq!(looked, Looked { owners: BTreeMap::from([old]), count: 2, hidden: 0 });
    }
}
