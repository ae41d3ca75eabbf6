//! APT, as `lightship install` and `lightship rollback` change a host with it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::apt_root::AptRoot;
use super::verbs::{self, PackageHost, outcome, plan_id, until_said, until_there};
use super::{shell, text};
use crate::support::ship::{Rig, binary};

/// A host that has t-lib, t-app and t-old in version 1.0, and is offered 1.1 of t-app, which wants t-lib 1.1 and the
/// package t-new, and does not stand beside t-old.
pub(super) fn host() -> AptRoot {
    let root = AptRoot::empty();
    root.package("t-lib", "1.0", "");
    root.package("t-app", "1.0", "Depends: t-lib\\n");
    root.package("t-old", "1.0", "");
    root.publish();
    root.apt(&["update"]);
    root.apt(&["install", "-y", "t-app", "t-old"]);
    root.package("t-lib", "1.1", "");
    root.package("t-app", "1.1", "Depends: t-lib (>= 1.1), t-new\\nConflicts: t-old\\n");
    root.package("t-new", "1.0", "");
    offer(&root);
    root
}

/// The machine's own containers are nobody's business here.
pub(super) const NO_ENGINE: &str = "unix:///nonexistent/docker.sock";

pub(super) fn offer(root: &AptRoot) {
    root.publish();
    root.apt(&["update"]);
}

pub(super) const BEFORE: [&str; 3] = ["t-app 1.0 ii", "t-lib 1.0 ii", "t-old 1.0 ii"];
pub(super) const AFTER: [&str; 3] = ["t-app 1.1 ii", "t-lib 1.1 ii", "t-new 1.0 ii"];

fn verb(root: &AptRoot, args: &[&str]) -> (i32, Value, String) {
    verbs::verb(&root.rig(), args)
}

#[test]
fn a_plan_is_installed_exactly_and_taken_back_though_the_repository_forgot_the_old_versions() {
    let root = host();
    assert_eq!(root.automatic(), ["t-lib"]);
    let (code, plan, _) = verb(&root, &["plan-updates", "--all", "--json"]);
    assert_eq!(code, 2);
    let lines: Vec<String> = plan["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            let word = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
            ["operation", "name", "from", "to"].map(word).join(" ")
        })
        .collect();
    assert_eq!(
        lines,
        ["upgrade t-app 1.0 1.1", "upgrade t-lib 1.0 1.1", "install t-new - 1.0", "remove t-old 1.0 -"]
    );
    assert_eq!(root.installed(), BEFORE, "a plan changes nothing");

    let plan = plan_id(&root);
    let (code, run, errors) = verb(&root, &["install", "--plan", &plan, "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), AFTER);
    assert_eq!(root.automatic(), ["t-lib", "t-new"]);
    // Who did not hear that asks again.
    let (code, again, errors) = verb(&root, &["install", "--plan", &plan, "--yes", "--json"]);
    assert_eq!(
        (code, outcome(&again), &again["run"]["id"]),
        (0, ("verified", ""), &run["run"]["id"]),
        "{errors}"
    );

    // The repository and APT's cache forget what was there before.
    shell(
        "rm \"$1\"/repo/pool/stable/*_1.0_all.deb; rm -f \"$1\"/root/var/cache/apt/archives/*.deb",
        &[&root.at("")],
    );
    offer(&root);
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
    // And once more there is nothing to take back.
    let (code, out, _) = verb(&root, &["rollback", id, "--yes"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.as_str().unwrap().contains("everything is as it was before"), "{out}");
}

#[test]
fn what_goes_for_a_package_that_is_named_is_in_the_plan_and_comes_back() {
    let root = host();
    let (code, plan, errors) = verb(&root, &["plan-updates", "t-app", "--json"]);
    assert_eq!(code, 2, "{errors}");
    let removed: Vec<&Value> = plan["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["operation"] == "remove")
        .collect();
    assert_eq!((removed.len(), &removed[0]["name"]), (1, &"t-old".into()), "{plan}");
    let (code, _, errors) = verb(&root, &["install", "t-app", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), AFTER);
    let (code, _, errors) = verb(&root, &["rollback", "t-app", "t-lib", "t-new", "t-old", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn a_plan_that_no_longer_holds_is_refused_with_what_differs_and_nothing_is_changed() {
    let root = host();
    let id = plan_id(&root);
    root.package("t-lib", "1.2", "");
    offer(&root);
    let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 5, "{errors}");
    assert!(errors.contains("t-lib: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1"), "{errors}");
    assert_eq!(root.installed(), BEFORE);

    // The same names and versions with another content are another plan.
    let id = plan_id(&root);
    root.package("t-new", "1.0", "Section: admin\\n");
    offer(&root);
    let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 5, "{errors}");
    assert!(errors.contains("t-new: another file by the same name and version"), "{errors}");
    assert_eq!(root.installed(), BEFORE);

    let (code, _, errors) = verb(&root, &["install", "--plan", "0123456789abcdef", "--yes"]);
    assert!(code == 1 && errors.contains("no plan `0123456789abcdef` was shown"), "{errors}");
}

#[test]
fn a_file_that_was_altered_in_its_repository_is_never_unpacked() {
    let root = host();
    let id = plan_id(&root);
    // Not what the index says.
    shell("cp \"$1\"/t-new_1.0_all.deb \"$1\"/t-lib_1.1_all.deb", &[&root.at("repo/pool/stable")]);

    let (code, run, errors) = verb(&root, &["install", "--plan", &id, "--yes", "--json"]);

    assert_ne!(code, 0, "{errors}");
    assert_eq!(outcome(&run).0, "not_started", "{run}");
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn a_package_whose_script_fails_is_named_and_taken_back() {
    let root = AptRoot::with(&["t-bad", "t-lib"]);
    root.package_that_runs("t-bad", "1.1", "echo boom >&2; exit 1");
    root.package("t-lib", "1.1", "");
    offer(&root);

    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("t-bad") && reason.contains("post-installation script"), "{reason}");
    let id = run["run"]["id"].as_str().unwrap();
    let (_, whole, _) = verb(&root, &["history", id]);
    assert!(whole.as_str().unwrap().contains("boom"), "its log is kept: {whole}");
    assert_ne!(root.audit(), "");

    let (code, undo, errors) = verb(&root, &["rollback", id, "--yes", "--json"]);

    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-bad 1.0 ii", "t-lib 1.0 ii"]);
    assert_eq!(root.audit(), "");
}

#[test]
fn one_package_of_a_run_is_taken_back_by_its_name() {
    let root = AptRoot::with(&["t-one", "t-two"]);
    root.package("t-one", "1.1", "");
    root.package("t-two", "1.1", "");
    offer(&root);
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
    assert_eq!(code, 0, "{errors}");

    let (code, _, errors) = verb(&root, &["rollback", "t-one", "--yes"]);

    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-one 1.0 ii", "t-two 1.1 ii"]);
    let (code, _, errors) = verb(&root, &["rollback", "t-three", "--yes"]);
    assert!(code == 1 && errors.contains("no run on this host changed t-three"), "{errors}");
}

#[test]
fn only_what_is_named_is_installed_and_what_cannot_be_is_said() {
    let root = AptRoot::with(&["t-one", "t-two", "t-held"]);
    for name in ["t-one", "t-two", "t-held"] {
        root.package(name, "1.1", "");
    }
    offer(&root);
    assert!(root.program("apt-mark").args(["hold", "t-held"]).status().unwrap().success());
    let (code, plan, _) = verb(&root, &["plan-updates", "t-one", "t-held", "--json"]);
    assert_eq!((code, plan["plan"]["changes"].as_array().unwrap().len()), (2, 1), "{plan}");
    let left = &plan["plan"]["on_host"]["left_out"][0];
    assert!(left["name"] == "t-held" && left["reason"].as_str().unwrap().contains("on hold"), "{plan}");

    for odd in ["-oDPkg::Pre-Invoke::=touch /tmp/x", "../x", "a b", "t-one=1.0"] {
        let (code, _, errors) = verb(&root, &["install", "--yes", "--", odd]);
        assert!(code == 1 && errors.contains("cannot be the name of a package"), "{odd}: {errors}");
    }
    let (code, _, errors) = verb(&root, &["install"]);
    assert!(code == 1 && errors.contains("--security or --all"), "{errors}");
    let (code, _, errors) = verb(&root, &["install", "t-one"]);
    assert!(code == 1 && errors.contains("add `--yes`"), "{errors}");
    assert_eq!(root.installed(), ["t-held 1.0 hi", "t-one 1.0 ii", "t-two 1.0 ii"]);

    let (code, _, errors) = verb(&root, &["install", "t-one", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-held 1.0 hi", "t-one 1.1 ii", "t-two 1.0 ii"]);
}

#[test]
fn what_the_owner_of_the_host_forbids_is_not_done_whoever_asks() {
    let root = host();
    let policy = root.at("policy.toml");
    let asked = |text: &str, args: &[&str]| {
        std::fs::write(&policy, text).unwrap();
        shell("chmod 644 \"$1\"", &[&policy]);
        root.rig().env("LIGHTSHIP__UPDATES__POLICY_FILE", policy.clone()).verb(args)
    };
    for (text, reason) in [
        ("removals = false", "t-old: nothing may be removed"),
        ("deny = ['t-l*']", "t-lib: `t-l*` is denied"),
        ("kinds = ['docker_image']", "t-app: changes of kind `apt` are not allowed"),
    ] {
        let (code, _, errors) = asked(text, &["install", "--all", "--yes"]);
        assert!(code == 5 && errors.contains(reason), "{text}: {code} {errors}");
    }
    let (code, _, errors) = asked("removal = false", &["install", "--all", "--yes"]);
    assert!(code == 1 && errors.contains("cannot be followed") && errors.contains("removal"), "{errors}");
    shell("chmod 666 \"$1\"", &[&policy]);
    let rig = root.rig().env("LIGHTSHIP__UPDATES__POLICY_FILE", policy.clone());
    let (code, _, errors) = rig.verb(&["install", "--all", "--yes"]);
    assert!(code == 1 && errors.contains("others than root may write it"), "{errors}");
    assert_eq!(root.installed(), BEFORE);

    let (code, _, errors) = asked("allow = ['t-*']", &["install", "--all", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    let back = ["rollback", "t-app", "t-lib", "t-new", "t-old", "--yes"];
    let (code, _, errors) = asked("removals = false\ndowngrades = false", &back);
    assert_eq!(code, 0, "what was before may come back: {errors}");
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn security_alone_takes_what_mends_a_hole() {
    let root = AptRoot::with(&["t-lib", "t-sec"]);
    root.package("t-lib", "1.1", "");
    root.security_package("t-sec", "1.1");
    offer(&root);
    let (code, _, errors) = verb(&root, &["install", "--security", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-lib 1.0 ii", "t-sec 1.1 ii"]);
}

#[test]
fn an_edited_configuration_file_is_in_the_plan_and_stays() {
    let root = AptRoot::empty();
    root.package_with_config("t-conf", "1.0", "one");
    root.package_with_config("t-plain", "1.0", "one");
    offer(&root);
    root.apt(&["install", "-y", "t-conf", "t-plain"]);
    std::fs::write(root.at("root/etc/t-conf.conf"), "mine\n").unwrap();
    root.package_with_config("t-conf", "1.1", "two");
    root.package_with_config("t-plain", "1.1", "two");
    offer(&root);

    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    let files = plan["plan"]["on_host"]["config_files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{plan}");
    assert_eq!((&files[0]["package"], &files[0]["path"]), (&"t-conf".into(), &"/etc/t-conf.conf".into()));
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);

    assert_eq!(code, 0, "{errors}");
    let read = |name: &str| std::fs::read_to_string(root.at(name)).unwrap();
    assert_eq!(read("root/etc/t-conf.conf"), "mine\n");
    assert_eq!(read("root/etc/t-conf.conf.dpkg-dist"), "two\n");
    assert_eq!(read("root/etc/t-plain.conf"), "two\n");
    let (code, _, errors) = verb(&root, &["rollback", "t-conf", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(read("root/etc/t-conf.conf"), "mine\n", "and stays when it is taken back");
}

#[test]
fn an_ordinary_user_sees_the_plan_and_is_told_that_installing_needs_root() {
    let root = host();
    shell("chmod -R a+rX \"$1\"", &[&root.at("")]);
    let state = tempfile::tempdir().unwrap();
    shell("chown 65534 \"$1\"", &[&text(state.path())]);
    let as_user = |args: &[&str]| {
        let mut verb = Command::new(binary());
        verb.args(args).uid(65534).gid(65534).env_clear().current_dir("/");
        verb.env("APT_CONFIG", root.config())
            .env("LIGHTSHIP_STATE_DIR", state.path())
            .env("DOCKER_HOST", NO_ENGINE);
        let ended = verb.output().unwrap();
        (ended.status.code().unwrap(), ended.stdout, String::from_utf8_lossy(&ended.stderr).into_owned())
    };

    let (code, out, errors) = as_user(&["plan-updates", "--json"]);

    assert_eq!(code, 2, "{errors}");
    let plan: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(plan["id"], plan_id(&root), "it is the plan that root gets");
    let (code, _, errors) = as_user(&["install", "--all", "--yes"]);
    assert!(code == 4 && errors.contains("needs root"), "{errors}");
    assert_eq!(root.installed(), BEFORE);
}

/// Holds a file's lock as APT and dpkg hold theirs.
pub(super) fn lock(path: &str) -> std::fs::File {
    let file =
        std::fs::File::options().create(true).truncate(false).write(true).read(true).open(path).unwrap();
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

#[test]
fn whoever_installs_already_is_named_and_waited_for() {
    let root = host();
    for file in ["lib/dpkg/lock-frontend", "lib/dpkg/lock", "cache/apt/archives/lock", "lib/apt/lists/lock"] {
        let held = lock(&root.at(&format!("root/var/{file}")));
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let mut child = root.begin(&["install", "t-lib", "--yes"]);
        let waits = format!("waits for `{}` (process {})", name.trim(), std::process::id());
        until_said(&mut child, &waits);
        drop(held);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{file}");
        let (code, _, errors) = verb(&root, &["rollback", "t-lib", "--yes"]);
        assert_eq!(code, 0, "{errors}");
    }
}

/// A host on which the new version of t-slow waits in its script until the file `go` is there.
fn slow_host() -> AptRoot {
    let root = AptRoot::with(&["t-slow", "t-lib"]);
    let script = format!("touch {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done", root.at(""));
    root.package_that_runs("t-slow", "1.1", &script);
    root.package("t-lib", "1.1", "");
    offer(&root);
    root
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_dpkg_goes_on_with_the_same_plan_or_back() {
    for goes_on in [true, false] {
        let root = slow_host();
        let id = plan_id(&root);
        let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
        until_there(&root.at("begun"));

        root.kill_all(&mut child);

        assert_ne!(root.audit(), "", "it was in the middle");
        std::fs::write(root.at("go"), "").unwrap();
        let (_, history, _) = verb(&root, &["history", "--json"]);
        let run = history["runs"][0].clone();
        assert_eq!((&run["outcome"], &run["step"]), (&Value::Null, &"apt.apply".into()));
        let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
        assert!(code == 1 && errors.contains("was cut off in its step apt.apply"), "{errors}");
        if goes_on {
            let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
            assert_eq!(code, 0, "{errors}");
            assert_eq!(root.installed(), ["t-lib 1.1 ii", "t-slow 1.1 ii"]);
        } else {
            let (code, _, errors) = verb(&root, &["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{errors}");
            assert_eq!(root.installed(), ["t-lib 1.0 ii", "t-slow 1.0 ii"]);
        }
        assert_eq!(root.audit(), "");
    }
}

#[test]
fn a_run_whose_program_alone_is_killed_is_ended_by_apt_and_looked_at_afterwards() {
    let root = slow_host();
    let id = plan_id(&root);
    let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
    until_there(&root.at("begun"));
    // Whoever comes meanwhile is told that it is under way, not that it was cut off.
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
    assert!(code == 1 && errors.contains("another run is under way"), "{errors}");
    child.kill().unwrap();
    child.wait().unwrap();

    // APT is still at work; who goes on waits for it.
    let mut second = root.begin(&["install", "--plan", &id, "--yes"]);
    until_said(&mut second, "waits for");
    std::fs::write(root.at("go"), "").unwrap();

    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert_eq!(root.installed(), ["t-lib 1.1 ii", "t-slow 1.1 ii"]);
    assert_eq!(root.audit(), "");
}

#[test]
fn an_apt_that_is_killed_alone_ends_the_run_as_failed_and_what_is_half_installed_is_named_and_taken_back() {
    let root = slow_host();
    let id = plan_id(&root);
    let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
    until_there(&root.at("begun"));

    root.kill_packages();

    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_ne!(root.audit(), "", "it was in the middle");
    std::fs::write(root.at("go"), "").unwrap();
    let (_, history, _) = verb(&root, &["history", "--json"]);
    let run = &history["runs"][0];
    assert_eq!((&run["outcome"], &run["step"]), (&"failed".into(), &"apt.apply".into()), "{run}");
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    let left = plan["plan"]["on_host"]["left_out"].to_string();
    assert!(left.contains("t-slow") && left.contains("it is half installed"), "{plan}");
    let (code, out, errors) = verb(&root, &["rollback", run["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(code, 0, "{out} {errors}");
    assert_eq!(root.installed(), ["t-lib 1.0 ii", "t-slow 1.0 ii"]);
    assert_eq!(root.audit(), "");
}

impl PackageHost for AptRoot {
    fn rig(&self) -> Rig {
        self.rig()
    }

    fn path(&self, path: &str) -> String {
        self.at(path)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("APT_CONFIG", text(&self.config()))]
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
