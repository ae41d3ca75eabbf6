//! Runs of APT that failed and are gone on with, and installations that were broken off and are repaired.

use std::process::Stdio;

use serde_json::Value;

use super::apt_install::lock;
use super::apt_root::AptRoot;
use super::shell;
use super::verbs::{self, PackageHost, outcome};

fn verb(root: &AptRoot, args: &[&str]) -> (i32, Value, String) {
    verbs::verb(&root.rig(), args)
}

/// A host that is offered a version of t-bad whose script fails until the file `mended` is there.
fn bad_host() -> AptRoot {
    let root = AptRoot::with(&["t-bad", "t-lib"]);
    let script = format!("[ -e {}/mended ] || {{ echo boom >&2; exit 1; }}", root.at(""));
    root.package_that_runs("t-bad", "1.1", &script);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    root
}

fn mend(root: &AptRoot) {
    std::fs::write(root.at("mended"), "").unwrap();
}

#[test]
fn a_plan_whose_run_failed_is_gone_on_with_once_its_script_is_mended() {
    let root = bad_host();
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    let id = plan["id"].as_str().unwrap();
    let (code, said, errors) = verb(&root, &["install", "--plan", id, "--yes"]);
    assert_eq!(code, 1, "{errors}");
    let (on, back) = (format!("`lightship install --plan {}` goes on", &id[..12]), "takes it back");
    assert!(said.as_str().unwrap().contains(&on) && said.as_str().unwrap().contains(back), "{said}");
    let (code, run, _) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);
    assert_eq!((code, outcome(&run).0), (1, "failed"), "it is not mended yet: {run}");
    mend(&root);

    let (code, run, errors) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-bad 1.1 ii", "t-lib 1.1 ii"]);
    assert_eq!(root.audit(), "");
    let (_, history, _) = verb(&root, &["history", "--json"]);
    let outcomes: Vec<&str> =
        history["runs"].as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["verified", "failed", "failed"], "what failed stays in the record");

    let (code, back, errors) =
        verb(&root, &["rollback", run["run"]["id"].as_str().unwrap(), "--yes", "--json"]);
    assert_eq!((code, outcome(&back)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-bad 1.0 ii", "t-lib 1.0 ii"]);
}

#[test]
fn a_run_that_goes_on_and_waits_too_long_for_others_is_not_said_to_have_changed_nothing() {
    // given: a run that stopped in the middle
    let root = bad_host();
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    let id = plan["id"].as_str().unwrap();
    let (code, run, errors) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);
    assert_eq!((code, outcome(&run).0), (1, "failed"), "{errors}");
    let held = lock(&root.at("root/var/lib/dpkg/lock-frontend"));
    let quick = root.rig().env("LIGHTSHIP__UPDATES__LOCK_WAIT_SECONDS", "1");

    let (code, run, errors) = verbs::verb(&quick, &["install", "--plan", id, "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("since 1 s"), "{reason}");
    drop(held);
    mend(&root);
    let (code, run, errors) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
}

#[test]
fn what_is_half_installed_is_shown_and_repaired_only_when_that_is_ordered() {
    let root = bad_host();
    let (code, said, _) = verb(&root, &["repair", "--yes"]);
    assert_eq!((code, said.as_str().unwrap()), (0, "No installation of packages is broken off.\n"));
    // Somebody's own APT fails.
    let mut apt = root.program("apt-get");
    apt.args(["dist-upgrade", "-y"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!apt.status().unwrap().success());
    verb(&root, &["install", "--all", "--yes"]);
    assert_ne!(root.audit(), "", "an installation repairs nothing by the way");

    let (code, plan, errors) = verb(&root, &["repair", "--dry-run", "--json"]);

    assert_eq!(code, 2, "{errors}");
    let changes = plan["plan"]["changes"].as_array().unwrap();
    assert_eq!((changes.len(), &changes[0]["operation"]), (1, &"configure".into()), "{plan}");
    let (code, run, _) = verb(&root, &["repair", "--yes", "--json"]);
    assert_eq!((code, outcome(&run).0), (1, "failed"), "its script still fails: {run}");
    assert!(outcome(&run).1.contains("t-bad"), "{run}");
    mend(&root);
    let policy = root.at("policy.toml");
    std::fs::write(&policy, "repairs = false").unwrap();
    shell("chmod 644 \"$1\"", &[&policy]);
    let (code, _, errors) =
        root.rig().env("LIGHTSHIP__UPDATES__POLICY_FILE", policy).verb(&["repair", "--yes"]);
    assert!(code == 5 && errors.contains("may not be repaired"), "{code} {errors}");
    assert_ne!(root.audit(), "");

    let (code, run, errors) = verb(&root, &["repair", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(
        (root.audit(), root.installed()),
        (String::new(), vec!["t-bad 1.1 ii".into(), "t-lib 1.1 ii".into()])
    );
    let (_, history, _) = verb(&root, &["history", "--json"]);
    assert_eq!(history["runs"][0]["outcome"], "verified", "it is a run like any other");
}

#[test]
fn what_a_half_installed_package_lacks_comes_with_its_repair_and_nothing_else() {
    let root = AptRoot::with(&["t-app", "t-other"]);
    root.package("t-app", "1.1", "Depends: t-new\\n");
    root.package("t-new", "1.0", "");
    root.package("t-other", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    let unpack = "dpkg --root=\"$1\"/root --force-script-chrootless --unpack \"$1\"/repo/pool/stable/t-app_1.1_all.deb";
    shell(unpack, &[&root.at("")]);

    let (code, plan, errors) = verb(&root, &["repair", "--dry-run", "--json"]);

    assert_eq!(code, 2, "{errors}");
    let words: Vec<String> = plan["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            format!("{} {}", change["operation"].as_str().unwrap(), change["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(words, ["configure t-app", "install t-new"]);
    let (code, run, errors) = verb(&root, &["repair", "--yes", "--json"]);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-app 1.1 ii", "t-new 1.0 ii", "t-other 1.0 ii"]);
    assert_eq!(root.audit(), "");
}

#[test]
fn a_script_that_hangs_ends_the_run_with_its_name_and_the_plan_is_gone_on_with() {
    let root = AptRoot::with(&["t-slow"]);
    let script = format!("until [ -e {0}/go ]; do sleep 0.05; done", root.at(""));
    root.package_that_runs("t-slow", "1.1", &script);
    root.publish();
    root.apt(&["update"]);
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    let id = plan["id"].as_str().unwrap();
    let quick = root.rig().env("LIGHTSHIP__UPDATES__SILENCE_SECONDS", "5");

    let (code, run, errors) = verbs::verb(&quick, &["install", "--plan", id, "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("it hangs at") && reason.contains("t-slow"), "{reason}");
    assert_ne!(root.audit(), "", "the script was not ended");
    let mut going = root.begin(&["install", "--plan", id, "--yes"]);
    verbs::until_said(&mut going, "waits for");
    std::fs::write(root.at("go"), "").unwrap();

    assert_eq!(going.wait().unwrap().code(), Some(0));
    assert_eq!((root.installed(), root.audit()), (vec!["t-slow 1.1 ii".to_owned()], String::new()));
}
