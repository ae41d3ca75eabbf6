//! What the tests of installers have in common: how verbs are begun, and what they say.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::apt_install::NO_ENGINE;
use super::shell;
use crate::support::ship::{Rig, binary};

/// Runs a verb: its exit code, what it says as JSON or as text, and what it says beside it.
pub fn verb(rig: &Rig, args: &[&str]) -> (i32, Value, String) {
    let (code, out, errors) = rig.verb(args);
    (code, serde_json::from_str(&out).unwrap_or(Value::String(out)), errors)
}

/// The steps that the host's newest run took.
pub fn steps(rig: &Rig) -> Vec<String> {
    let (_, history, _) = verb(rig, &["history", "--json"]);
    let (_, run, _) = verb(rig, &["history", history["runs"][0]["id"].as_str().unwrap(), "--json"]);
    let steps = run["steps"].as_array().unwrap_or_else(|| panic!("{run}"));
    assert!(!steps.is_empty(), "{run}");
    steps.iter().map(|step| step["name"].as_str().unwrap().to_owned()).collect()
}

/// How a run came out, in a word and in its reason.
pub fn outcome(run: &Value) -> (&str, &str) {
    (run["run"]["outcome"].as_str().unwrap_or("-"), run["run"]["reason"].as_str().unwrap_or_default())
}

/// Reads what it says beside its data until it says this.
pub fn until_said(child: &mut Child, words: &str) {
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(words) {
            return;
        }
        said.push(line);
    }
    panic!("it never said {words:?}: {said:#?}");
}

/// Waits until a file is there.
pub fn until_there(path: &str) {
    let due = Instant::now() + Duration::from_secs(60);
    while !std::path::Path::new(path).exists() {
        assert!(Instant::now() < due, "`{path}` was never made");
        std::thread::yield_now();
    }
}

/// A private root whose packages are changed.
pub trait PackageHost {
    /// Its verbs.
    fn rig(&self) -> Rig;

    /// A path below its folder.
    fn path(&self, path: &str) -> String;

    /// What makes programs see it.
    fn environment(&self) -> Vec<(&'static str, String)>;

    /// What is installed.
    fn installed(&self) -> Vec<String>;

    /// What the package manager finds wrong.
    fn audit(&self) -> String;

    /// Begins a verb.
    fn begin(&self, args: &[&str]) -> Child {
        self.begin_with(&[], args)
    }

    /// Begins a verb that is handed to another program, named with its own arguments.
    fn begin_with(&self, before: &[&str], args: &[&str]) -> Child {
        let program = binary();
        let whole = [before, &[program.to_str().unwrap()], args].concat();
        let mut verb = Command::new(whole[0]);
        verb.args(&whole[1..]).envs(self.environment()).env("DOCKER_HOST", NO_ENGINE);
        verb.env("LIGHTSHIP_STATE_DIR", self.path("state"));
        verb.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Ends a verb and all that it started.
    fn kill_all(&self, child: &mut Child) {
        child.kill().unwrap();
        child.wait().unwrap();
        self.kill_packages();
    }

    /// Ends what works on its packages, which is in a group of its own and goes on without us.
    fn kill_packages(&self) {
        shell(
            "pkill -KILL -f \"$1/root\" || true; while pgrep -f \"$1/root\" >/dev/null; do :; done",
            &[&self.path("")],
        );
    }
}

/// The id of the plan for all that is pending.
pub fn plan_id(host: &impl PackageHost) -> String {
    let (code, plan, errors) = verb(&host.rig(), &["plan-updates", "--json"]);
    assert_eq!(code, 2, "{errors}");
    plan["id"].as_str().unwrap_or_else(|| panic!("{plan}")).to_owned()
}

/// Kills a run when each of its steps begins, as an undisturbed one names them; then the same plan again, or the way back.
pub fn killed_at_every_step<H: PackageHost>(host: impl Fn() -> H, before: &[&str], after: &[&str]) {
    let whole = host();
    let (code, out, errors) = verb(&whole.rig(), &["install", "--plan", &plan_id(&whole), "--yes"]);
    assert_eq!(code, 0, "{out} {errors}");
    let steps = steps(&whole.rig());
    for (step, goes_on) in steps.iter().flat_map(|step| [(step, true), (step, false)]) {
        let host = host();
        let id = plan_id(&host);
        let mut child = host.begin(&["install", "--plan", &id, "--yes"]);
        until_said(&mut child, step);

        host.kill_all(&mut child);

        let (_, history, _) = verb(&host.rig(), &["history", "--json"]);
        let run = history["runs"][0].clone();
        if goes_on {
            // Whatever it came to: the same plan, if there is still something to do.
            let (code, out, errors) = verb(&host.rig(), &["install", "--plan", &id, "--yes"]);
            assert!(code == 0 || host.installed() == after, "{step}: {code} {out} {errors}");
            assert_eq!(host.installed(), after, "{step}");
            let (_, history, _) = verb(&host.rig(), &["history", "--json"]);
            assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{step}: it is one run");
            assert_eq!(history["runs"][0]["outcome"], "verified", "{step}");
        } else {
            let (code, out, errors) = verb(&host.rig(), &["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{step}: {out} {errors}");
            assert_eq!(host.installed(), before, "{step}");
        }
        assert_eq!(host.audit(), "", "{step}");
    }
    println!("killed when each of these began, lost none, doubled none: {}", steps.join(", "));
}
