//! What DNF meets on hosts that are not plain: signed packages, modules, full disks, scripts that hang.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Scan;
use super::dnf_install::{AFTER, BEFORE, host, with};
use super::rpm_root::RpmRoot;
use super::shell;
use super::small_disk::SmallDisk;
use super::verbs::{self, PackageHost, outcome, plan_id, until_said};

fn verb(root: &RpmRoot, args: &[&str]) -> (i32, Value, String) {
    verbs::verb(&root.rig(), args)
}

/// A host that has t-lib 1.0 of a publisher whose signature it demands.
fn signed_host() -> RpmRoot {
    let root = RpmRoot::empty();
    root.make_key("publisher");
    root.package("repo", "t-lib", "1.0", "1", "");
    root.sign("publisher", &["t-lib-1.0-1"]);
    root.take_only_signed_with("publisher");
    root.offer();
    root.install(&["t-lib"]);
    root.package("repo", "t-lib", "1.1", "1", "");
    root
}

#[test]
fn a_package_that_its_publisher_signed_is_installed_and_taken_back() {
    let root = signed_host();
    root.sign("publisher", &["t-lib-1.1-1"]);
    root.offer();

    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-lib 1.1-1"]);
    let id = run["run"]["id"].as_str().unwrap();
    let (code, undo, errors) = verb(&root, &["rollback", id, "--yes", "--json"]);
    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!((root.installed(), root.audit()), (vec!["t-lib 1.0-1".to_owned()], String::new()));
}

#[test]
fn a_package_that_its_publisher_did_not_sign_is_refused_with_its_name_and_nothing_is_changed() {
    let root = signed_host();
    root.make_key("stranger");
    let unsigned = root.at("repo/t-lib-1.1-1.noarch.rpm");
    shell("cp \"$1\" \"$1.unsigned\"", &[&unsigned]);
    for (what, reason) in [
        ("stranger", "they are not correct"),
        ("nobody", "is not signed"),
        ("altered", "Problem opening package"),
    ] {
        shell("cp \"$1.unsigned\" \"$1\"", &[&unsigned]);
        match what {
            "stranger" => root.sign("stranger", &["t-lib-1.1-1"]),
            "altered" => {
                root.sign("publisher", &["t-lib-1.1-1"]);
                let alter = "at=$(($(stat -c %s \"$1\") - 9)); printf altered | \
                             dd of=\"$1\" bs=1 seek=$at conv=notrunc status=none";
                shell(alter, &[&unsigned]);
            }
            _ => {}
        }
        root.offer();

        let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

        let (word, said) = outcome(&run);
        assert_eq!((code, word), (1, "not_started"), "{what}: {run} {errors}");
        assert!(said.contains("GPG check FAILED") && said.contains("t-lib-1.1-1"), "{what}: {said}");
        assert!(said.contains(reason), "{what}: {said}");
        assert_eq!(
            (root.installed(), root.audit()),
            (vec!["t-lib 1.0-1".to_owned()], String::new()),
            "{what}"
        );
    }
}

/// What a repository says of one stream of a module, in its own form (version 2 of modulemd).
fn stream(stream: &str, packages: &[&str]) -> String {
    let packages: String = packages.iter().map(|package| format!("    - {package}.noarch\n")).collect();
    format!(
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: t-mod\n  stream: \"{stream}\"\n  version: 1\n  \
         context: c0ffee{stream}\n  arch: noarch\n  summary: fixture\n  description: fixture\n  license:\n    \
         module:\n    - MIT\n  artifacts:\n    rpms:\n{packages}...\n"
    )
}

#[test]
fn of_a_module_the_stream_that_is_enabled_is_offered_and_installed_and_no_other_one() {
    let root = RpmRoot::empty();
    root.package("repo", "t-web", "1.0", "1", "");
    root.package("repo", "t-web", "2.0", "1", "");
    root.package("repo", "t-tool", "1.0", "1", "");
    root.package("repo", "t-tool", "2.0", "1", "");
    let second = stream("2", &["t-web-0:2.0-1", "t-tool-0:2.0-1"]);
    root.modules(&format!("{}{second}", stream("1", &["t-web-0:1.0-1"])));
    root.offer();
    shell("\"$1\" -y -q module enable t-mod:1", &[&root.at("bin/dnf")]);
    root.install(&["t-web", "t-tool"]);
    assert_eq!(root.installed(), ["t-tool 1.0-1", "t-web 1.0-1"], "the other stream is not enabled");
    root.package("repo", "t-web", "1.1", "1", "");
    root.modules(&format!("{}{second}", stream("1", &["t-web-0:1.0-1", "t-web-0:1.1-1"])));
    root.offer();

    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (2, vec!["t-web 1.0-1 1.1-1".to_owned()]), "{}", scan.said);
    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-tool 1.0-1", "t-web 1.1-1"]);
    let id = run["run"]["id"].as_str().unwrap();
    let (code, undo, errors) = verb(&root, &["rollback", id, "--yes", "--json"]);
    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    assert_eq!(
        (root.installed(), root.audit().as_str()),
        (vec!["t-tool 1.0-1".into(), "t-web 1.0-1".into()], "")
    );
}

#[test]
fn a_disk_that_is_full_when_any_step_begins_leaves_the_host_on_a_way_on_or_back() {
    let root = host();
    let (code, run, errors) = verb(&root, &["install", "--plan", &plan_id(&root), "--yes", "--json"]);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let steps = verbs::steps(&root.rig());
    go_back(&root, "at first");
    for place in ["state", "root"] {
        let disk = SmallDisk::at(&root.at(place), "64m");
        for step in &steps {
            let at = format!("{place} is full at {step}");
            let id = plan_id(&root);
            let mut child = root.begin(&["install", "--plan", &id, "--yes"]);
            until_said(&mut child, step);
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::STOP).unwrap();
            disk.fill();
            kill_process(pid, Signal::CONT).unwrap();
            let ended = child.wait().unwrap();
            disk.free();

            if !ended.success() {
                // With room again it goes on where it can; what a package manager itself broke off is taken back.
                let (code, _, errors) = verb(&root, &["install", "--plan", &id, "--yes"]);
                assert!(code == 0 || root.installed() != AFTER, "{at}: {errors}");
            }
            go_back(&root, &at);
        }
    }
    println!("full when each of these began, lost none: {}", steps.join(", "));
}

/// Takes back what the newest run did; everything is as it was before.
fn go_back(root: &RpmRoot, at: &str) {
    let (_, history, _) = verb(root, &["history", "--json"]);
    let (code, out, errors) = verb(root, &["rollback", history["runs"][0]["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(code, 0, "{at}: {out} {errors}");
    assert_eq!((root.installed(), root.audit()), (BEFORE.map(str::to_owned).to_vec(), String::new()), "{at}");
}

#[test]
fn a_script_that_hangs_ends_the_run_with_its_name_and_the_run_is_taken_back_once_it_ended() {
    let root = with(&["t-slow"]);
    root.package_that_runs("t-slow", "1.1", "while not posix.access('/go') do posix.sleep(1) end");
    root.offer();
    let quick = root.rig().env("LIGHTSHIP__UPDATES__SILENCE_SECONDS", "5");

    let (code, run, errors) = verbs::verb(&quick, &["install", "--all", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("it hangs at") && reason.contains("t-slow"), "{reason}");
    let mut back = root.begin(&["rollback", run["run"]["id"].as_str().unwrap(), "--yes"]);
    until_said(&mut back, "waits for");
    std::fs::write(root.at("root/go"), "").unwrap();
    assert_eq!(back.wait().unwrap().code(), Some(0));
    assert_eq!((root.installed(), root.audit()), (vec!["t-slow 1.0-1".to_owned()], String::new()));
}
