//! What is written down is on the disk before anything is done about it. `strace` lists what the program and all that it
//! starts ask of the kernel; in that list nothing in the state directory may be unsynced, neither a file nor its name in
//! its folder, when a program is started or the Engine is told to change something.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::LazyLock;

use lightship::domain::update::{PlanAsk, RunOutcome, Wanted};
use lightship::updates::Hands;
use regex::Regex;
use tempfile::TempDir;

use super::apt_install;
use super::container_kills::begin_with;
use super::containers::{Host, well};
use super::dnf_install;
use super::helper::{Helper, agent, key, offer, order};
use super::text;
use super::verbs::{PackageHost, plan_id};

/// What is listed of what is asked of the kernel.
const CALLS: &str = "execve,open,openat,creat,write,writev,pwrite64,pwritev,ftruncate,fallocate,copy_file_range,sendfile,\
    sendto,sendmsg,fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,unlink,\
    unlinkat,rmdir";
/// What nobody needs after a crash: what programs print, locks, caches, and what every try makes anew.
const NOT_NEEDED: [&str; 7] = [
    r"^runs/[^/]+/log\.txt$",
    r"^runs/[^/]+/progress\.txt$",
    r"^runs/[^/]+/(apt|dnf|old)(/|$)",
    r"(^|/)\.?[a-z_]*\.?lock$",
    r"^apt(/|$)",
    // A test of whether anything can be written at all.
    r"(^|/)\.write-check$",
    // The state directory itself, which was there before.
    r"^$",
];

static LEFT_OUT: LazyLock<Vec<Regex>> =
    LazyLock::new(|| NOT_NEEDED.iter().map(|words| Regex::new(words).unwrap()).collect());
static CALL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+) +(\w+)\((.*)$").unwrap());
static GOES_ON: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$").unwrap());
static FILE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+<([^>]*)>").unwrap());
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""((?:[^"\\]|\\.)*)""#).unwrap());
static CHANGES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(POST|PUT|DELETE) /(\S+)"#).unwrap());

/// Where `strace` writes its list.
struct Trace(TempDir);

impl Trace {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn list(&self) -> String {
        text(&self.0.path().join("list"))
    }

    /// What is to be started in the place of a program, with that program behind it.
    fn before(&self) -> Vec<String> {
        let (list, calls) = (self.list(), format!("trace={CALLS}"));
        // With `-D` it is nobody's parent: what is killed and waited for is the program itself.
        let all = ["/usr/bin/strace", "-D", "-f", "-y", "-qq", "-s", "256", "-o", &list, "-e", &calls];
        all.map(str::to_owned).to_vec()
    }

    /// What was not on the disk when something was done about it.
    fn faults(&self, state: &str) -> Vec<String> {
        let list = std::fs::read_to_string(self.list()).unwrap();
        let disk = Disk::as_listed(state, &list);
        assert!(disk.effects > 5 && disk.synced > 5, "next to nothing was listed: {list}");
        disk.faults
    }
}

/// What of a state directory is not on the disk yet.
struct Disk {
    root: String,
    /// Files whose content is not.
    contents: BTreeSet<String>,
    /// Files and folders whose name in their folder is not.
    names: BTreeSet<String>,
    known: BTreeSet<String>,
    effects: usize,
    synced: usize,
    faults: Vec<String>,
}

impl Disk {
    fn of(state: &str) -> Self {
        Self {
            root: state.trim_end_matches('/').to_owned(),
            contents: BTreeSet::new(),
            names: BTreeSet::new(),
            known: BTreeSet::new(),
            effects: 0,
            synced: 0,
            faults: Vec::new(),
        }
    }

    /// After everything in a list.
    fn as_listed(state: &str, list: &str) -> Self {
        let mut disk = Self::of(state);
        let mut halves: Vec<(String, String)> = Vec::new();
        for line in list.lines() {
            if let Some(rest) = GOES_ON.captures(line) {
                let at = halves.iter().position(|(process, _)| *process == rest[1]).expect("it was begun");
                let (process, half) = halves.swap_remove(at);
                disk.sees(&format!("{process} {half}{}", &rest[2]));
            } else if let Some(half) = line.strip_suffix(" <unfinished ...>") {
                let (process, rest) = half.split_once(' ').unwrap();
                disk.begins(half);
                halves.push((process.to_owned(), rest.trim_start().to_owned()));
            } else {
                disk.begins(line);
                disk.sees(line);
            }
        }
        disk.does("the end");
        disk
    }

    /// A path below the state directory, if it is one that is needed.
    fn own(&self, path: &str) -> Option<String> {
        let rest = path.trim_end_matches(" (deleted)").strip_prefix(&self.root)?.trim_start_matches('/');
        (!LEFT_OUT.iter().any(|words| words.is_match(rest))).then(|| rest.to_owned())
    }

    /// A call begins.
    fn begins(&mut self, line: &str) {
        let Some(call) = CALL.captures(line) else { return };
        let (name, args) = (&call[2], &call[3]);
        match name {
            "execve" => {
                let program = NAME.captures(args).map(|name| name[1].to_owned()).unwrap_or_default();
                self.does(&format!("`{program}` is started"));
            }
            "write" | "writev" | "sendto" | "sendmsg" if args.contains("<socket:") => {
                if let Some(request) = CHANGES.captures(args) {
                    self.does(&format!("the Engine is told {} /{}", &request[1], &request[2]));
                }
            }
            _ => {}
        }
    }

    /// Something is done that cannot be taken back.
    fn does(&mut self, what: &str) {
        self.effects += 1;
        let lost: Vec<&String> = self.contents.iter().chain(&self.names).collect();
        if !lost.is_empty() {
            self.faults.push(format!("{what}, and not on the disk are {lost:?}"));
            // Each is named once.
            self.contents.clear();
            self.names.clear();
        }
    }

    /// A call ended.
    fn sees(&mut self, line: &str) {
        let Some(call) = CALL.captures(line) else { return };
        let (name, args) = (call[2].to_owned(), call[3].to_owned());
        if args.contains(" = -1 ") {
            return;
        }
        let file = FILE.captures(&args).and_then(|file| self.own(&file[1]));
        let names: Vec<String> = NAME.captures_iter(&args).map(|name| name[1].to_owned()).collect();
        let named: Vec<Option<String>> = names.iter().map(|name| self.own(name)).collect();
        match name.as_str() {
            "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" | "fallocate" => {
                self.contents.extend(file)
            }
            "copy_file_range" | "sendfile" => {
                let files: Vec<String> = FILE.captures_iter(&args).map(|file| file[1].to_owned()).collect();
                let to = if name == "sendfile" { files.first() } else { files.get(1) };
                let to = to.and_then(|to| self.own(to));
                self.contents.extend(to);
            }
            "fsync" | "fdatasync" => self.is_synced(FILE.captures(&args).map(|file| file[1].to_owned())),
            "syncfs" => {
                self.contents.clear();
                self.names.clear();
            }
            "open" | "openat" | "creat" if args.contains("O_CREAT") => {
                let new = named.into_iter().flatten().filter(|path| !self.known.contains(path));
                self.names.extend(new.collect::<Vec<_>>());
            }
            "mkdir" | "mkdirat" | "symlink" | "symlinkat" => {
                self.names.extend(named.into_iter().flatten().last())
            }
            "link" | "linkat" => {
                // Whether the content of what it is linked to is on the disk nobody knows.
                if let Some(Some(to)) = named.get(1) {
                    self.contents.insert(to.clone());
                    self.names.insert(to.clone());
                }
            }
            "rename" | "renameat" | "renameat2" => self.is_renamed(&named),
            "unlink" | "unlinkat" | "rmdir" => {
                for path in named.into_iter().flatten() {
                    self.contents.remove(&path);
                    self.names.remove(&path);
                }
            }
            _ => {}
        }
    }

    fn is_synced(&mut self, path: Option<String>) {
        let rest = path.as_deref().and_then(|path| path.strip_prefix(&self.root));
        let Some(rest) = rest.map(|rest| rest.trim_start_matches('/').to_owned()) else {
            // The folder that the state directory is in.
            return;
        };
        self.synced += 1;
        self.contents.remove(&rest);
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        let here: Vec<String> = self.names.iter().filter(|name| parent(name) == rest).cloned().collect();
        for name in here {
            self.names.remove(&name);
            self.known.insert(name);
        }
    }

    fn is_renamed(&mut self, named: &[Option<String>]) {
        let [from, to] = named else { return };
        let is_whole = from.as_ref().is_none_or(|from| !self.contents.remove(from));
        if let Some(from) = from {
            self.names.remove(from);
        }
        let Some(to) = to else { return };
        if !is_whole {
            // After a power cut its name could be there without its content.
            self.faults.push(format!("{to} gets its name before its content is on the disk"));
        }
        self.names.insert(to.clone());
    }
}

#[test]
fn the_check_can_fail() {
    let whole = "1 mkdir(\"/s/runs/a\", 0700) = 0\n1 openat(AT_FDCWD</>, \"/s/runs\", O_RDONLY|O_CLOEXEC) = 3</s/runs>\n\
        1 fsync(3</s/runs>) = 0\n1 openat(AT_FDCWD</>, \"/s/runs/a/.x.new\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</s/runs/a/.x.new>\n\
        1 write(3</s/runs/a/.x.new>, \"{\", 1) = 1\n1 fsync(3</s/runs/a/.x.new> <unfinished ...>\n2 getpid() = 2\n\
        1 <... fsync resumed>) = 0\n1 rename(\"/s/runs/a/.x.new\", \"/s/runs/a/x\") = 0\n1 fsync(4</s/runs/a>) = 0\n\
        1 openat(AT_FDCWD</>, \"/s/runs/a/log.txt\", O_WRONLY|O_CREAT, 0600) = 5</s/runs/a/log.txt>\n\
        1 execve(\"/bin/x\", [\"x\"], 0x1 /* 1 var */) = 0\n1 sendto(6<socket:[7]>, \"POST /v1.41/containers/a/stop HTTP/1.1\", 9, 0, NULL, 0) = 9\n";
    let disk = Disk::as_listed("/s", whole);
    assert_eq!(disk.faults, Vec::<String>::new());
    assert_eq!((disk.effects, disk.synced), (3, 3));
    for (left_out, fault) in [
        ("1 fsync(3</s/runs>) = 0\n", "`/bin/x` is started, and not on the disk are [\"runs/a\"]"),
        ("1 fsync(4</s/runs/a>) = 0\n", "`/bin/x` is started, and not on the disk are [\"runs/a/x\"]"),
        (
            "1 fsync(3</s/runs/a/.x.new> <unfinished ...>\n2 getpid() = 2\n1 <... fsync resumed>) = 0\n",
            "runs/a/x gets its name before its content is on the disk",
        ),
    ] {
        let list = whole.replace(left_out, "");
        assert_eq!(Disk::as_listed("/s", &list).faults, [fault], "{left_out}");
    }
    let told = whole
        .replace("1 execve(\"/bin/x\", [\"x\"], 0x1 /* 1 var */) = 0\n", "")
        .replace("1 fsync(4</s/runs/a>) = 0\n", "");
    let faults = Disk::as_listed("/s", &told).faults;
    assert!(faults[0].starts_with("the Engine is told POST /v1.41/containers/a/stop"), "{faults:?}");
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn ended_well(mut verb: Child) {
    let output = std::io::read_to_string(verb.stderr.take().unwrap()).unwrap();
    assert!(verb.wait().unwrap().success(), "{output}");
}

/// Installs everything, and takes it back.
fn installed_and_taken_back(host: &impl PackageHost) -> Vec<String> {
    let plan = plan_id(host);
    let mut faults = Vec::new();
    let install = ["install", "--plan", &plan, "--yes"].map(str::to_owned).to_vec();
    let run = || {
        let runs = std::fs::read_dir(host.path("state/runs")).unwrap().flatten();
        let named = runs.map(|run| run.file_name().into_string().unwrap());
        named.filter(|name| !name.starts_with('.')).max().unwrap()
    };
    for back in [false, true] {
        let trace = Trace::new();
        let args = if back { vec!["rollback".to_owned(), run(), "--yes".into()] } else { install.clone() };
        ended_well(host.begin_with(&words(&trace.before()), &words(&args)));
        faults.extend(trace.faults(&host.path("state")));
    }
    faults
}

#[test]
fn what_a_run_of_apt_writes_down_is_on_the_disk_before_it_goes_further() {
    let root = apt_install::host();
    assert_eq!(installed_and_taken_back(&root), Vec::<String>::new());
    assert_eq!(root.installed(), apt_install::BEFORE);
}

#[test]
fn what_a_run_of_dnf_writes_down_is_on_the_disk_before_it_goes_further() {
    let root = dnf_install::host();
    assert_eq!(installed_and_taken_back(&root), Vec::<String>::new());
    assert_eq!(root.installed(), dnf_install::BEFORE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_helper_knows_of_an_order_is_on_the_disk_before_it_goes_further() {
    let trace = Trace::new();
    let helper = Helper::handed_to(apt_install::host(), &words(&trace.before()));
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    let changes = helper.planned().await;
    let signed = order("c1", 1, PlanAsk::install(Wanted::All), changes).sign(&key(1));

    let run = helper.carry_out(signed).await.unwrap();

    helper.hands().mark_told(&run.id, &agent()).await.unwrap();
    assert_eq!(run.outcome, Some(RunOutcome::Verified));
    assert_eq!(helper.root.installed(), apt_install::AFTER);
    assert_eq!(trace.faults(&helper.root.at("helper")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replacement_of_a_container_writes_down_is_on_the_disk_before_the_engine_is_told() {
    let host = Host::start().await;
    host.push("app", "before", &well()).await;
    host.run("app", Default::default()).await;
    host.push("app", "after", &well()).await;
    let (id, _) = host.plan(&["app"]);
    let trace = Trace::new();
    let verb = begin_with(&host, &words(&trace.before()), &["install", "--plan", &id, "--yes"]);

    tokio::task::spawn_blocking(move || ended_well(verb)).await.unwrap();

    assert_eq!(trace.faults(host.state.path().to_str().unwrap()), Vec::<String>::new());
    host.clear().await;
}
