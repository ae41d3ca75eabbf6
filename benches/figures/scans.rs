//! What a look at a host's packages costs, against the package manager's own list of the same root, and what the agent
//! holds meanwhile.

#[allow(dead_code, reason = "shared with the tests; a part of it is used here")]
#[path = "../../tests/real/updates/rpm_root.rs"]
pub mod rpm_root;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lightship::clock::Clock;
use lightship::domain::update::Findings;
use lightship::updates::{Apt, Dnf, ScanAsk, Scanner};

use crate::apt_root::AptRoot;
use crate::plan::Plan;
use crate::process::Memory;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::Rig;
use rpm_root::RpmRoot;

/// A host of the usual size.
const INSTALLED: usize = 1_500;
const PENDING: usize = 150;
/// A host far behind.
const MANY: usize = 5_000;
/// Packages of the root of RPM; it takes longest to make them.
const RPMS: usize = 20;
/// What a full look may cost, in lists of the package manager.
const FULL: Goal = Goal::AtMost(5.0);
/// What a look may cost that finds everything as it was.
const UNCHANGED: Goal = Goal::AtMost(0.1);

/// Measures APT, then DNF, then the agent's memory.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let rounds = plan.count(9, 5);
    let mut rows = apt(rounds).await;
    rows.extend(dnf(rounds).await);
    rows.extend(memory(plan).await);
    rows
}

async fn apt(rounds: usize) -> Vec<Row> {
    let root = AptRoot::new(INSTALLED, PENDING);
    let list = || {
        let mut list = Command::new("apt");
        list.args(["list", "--upgradable"]).env("APT_CONFIG", root.config()).env("LC_ALL", "C.UTF-8");
        list
    };
    let scanner = |state: &Path| Apt::configured_by(&root.config()).keeping_cache_in(state.join("apt"));
    let what =
        |of: &str| format!("APT, {PENDING} of {INSTALLED} pending, {of}, against `apt list --upgradable`");
    let state = tempfile::tempdir().unwrap();
    let [mut warm, mut cold, mut without] = [const { Pairs::new() }; 3];
    let mut unchanged = Pairs::new();
    ended(list());
    look(&scanner(state.path()), None).await;
    for _ in 0..rounds {
        let scanner = scanner(state.path());
        let (found, full) = look(&scanner, None).await;
        assert_eq!((found.checked.ok, found.checked.pending), (true, PENDING), "{:?}", found.checked);
        let (again, same) = look(&scanner, Some(&found)).await;
        assert_eq!(again, found);
        let listed = ended(list());
        warm.add(full, listed);
        unchanged.add(same, listed);
    }
    for _ in 0..rounds {
        // Each builds its own cache: APT's would be taken over if it were there first.
        root.change_lists();
        let (_, full) = look(&scanner(state.path()), None).await;
        cold.add(full, ended(list()));
    }
    // As in containers, and for a user who may not write in APT's folder.
    root.configure("Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";\n");
    for _ in 0..rounds {
        let (_, full) = look(&scanner(state.path()), None).await;
        without.add(full, ended(list()));
    }
    vec![
        warm.row(what("full"), FULL),
        cold.row(what("full, new lists"), FULL),
        without.row(what("full, APT keeps no cache"), FULL),
        unchanged.row(what("unchanged"), UNCHANGED),
    ]
}

async fn dnf(rounds: usize) -> Vec<Row> {
    let root = RpmRoot::empty();
    let names: Vec<String> = (0..RPMS).map(|number| format!("r-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.iter().for_each(|name| root.package("repo", name, "1.0", "1", ""));
    root.publish(&root.files());
    root.install(&names);
    names.iter().for_each(|name| root.package("repo", name, "1.1", "1", ""));
    root.publish(&root.files());
    let list = || {
        let mut list = Command::new(root.at("bin/dnf"));
        list.arg("check-update");
        list
    };
    let watched = ["root/var/lib/rpm", "root/cache", "root/etc/yum.repos.d"];
    let watched = watched.map(|folder| root.folder().join(folder));
    let what = |of: &str| format!("DNF 4, {RPMS} pending, {of}, against `dnf check-update`");
    let [mut full, mut unchanged] = [const { Pairs::new() }; 2];
    ended(list());
    for _ in 0..rounds {
        let scanner = Dnf::with_programs(&root.folder().join("bin"), watched.to_vec());
        let (found, took) = look(&scanner, None).await;
        assert_eq!((found.checked.ok, found.checked.pending), (true, RPMS), "{:?}", found.checked);
        let (again, same) = look(&scanner, Some(&found)).await;
        assert_eq!(again, found);
        let listed = ended(list());
        full.add(took, listed);
        unchanged.add(same, listed);
    }
    vec![full.row(what("full"), FULL), unchanged.row(what("unchanged"), UNCHANGED)]
}

/// One look as the agent does it: whether there is anything to look at is part of it.
async fn look(scanner: &impl Scanner, last: Option<&Findings>) -> (Findings, Duration) {
    let begun = Instant::now();
    assert!(scanner.is_present().await);
    let found = scanner.scan(&ScanAsk { now: Clock::system().now(), last, by_person: false }).await;
    (found, begun.elapsed())
}

/// Runs a program to its end; what it prints goes where it costs nothing.
pub fn ended(mut program: Command) -> Duration {
    let begun = Instant::now();
    let status = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let took = begun.elapsed();
    assert!(matches!(status.code(), Some(0 | 100)), "{program:?}: {status}");
    took
}

/// What is measured and what it is compared with, one right after the other, again and again.
pub struct Pairs {
    ours: Vec<f64>,
    plain: Vec<f64>,
}

impl Pairs {
    /// Without any.
    pub const fn new() -> Self {
        Self { ours: Vec::new(), plain: Vec::new() }
    }

    fn add(&mut self, ours: Duration, plain: Duration) {
        self.ours.push(millis(ours));
        self.plain.push(millis(plain));
    }

    /// Measures one, in another order than the one before it; `back` undoes what either of them did.
    pub fn pair(
        &mut self,
        round: usize,
        ours: &impl Fn() -> Duration,
        plain: &impl Fn() -> Duration,
        back: &impl Fn(),
    ) {
        let after = |took: Duration| {
            back();
            took
        };
        if round.is_multiple_of(2) {
            let took = after(ours());
            self.add(took, after(plain()));
        } else {
            let took = after(plain());
            self.add(after(ours()), took);
        }
    }

    /// The median of the ratios.
    pub fn row(self, what: String, goal: Goal) -> Row {
        let ratios = Samples::new(self.ours.iter().zip(&self.plain).map(|(ours, plain)| ours / plain));
        let [ours, plain] = [self.ours, self.plain].map(|times| Samples::new(times).median());
        let detail = format!("{ours:.1} ms against {plain:.1}; largest ratio {:.2}", ratios.max());
        Row::new(what, goal, ratios.median(), "").detail(detail)
    }
}

/// The agent's own memory while it looks at a host that is far behind, against what it held before.
async fn memory(plan: &Plan) -> Vec<Row> {
    let root = AptRoot::new(MANY, MANY);
    let dir = tempfile::tempdir().unwrap();
    let agent = Rig::new("agent", dir.path())
        .env("LOG_LEVEL", "info")
        .env("APT_CONFIG", root.config().to_str().unwrap())
        .env("PATH", std::env::var("PATH").unwrap())
        .env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "always")
        // Nobody: what is found stays with the agent.
        .env("DOCKFLARE_MASTER_URL", "http://127.0.0.1:9")
        .env("DOCKFLARE_API_KEY", "key-that-is-only-shown")
        .start();
    let held = || Memory::of(agent.pid()).anon;
    // The first look is due three seconds after the start.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = held();
    assert!(!dir.path().join("apt").exists(), "it looks already");
    let done = format!("apt: {MANY} pending");
    let (begun, mut most) = (Instant::now(), idle);
    while !agent.log().contains(&done) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no look; its log:\n{}", agent.log());
        most = most.max(held());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    most = most.max(held());
    let pause = plan.count(30, 15);
    tokio::time::sleep(Duration::from_secs(pause as u64)).await;
    let after = held();
    agent.stop();
    let what = format!("agent's own memory above idle while {MANY} pending packages are found");
    let later = format!("the same {pause} s later, with what was found");
    let detail = format!("RssAnon {most:.1} MiB, idle {idle:.1}");
    vec![
        Row::new(what, Goal::AtMost(20.0), most - idle, "MiB").detail(detail),
        Row::new(later, Goal::AtMost(2.0), after - idle, "MiB").detail(format!("RssAnon {after:.1} MiB")),
    ]
}

/// Runs a shell script that must work; its arguments are `$1` and so on.
pub fn shell(script: &str, args: &[&str]) -> String {
    let mut bash = Command::new("/bin/bash");
    let ended = bash.args(["-euo", "pipefail", "-c", script, "bash"]).args(args).output().unwrap();
    assert!(ended.status.success(), "{script}\n{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// A file's path as text.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
