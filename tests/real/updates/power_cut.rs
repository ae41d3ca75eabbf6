//! A power cut: what no disk holds yet is lost. The host lies on a file system of its own, in a file. Whatever the kernel has
//! not written into that file yet is not in a copy of it: the copy is what a disk would hold at that moment.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::apt_install::{self, offer};
use super::apt_root::AptRoot;
use super::dnf_install;
use super::file_server::FileServer;
use super::rpm_root::RpmRoot;
use super::verbs::{self, PackageHost, plan_id, until_said, until_there, verb};
use super::{shell, text};

/// The kernel writes by itself after half a minute, and this file system after as long as this; no test takes so long.
const MOUNT: &str = "mount -o loop,noatime,commit=900 \"$1\" \"$2\"";

/// A disk with a whole host on it, in the place of the host's folder. Dropping it takes it away.
struct Disk {
    images: TempDir,
    at: String,
}

impl Disk {
    /// Puts what is in a folder on a disk of its own.
    fn under(at: String) -> Self {
        let disk = Self { images: TempDir::new().unwrap(), at };
        let make = "truncate -s 192M \"$1\"; mkfs.ext4 -q -m 0 \"$1\"; mkdir \"$2\"; mount -o loop \"$1\" \"$2\"; \
                    cp -a \"$3/.\" \"$2\"; umount \"$2\"";
        shell(make, &[&disk.image("first"), &disk.image("folder"), &disk.at]);
        disk
    }

    fn image(&self, name: &str) -> String {
        text(&self.images.path().join(name))
    }

    /// Starts anew with the host as it was put there.
    fn begin(&self) {
        self.take_away();
        // In a file of its own: of the one before the kernel may still know something.
        let copy = "rm -f \"$2\"; cp --sparse=always \"$1\" \"$2\"";
        shell(copy, &[&self.image("first"), &self.image("now")]);
        shell(MOUNT, &[&self.image("now"), &self.at]);
    }

    /// Cuts the power while a verb works on the host, and brings the host back as its disk has it.
    fn cut(&self, host: &impl PackageHost, verb: Option<Child>) {
        shell("pkill -STOP -f \"$1/root\" || true", &[&self.at]);
        if let Some(verb) = &verb {
            let pid = rustix::process::Pid::from_child(verb);
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        shell("cp --sparse=always \"$1\" \"$2\"", &[&self.image("now"), &self.image("cut")]);
        match verb {
            Some(mut verb) => host.kill_all(&mut verb),
            None => host.kill_packages(),
        }
        self.take_away();
        shell("mv \"$1\" \"$2\"", &[&self.image("cut"), &self.image("now")]);
        shell(MOUNT, &[&self.image("now"), &self.at]);
    }

    fn take_away(&self) {
        let due = Instant::now() + Duration::from_secs(30);
        while is_mounted(&self.at) {
            let _ = std::process::Command::new("umount")
                .arg(&self.at)
                .stderr(std::process::Stdio::null())
                .status();
            assert!(Instant::now() < due, "somebody still works in {}", self.at);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // As long as it takes whoever still has a file of it open.
        if is_mounted(&self.at) {
            shell("umount -l \"$1\"", &[&self.at]);
        }
    }
}

fn is_mounted(at: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(at))
}

/// When the power is cut.
#[derive(Debug, Clone, PartialEq)]
enum When {
    /// A step begins.
    Step(String),
    /// A script of a package made this file, and waits.
    Script(String),
}

/// A host of a package manager, on a disk.
struct Scene<'a, H> {
    // It is taken away before the folder that it lies over.
    disk: Disk,
    host: H,
    before: &'a [&'a str],
    after: &'a [&'a str],
    /// Fails if anything else is not as it should be.
    check: fn(&H),
}

impl<H: PackageHost> Scene<'_, H> {
    /// Cuts the power whenever it is time; then the same plan again, or the way back.
    fn cut(&self, when: &[When]) {
        for (when, goes_on) in when.iter().flat_map(|when| [(when, true), (when, false)]) {
            let at = format!("{when:?}, {}", if goes_on { "and on" } else { "and back" });
            self.disk.begin();
            let id = plan_id(&self.host);
            if matches!(when, When::Step(_)) {
                self.let_go();
            }
            let mut run = self.host.begin(&["install", "--plan", &id, "--yes"]);
            match when {
                When::Step(step) => until_said(&mut run, step),
                When::Script(file) => until_there(&self.host.path(file)),
            }
            self.disk.cut(&self.host, Some(run));
            self.let_go();

            let (_, history, _) = verb(&self.host.rig(), &["history", "--json"]);
            let run = history["runs"][0].clone();
            assert!(run["id"].is_string(), "{at}: the run is forgotten: {history}");
            if goes_on {
                let (code, out, errors) = verb(&self.host.rig(), &["install", "--plan", &id, "--yes"]);
                assert_eq!(code, 0, "{at}: {out} {errors}");
                let (_, history, _) = verb(&self.host.rig(), &["history", "--json"]);
                assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{at}: it is one run");
                assert_eq!(history["runs"][0]["outcome"], "verified", "{at}");
                self.check(self.after, &at);
            } else {
                let back = ["rollback", run["id"].as_str().unwrap(), "--yes"];
                let (code, out, errors) = verb(&self.host.rig(), &back);
                assert_eq!(code, 0, "{at}: {out} {errors}");
                self.check(self.before, &at);
            }
        }
    }

    /// Cuts the power right after a run was said to be verified, and again after it was said to be taken back.
    fn cut_at_the_end(&self) {
        self.disk.begin();
        self.let_go();
        let (code, _, errors) = verb(&self.host.rig(), &["install", "--all", "--yes"]);
        assert_eq!(code, 0, "{errors}");
        self.disk.cut(&self.host, None);
        self.check(self.after, "verified");
        let (_, history, _) = verb(&self.host.rig(), &["history", "--json"]);
        assert_eq!(history["runs"][0]["outcome"], "verified", "{history}");

        let back = ["rollback", history["runs"][0]["id"].as_str().unwrap(), "--yes"];
        let (code, _, errors) = verb(&self.host.rig(), &back);
        assert_eq!(code, 0, "{errors}");
        self.disk.cut(&self.host, None);
        self.check(self.before, "taken back");
    }

    /// Lets the script go on that waits for it.
    fn let_go(&self) {
        shell("touch \"$1\"; sync \"$1\"", &[&self.host.path("root/go")]);
    }

    /// The steps of a run, as one that nobody disturbs names them.
    fn steps(&self) -> Vec<When> {
        self.disk.begin();
        self.let_go();
        let (code, _, errors) = verb(&self.host.rig(), &["install", "--all", "--yes"]);
        assert_eq!(code, 0, "{errors}");
        verbs::steps(&self.host.rig()).into_iter().map(When::Step).collect()
    }

    fn check(&self, expected: &[&str], at: &str) {
        assert_eq!(self.host.installed(), expected, "{at}");
        assert_eq!(self.host.audit(), "", "{at}");
        (self.check)(&self.host);
    }

    fn cut_everywhere(&self) {
        let mut when = self.steps();
        when.push(When::Script("root/begun".into()));
        self.cut(&when);
        self.cut_at_the_end();
        let said: Vec<String> = when.iter().map(|when| format!("{when:?}")).collect();
        println!("cut at each of these, lost none, doubled none: {}", said.join(", "));
    }
}

/// What each package holds is its version.
fn files_and_marks_of_apt(root: &AptRoot) {
    for line in root.installed() {
        let words: Vec<&str> = line.split(' ').collect();
        let file = root.at(&format!("root/usr/share/{}/version", words[0]));
        assert_eq!(std::fs::read_to_string(file).unwrap().trim(), words[1], "{line}");
    }
    assert_eq!(root.automatic(), for_others(&root.installed()));
}

/// `rpm -Va` looks at every file already.
fn marks_of_dnf(root: &RpmRoot) {
    assert_eq!(root.automatic(), for_others(&root.installed()));
}

/// Which of these packages are there for others' sake.
fn for_others(installed: &[String]) -> Vec<String> {
    let is_one = |name: &&str| installed.iter().any(|line| line.starts_with(&format!("{name} ")));
    ["t-lib", "t-new"].iter().filter(|name| is_one(name)).map(|&name| name.to_owned()).collect()
}

#[test]
fn a_power_cut_at_any_step_of_apt_leaves_a_way_on_and_a_way_back_and_none_undoes_what_was_verified() {
    let root = apt_install::host();
    root.sync_what_is_unpacked();
    // It waits until it may go on, where somebody cuts the power meanwhile.
    let script = format!("touch {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done", root.at("root"));
    root.package_that_runs("t-new", "1.0", &script);
    offer(&root);
    // What lies on this very machine APT does not put into its cache.
    let server = FileServer::start(Path::new(&root.at("repo")));
    root.sources(&server.url());
    root.apt(&["update"]);
    let disk = Disk::under(root.at(""));
    let (before, after) = (&apt_install::BEFORE, &apt_install::AFTER);
    Scene { disk, host: root, before, after, check: files_and_marks_of_apt }.cut_everywhere();
}

#[test]
fn a_power_cut_at_any_step_of_dnf_leaves_a_way_on_and_a_way_back_and_none_undoes_what_was_verified() {
    let root = dnf_install::host();
    let script = "io.open('/begun', 'w'):close(); while not posix.access('/go') do posix.sleep(1) end";
    root.package_that_runs("t-new", "1.0", script);
    root.offer();
    let disk = Disk::under(root.at(""));
    let (before, after) = (&dnf_install::BEFORE, &dnf_install::AFTER);
    Scene { disk, host: root, before, after, check: marks_of_dnf }.cut_everywhere();
}
