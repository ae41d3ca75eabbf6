//! DNF 4, as `lightship install` and `lightship rollback` change a host with it.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::rpm_root::{Advisory, RpmRoot};
use super::shell;
use super::verbs::{self, PackageHost, outcome, plan_id, until_said, until_there};
use crate::support::ship::Rig;

/// A host that has t-lib, t-app and t-old in version 1.0, and is offered 1.1 of t-app, which wants t-lib 1.1 and the
/// package t-new; t-next takes the place of t-old.
pub(super) fn host() -> RpmRoot {
    let root = RpmRoot::empty();
    root.package("repo", "t-lib", "1.0", "1", "");
    root.package("repo", "t-app", "1.0", "1", r"Requires: t-lib\n");
    root.package("repo", "t-old", "1.0", "1", "");
    root.offer();
    root.install(&["t-app", "t-old"]);
    root.package("repo", "t-lib", "1.1", "1", r"Epoch: 1\n");
    root.package("repo", "t-app", "1.1", "1", r"Requires: t-lib >= 1:1.1\nRequires: t-new\n");
    root.package("repo", "t-new", "1.0", "1", "");
    root.package("repo", "t-next", "2.0", "1", r"Obsoletes: t-old < 2\n");
    root.offer();
    root
}

/// A host that has these in version 1.0.
pub(super) fn with(names: &[&str]) -> RpmRoot {
    let root = RpmRoot::empty();
    for name in names {
        root.package("repo", name, "1.0", "1", "");
    }
    root.offer();
    root.install(names);
    root
}

pub(super) const BEFORE: [&str; 3] = ["t-app 1.0-1", "t-lib 1.0-1", "t-old 1.0-1"];
pub(super) const AFTER: [&str; 4] = ["t-app 1.1-1", "t-lib 1:1.1-1", "t-new 1.0-1", "t-next 2.0-1"];

fn verb(root: &RpmRoot, args: &[&str]) -> (i32, Value, String) {
    verbs::verb(&root.rig(), args)
}

fn lines_of(plan: &Value) -> Vec<String> {
    let line = |change: &Value| {
        let word = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
        ["operation", "name", "from", "to"].map(word).join(" ")
    };
    plan["plan"]["changes"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_plan_is_installed_exactly_and_taken_back_though_the_repository_forgot_the_old_versions() {
    let root = host();
    assert_eq!(root.automatic(), ["t-lib"]);
    let (code, plan, errors) = verb(&root, &["plan-updates", "--all", "--json"]);
    assert_eq!(code, 2, "{errors}");
    assert_eq!(
        lines_of(&plan),
        [
            "upgrade t-app 1.0-1 1.1-1",
            "upgrade t-lib 1.0-1 1:1.1-1",
            "install t-new - 1.0-1",
            "install t-next - 2.0-1",
            "remove t-old 1.0-1 -",
        ]
    );
    assert!(plan["undo"].as_str().unwrap().contains("5 of 5 certain"), "{plan}");
    assert_eq!(root.installed(), BEFORE, "a plan changes nothing");

    let (code, run, errors) = verb(&root, &["install", "--plan", &plan_id(&root), "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), AFTER);
    assert_eq!(root.automatic(), ["t-lib", "t-new"]);

    shell("rm \"$1\"/repo/t-*-1.0-1.noarch.rpm", &[&root.at("")]);
    root.offer();
    let id = run["run"]["id"].as_str().unwrap();
    let (code, undo, _) = verb(&root, &["rollback", id, "--dry-run"]);
    assert_eq!(code, 2, "{undo}");
    assert_eq!(root.installed(), AFTER, "a dry run changes nothing");
    let (code, undo, errors) = verb(&root, &["rollback", id, "--yes", "--json"]);

    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), BEFORE);
    assert_eq!(root.automatic(), ["t-lib"], "what was there for others' sake still is");
    assert_eq!(root.audit(), "");
    let (_, history, _) = verb(&root, &["history", "--json"]);
    let runs = history["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[1]["undone_by"]), (2, &runs[0]["id"]));
    let (code, out, _) = verb(&root, &["rollback", id, "--yes"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.as_str().unwrap().contains("everything is as it was before"), "{out}");
}

#[test]
fn a_plan_that_no_longer_holds_is_refused_with_what_differs_and_nothing_is_changed() {
    let root = host();
    let id = plan_id(&root);
    root.package("repo", "t-lib", "1.2", "1", r"Epoch: 1\n");
    root.offer();
    let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 5, "{errors}");
    assert!(
        errors.contains("t-lib: upgrade 1.0-1 → 1:1.2-1, planned was upgrade 1.0-1 → 1:1.1-1"),
        "{errors}"
    );
    assert_eq!(root.installed(), BEFORE);

    // The same names and versions with another content are another plan.
    let id = plan_id(&root);
    root.package("repo", "t-new", "1.0", "1", r"Vendor: another\n");
    root.offer();
    let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 5, "{errors}");
    assert!(errors.contains("t-new: another file by the same name and version"), "{errors}");
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn a_file_that_was_altered_in_its_repository_is_never_installed() {
    let root = host();
    let id = plan_id(&root);
    // Another package by the same name and version, and not what the repository's description says.
    root.package("repo", "t-new", "1.0", "1", r"Vendor: another\n");

    let (code, run, errors) = verb(&root, &["install", "--plan", &id, "--yes", "--json"]);

    assert_ne!(code, 0, "{errors}");
    let (word, reason) = outcome(&run);
    assert_eq!(word, "not_started", "{run}");
    assert!(reason.contains("t-new"), "{reason}");
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn a_package_whose_script_fails_is_named_and_taken_back() {
    let root = with(&["t-bad", "t-lib"]);
    root.package_that_runs("t-bad", "1.1", "error('boom')");
    root.package("repo", "t-lib", "1.1", "1", "");
    root.offer();

    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("POSTIN of t-bad") && reason.contains("boom"), "{reason}");
    let id = run["run"]["id"].as_str().unwrap();
    let (code, undo, errors) = verb(&root, &["rollback", id, "--yes", "--json"]);

    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-bad 1.0-1", "t-lib 1.0-1"]);
    assert_eq!(root.audit(), "");
}

#[test]
fn one_package_of_a_run_is_taken_back_by_its_name() {
    let root = with(&["t-one", "t-two"]);
    root.package("repo", "t-one", "1.1", "1", "");
    root.package("repo", "t-two", "1.1", "1", "");
    root.offer();
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
    assert_eq!(code, 0, "{errors}");

    let (code, _, errors) = verb(&root, &["rollback", "t-one", "--yes"]);

    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-one 1.0-1", "t-two 1.1-1"]);
}

#[test]
fn only_what_is_named_is_installed_and_what_cannot_be_is_said() {
    let root = with(&["t-one", "t-two", "t-bad"]);
    root.package("repo", "t-one", "1.1", "1", "");
    root.package("repo", "t-two", "1.1", "1", "");
    root.package("repo", "t-bad", "1.1", "1", r"Requires: nowhere >= 3\n");
    root.offer();
    let (code, plan, errors) = verb(&root, &["plan-updates", "t-one", "t-bad", "t-nix", "--json"]);
    assert_eq!((code, lines_of(&plan)), (2, vec!["upgrade t-one 1.0-1 1.1-1".to_owned()]), "{errors}");
    let left = plan["plan"]["on_host"]["left_out"].as_array().unwrap();
    let reason_of = |name: &str| {
        let found = left.iter().find(|left| left["name"] == name);
        found.unwrap_or_else(|| panic!("{plan}"))["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason_of("t-bad").contains("nothing provides nowhere >= 3"), "{plan}");
    assert_eq!(reason_of("t-nix"), "it is not installed");

    for odd in ["--installroot=/tmp/x", "-y", "@core", "../x.rpm", "a b", "t-one=1.0", "*"] {
        let (code, _, errors) = verb(&root, &["install", "--yes", "--", odd]);
        assert!(code == 1 && errors.contains("cannot be the name of a package"), "{odd}: {errors}");
    }
    assert_eq!(root.installed(), ["t-bad 1.0-1", "t-one 1.0-1", "t-two 1.0-1"]);

    let (code, _, errors) = verb(&root, &["install", "t-one", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-bad 1.0-1", "t-one 1.1-1", "t-two 1.0-1"]);
}

#[test]
fn security_alone_takes_what_mends_a_hole() {
    let root = with(&["t-lib", "t-sec"]);
    root.package("repo", "t-lib", "1.1", "1", "");
    root.package("repo", "t-sec", "1.1", "1", "");
    root.advisories(&[Advisory {
        id: "RLSA-2026:1",
        kind: "security",
        severity: "Important",
        cve: None,
        package: ("t-sec", "0", "1.1", "1"),
    }]);
    root.offer();
    let (code, _, errors) = verb(&root, &["install", "--security", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-lib 1.0-1", "t-sec 1.1-1"]);
}

#[test]
fn a_kernel_comes_beside_the_others_the_oldest_goes_and_both_are_taken_back() {
    let root = RpmRoot::empty();
    for version in ["6.0", "6.1", "6.2"] {
        root.package("repo", "kernel", version, "1", "");
        root.offer();
        root.install(&[&format!("kernel-{version}")]);
    }
    let before = ["kernel 6.0-1", "kernel 6.1-1", "kernel 6.2-1"];
    assert_eq!(root.installed(), before);
    root.package("repo", "kernel", "6.3", "1", "");
    root.offer();

    let (_, plan, errors) = verb(&root, &["plan-updates", "--json"]);
    assert_eq!(lines_of(&plan), ["install kernel - 6.3-1", "remove kernel 6.0-1 -"], "{errors}");
    assert!(plan["plan"]["on_host"]["reboot"].as_str().unwrap().contains("kernel"), "{plan}");
    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["kernel 6.1-1", "kernel 6.2-1", "kernel 6.3-1"]);

    let (code, undo, errors) =
        verb(&root, &["rollback", run["run"]["id"].as_str().unwrap(), "--yes", "--json"]);
    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), before);
}

/// A host on which the new version of t-slow, and t-first, which is new, wait in their scripts until they may go on; each
/// notes what its script was told.
fn slow_host() -> RpmRoot {
    let root = with(&["t-slow", "t-lib"]);
    let script = |name: &str| {
        format!(
            "local f = io.open('/told-{name}', 'a'); f:write(tostring(arg[2])); f:close(); \
             io.open('/begun-{name}', 'w'):close(); while not posix.access('/go-{name}') do end"
        )
    };
    let slow = format!(r"Requires: t-first\n\n%%post -p <lua>\n{}\n", script("t-slow"));
    root.package("repo", "t-slow", "1.1", "1", &slow);
    root.package_that_runs("t-first", "1.0", &script("t-first"));
    root.package("repo", "t-lib", "1.1", "1", "");
    root.offer();
    root
}

fn may_go_on(root: &RpmRoot, name: &str) {
    std::fs::write(root.at(&format!("root/go-{name}")), "").unwrap();
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_a_script_goes_on_with_the_same_plan_or_back() {
    for (at, goes_on) in [("t-slow", true), ("t-slow", false), ("t-first", true), ("t-first", false)] {
        let root = slow_host();
        let id = plan_id(&root);
        if at == "t-slow" {
            may_go_on(&root, "t-first");
        }
        let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
        until_there(&root.at(&format!("root/begun-{at}")));
        root.kill_all(&mut child);
        may_go_on(&root, "t-first");
        may_go_on(&root, "t-slow");

        let (_, history, _) = verb(&root, &["history", "--json"]);
        let run = history["runs"][0].clone();
        let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
        assert_eq!((&run["outcome"], &run["step"]), (&Value::Null, &"dnf.apply".into()), "{at}");
        assert!(code == 1 && errors.contains("was cut off in its step dnf.apply"), "{at}: {errors}");
        if goes_on {
            let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
            assert_eq!(code, 0, "{at}: {errors}");
            assert_eq!(root.installed(), ["t-first 1.0-1", "t-lib 1.1-1", "t-slow 1.1-1"], "{at}");
            let told = std::fs::read_to_string(root.at("root/told-t-first")).unwrap();
            assert!(told.ends_with('1'), "{at}: its script is told that it is new: {told}");
        } else {
            let (code, _, errors) = verb(&root, &["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{at}: {errors}");
            assert_eq!(root.installed(), ["t-lib 1.0-1", "t-slow 1.0-1"], "{at}");
        }
        assert_eq!(root.audit(), "", "{at}");
    }
}

#[test]
fn a_run_whose_program_alone_is_killed_is_ended_by_dnf_and_looked_at_afterwards() {
    let root = slow_host();
    let id = plan_id(&root);
    let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
    until_there(&root.at("root/begun-t-first"));
    child.kill().unwrap();
    child.wait().unwrap();

    // DNF is still at work; who goes on waits for it.
    let mut second = root.begin(&["install", "--plan", &id, "--yes"]);
    until_said(&mut second, "which this run began");
    may_go_on(&root, "t-first");
    may_go_on(&root, "t-slow");

    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert_eq!(root.installed(), ["t-first 1.0-1", "t-lib 1.1-1", "t-slow 1.1-1"]);
    let told = std::fs::read_to_string(root.at("root/told-t-first")).unwrap();
    assert_eq!(told, "1", "nothing was done twice");
}

#[test]
fn whoever_installs_already_is_named_and_waited_for() {
    let root = slow_host();
    let mut other = Command::new(root.at("bin/dnf"));
    other.args(["-y", "upgrade", "t-slow"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().unwrap();
    until_there(&root.at("root/begun-t-first"));

    let mut child = root.begin(&["install", "t-lib", "--yes"]);
    until_said(&mut child, &format!("waits for `dnf` (process {})", other.id()));
    may_go_on(&root, "t-first");
    may_go_on(&root, "t-slow");

    assert!(other.wait().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(root.installed(), ["t-first 1.0-1", "t-lib 1.1-1", "t-slow 1.1-1"]);
}

impl PackageHost for RpmRoot {
    fn rig(&self) -> Rig {
        self.rig()
    }

    fn path(&self, path: &str) -> String {
        self.at(path)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("PATH", self.programs()), ("APT_CONFIG", self.at("apt.conf"))]
    }

    fn installed(&self) -> Vec<String> {
        self.installed()
    }

    fn audit(&self) -> String {
        self.audit()
    }
}

#[test]
fn a_run_that_is_killed_when_any_of_its_steps_begins_ends_verified_with_the_same_plan_or_is_taken_back() {
    verbs::killed_at_every_step(host, &BEFORE, &AFTER);
}
