//! A whole Debian that its own systemd runs. It is made once by `debootstrap` and kept under `target/`; every test boots a layer of
//! its own over it, so that each finds it as it was made.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{shell, text};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Makes it: a Debian of the release and from the mirror that this machine has, with the lists of all that there is.
const MAKE: &str = r#"
to=$1; codename=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" "Label: Debian" 2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}
rm -rf "$to.new"
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates "$codename" "$to.new" "$mirror" >"$to.log" 2>&1 ||
  { tail -n 20 "$to.log"; exit 1; }
echo "deb $mirror $codename main" >"$to.new/etc/apt/sources.list"
cp -L /etc/resolv.conf "$to.new/etc/resolv.conf"
chroot "$to.new" apt-get -qq update
# Nothing that a test did not begin takes APT's locks.
chroot "$to.new" systemctl mask apt-daily.timer apt-daily-upgrade.timer 2>/dev/null
rm -rf "$to.new"/var/cache/apt/archives/*.deb "$to.new"/var/cache/apt/*.bin
mv "$to.new" "$to"
"#;

/// Boots it in namespaces of its own, but for the network. What is the machine's is read only there.
const BOOT: &str = r#"
root=$1 cgroup=$2
echo $$ >"$cgroup/cgroup.procs"
exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --propagation private bash -euc '
cd "$1"; mkdir -p proc sys dev run .old
mount -t proc proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
  set -- $node; mknod -m 666 dev/$1 c $2 $3
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
for path in proc/sys proc/sysrq-trigger; do
  [ ! -e $path ] || { mount --bind $path $path; mount -o remount,bind,ro $path; }
done
hostname units
pivot_root . .old; umount -l /.old; rmdir /.old
exec env -i container=systemd-nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
' bash "$root"
"#;

/// See the module. Dropping it ends all that runs there.
pub(super) struct SystemdRoot {
    dir: TempDir,
    cgroup: PathBuf,
    process: Child,
    init: String,
}

fn os_release(field: &str) -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// Where the one is that was made; makes it if it is not there. Tests that come meanwhile wait.
fn made() -> PathBuf {
    let codename = os_release("VERSION_CODENAME");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let to = target.join(format!("debian-{codename}"));
    std::fs::create_dir_all(&target).unwrap();
    let lock = File::create(target.join("debian.lock")).unwrap();
    lock.lock().unwrap();
    if !to.exists() {
        shell(MAKE, &[&text(&to), &codename]);
    }
    to
}

/// The hierarchy of control groups in which a systemd can be the first.
fn unified() -> &'static Path {
    let [whole, beside] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    if whole.join("cgroup.procs").exists() { whole } else { beside }
}

impl SystemdRoot {
    /// Boots one, and waits until it is up.
    pub(super) fn boot() -> Self {
        let lower = made();
        let dir = TempDir::new().unwrap();
        let at = |name: &str| text(&dir.path().join(name));
        let layer = r#"mkdir "$2" "$3" "$4"; chmod 755 "$2" "$3" "$4"
            mount -t overlay -o lowerdir="$1",upperdir="$2",workdir="$3" lightship-test "$4""#;
        shell(layer, &[&text(&lower), &at("upper"), &at("work"), &at("root")]);
        let name = dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let cgroup = unified().join(format!("lightship-test-{name}"));
        std::fs::create_dir(&cgroup).unwrap();
        let process = Command::new("bash")
            .args(["-euc", BOOT, "bash", &at("root"), cgroup.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut root = Self { dir, cgroup, process, init: String::new() };
        root.init = root.until("it has a first process", |root| root.first_process());
        root.until("systemd is up", |root| {
            let state = root.run(&["systemctl", "is-system-running", "--wait"]);
            let said = String::from_utf8_lossy(&state.stdout);
            matches!(said.trim(), "running" | "degraded").then_some(())
        });
        root
    }

    fn first_process(&self) -> Option<String> {
        let parent = format!("PPid:\t{}\n", self.process.id());
        let is_it = |pid: &String| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // Before that it is the shell that makes its namespaces.
            status.contains(&parent) && status.starts_with("Name:\tsystemd\n")
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().into_string().ok()).find(is_it)
    }

    /// Waits for something there.
    pub(super) fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let due = Instant::now() + LONG;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < due, "{what}: not within {LONG:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where a file of it is on this machine.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Runs a program there, as root.
    pub(super) fn run(&self, words: &[&str]) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.init, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]);
        enter
            .args([
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args(words);
        enter.stdin(Stdio::null()).output().unwrap()
    }

    /// The same of one that has to work; what it says.
    pub(super) fn said(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        let errors = String::from_utf8_lossy(&ended.stderr);
        let said = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
        assert!(ended.status.success(), "{words:?}: {said}\n{errors}");
        said
    }

    /// The same of a script.
    pub(super) fn shell(&self, script: &str) -> String {
        self.said(&["bash", "-euo", "pipefail", "-c", script])
    }

    /// A property of a unit.
    pub(super) fn show(&self, unit: &str, property: &str) -> String {
        self.said(&["systemctl", "show", "--value", "--property", property, "--", unit])
    }
}

impl Drop for SystemdRoot {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.init.is_empty() {
            let log = self.run(&["journalctl", "--no-pager", "--lines", "200"]);
            eprintln!("--- its journal\n{}---", String::from_utf8_lossy(&log.stdout));
        }
        // With its first process goes all of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let tidy = r#"until [ -z "$(find "$1" -name cgroup.procs -exec cat {} +)" ]; do sleep 0.05; done
            find "$1" -depth -type d -exec rmdir {} +; umount -l "$2""#;
        let root = text(&self.dir.path().join("root"));
        let tidied = Command::new("timeout")
            .args(["60", "bash", "-c", tidy, "bash"])
            .arg(&self.cgroup)
            .arg(root)
            .status();
        if !tidied.is_ok_and(|status| status.success()) {
            eprintln!("{} is left behind", self.cgroup.display());
        }
    }
}
