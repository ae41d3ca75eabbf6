//! What APT meets on hosts that are not plain: two architectures, essential packages, phases, pins, configuration files that are
//! gone, files that were altered, repositories that vanish, full disks.

use serde_json::Value;

use super::apt_install::{AFTER, BEFORE, host, offer};
use super::apt_root::AptRoot;
use super::file_server::FileServer;
use super::shell;
use super::small_disk::SmallDisk;
use super::verbs::{self, outcome};

fn verb(root: &AptRoot, args: &[&str]) -> (i32, Value, String) {
    verbs::verb(&root.rig(), args)
}

fn changes(plan: &Value) -> Vec<String> {
    let word = |change: &Value, key: &str| change[key].as_str().unwrap_or("-").to_owned();
    let all = plan["plan"]["changes"].as_array().unwrap_or_else(|| panic!("{plan}"));
    all.iter()
        .map(|change| ["operation", "name", "arch", "to"].map(|key| word(change, key)).join(" "))
        .collect()
}

fn left_out(plan: &Value, name: &str) -> String {
    let left = plan["plan"]["on_host"]["left_out"].as_array().unwrap();
    let found = left.iter().find(|left| left["name"] == name);
    found.unwrap_or_else(|| panic!("{plan}"))["reason"].as_str().unwrap().to_owned()
}

#[test]
fn both_architectures_of_a_package_change_together_and_go_back_together() {
    let root = AptRoot::empty();
    root.add_architecture("i386");
    for version in ["1.0", "1.1"] {
        for arch in ["amd64", "i386"] {
            root.package_of(arch, "t-pair", version);
        }
        if version == "1.0" {
            offer(&root);
            root.apt(&["install", "-y", "t-pair:amd64", "t-pair:i386"]);
        }
    }
    offer(&root);
    let (_, plan, errors) = verb(&root, &["plan-updates", "--json"]);
    assert_eq!(changes(&plan), ["upgrade t-pair amd64 1.1", "upgrade t-pair i386 1.1"], "{errors}");

    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-pair 1.1 ii", "t-pair 1.1 ii"]);
    let (code, back, errors) =
        verb(&root, &["rollback", run["run"]["id"].as_str().unwrap(), "--yes", "--json"]);
    assert_eq!((code, outcome(&back)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-pair 1.0 ii", "t-pair 1.0 ii"]);
    assert_eq!(root.audit(), "");
}

#[test]
fn an_essential_package_is_upgraded_and_never_removed() {
    let root = AptRoot::empty();
    root.package("t-ess", "1.0", "Essential: yes\\n");
    root.package("t-app", "1.0", "");
    offer(&root);
    root.apt(&["install", "-y", "t-ess", "t-app"]);
    root.package("t-ess", "1.1", "Essential: yes\\n");
    offer(&root);
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-app 1.0 ii", "t-ess 1.1 ii"]);

    root.package("t-app", "1.1", "Conflicts: t-ess\\n");
    offer(&root);
    let (code, out, errors) = verb(&root, &["install", "t-app", "--yes"]);

    assert_ne!(code, 2, "{out} {errors}");
    assert_eq!(root.installed(), ["t-app 1.0 ii", "t-ess 1.1 ii"], "{out} {errors}");
    assert_eq!(root.audit(), "");
}

#[test]
fn what_is_held_by_its_phase_or_pinned_to_another_version_stays_and_is_not_called_new() {
    let root = AptRoot::with(&["t-phased", "t-pinned", "t-plain"]);
    root.package("t-phased", "1.1", "Phased-Update-Percentage: 0\\n");
    root.package("t-pinned", "1.1", "");
    root.package("t-plain", "1.1", "");
    let pin = "Package: t-pinned\nPin: version 1.0\nPin-Priority: 1001\n";
    std::fs::write(root.at("root/etc/apt/preferences.d/pin"), pin).unwrap();
    offer(&root);

    let (_, plan, errors) = verb(&root, &["plan-updates", "--json"]);
    assert_eq!(changes(&plan), ["upgrade t-plain all 1.1"], "{errors}");
    let (_, named, _) = verb(&root, &["plan-updates", "t-pinned", "--json"]);
    assert_eq!(changes(&named), Vec::<String>::new());
    assert!(left_out(&named, "t-pinned").contains("nothing newer"), "{named}");
    let (code, _, errors) = verb(&root, &["install", "--all", "--yes"]);

    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), ["t-phased 1.0 ii", "t-pinned 1.0 ii", "t-plain 1.1 ii"]);
}

#[test]
fn a_configuration_file_that_was_deleted_stays_deleted() {
    let root = AptRoot::empty();
    root.package_with_config("t-conf", "1.0", "one");
    offer(&root);
    root.apt(&["install", "-y", "t-conf"]);
    std::fs::remove_file(root.at("root/etc/t-conf.conf")).unwrap();
    root.package_with_config("t-conf", "1.1", "two");
    offer(&root);

    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    assert_eq!(plan["plan"]["on_host"]["config_files"][0]["path"], "/etc/t-conf.conf", "{plan}");
    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert!(!std::path::Path::new(&root.at("root/etc/t-conf.conf")).exists());
}

#[test]
fn a_configuration_file_that_was_made_a_directory_is_named_and_the_run_goes_back() {
    let root = AptRoot::empty();
    root.package_with_config("t-conf", "1.0", "one");
    offer(&root);
    root.apt(&["install", "-y", "t-conf"]);
    shell("rm \"$1\"; mkdir \"$1\"; touch \"$1\"/mine", &[&root.at("root/etc/t-conf.conf")]);
    root.package_with_config("t-conf", "1.1", "two");
    offer(&root);

    let (code, run, errors) = verb(&root, &["install", "--all", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert!(code == 0 && word == "verified" || reason.contains("t-conf"), "{run} {errors}");
    assert!(std::path::Path::new(&root.at("root/etc/t-conf.conf/mine")).exists(), "what is there stays");
    let (code, back, errors) =
        verb(&root, &["rollback", run["run"]["id"].as_str().unwrap(), "--yes", "--json"]);
    assert_eq!(code, 0, "{back} {errors}");
    assert_eq!((root.installed(), root.audit()), (vec!["t-conf 1.0 ii".to_owned()], String::new()));
}

#[test]
fn a_file_that_was_altered_in_the_cache_of_apt_is_fetched_anew() {
    let root = host();
    // What lies on this very machine APT does not put into its cache.
    let server = FileServer::start(root.at("repo").as_ref());
    root.sources(&server.url());
    root.apt(&["update"]);
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    root.apt(&["dist-upgrade", "-y", "--allow-unauthenticated", "--download-only"]);
    let cache = root.at("root/var/cache/apt/archives");
    // Of the same length: only its content tells.
    let alter =
        "dd if=/dev/zero of=\"$1/t-new_1.0_all.deb\" bs=1 seek=200 count=9 conv=notrunc,nocreat status=none";
    shell(alter, &[&cache]);

    let (code, run, errors) =
        verb(&root, &["install", "--plan", plan["id"].as_str().unwrap(), "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!((root.installed(), root.audit()), (AFTER.map(str::to_owned).to_vec(), String::new()));
}

#[test]
fn a_repository_that_vanished_between_plan_and_installation_changes_nothing() {
    let root = host();
    let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
    shell("mv \"$1\"/repo/pool \"$1\"/away", &[&root.at("")]);

    let (code, run, errors) =
        verb(&root, &["install", "--plan", plan["id"].as_str().unwrap(), "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    let gone = reason.contains("nobody has t-app 1.0 any more");
    assert!(code == 5 && word == "not_started" && gone, "{code} {run} {errors}");
    assert_eq!(root.installed(), BEFORE);
    shell("mv \"$1\"/away \"$1\"/repo/pool", &[&root.at("")]);
    let (code, _, errors) = verb(&root, &["install", "--plan", plan["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(root.installed(), AFTER);
}

#[test]
fn who_holds_the_lock_for_too_long_is_named_and_nothing_is_changed() {
    let root = host();
    let path = root.at("root/var/lib/dpkg/lock-frontend");
    let held =
        std::fs::File::options().create(true).truncate(false).write(true).read(true).open(&path).unwrap();
    rustix::fs::fcntl_lock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let quick = root.rig().env("LIGHTSHIP__UPDATES__LOCK_WAIT_SECONDS", "1");

    let (code, run, errors) = verbs::verb(&quick, &["install", "--all", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "not_started"), "{errors}");
    assert!(
        reason.contains(&format!("process {}", std::process::id())) && reason.contains("since 1 s"),
        "{reason}"
    );
    assert_eq!(root.installed(), BEFORE);
}

#[test]
fn a_full_disk_leaves_the_host_as_it_was_or_on_its_way_and_the_same_plan_ends_well_when_there_is_room() {
    for place in ["state", "root/var/cache/apt/archives", "root/var/lib/dpkg", "root/usr"] {
        let root = host();
        let (_, plan, _) = verb(&root, &["plan-updates", "--json"]);
        let id = plan["id"].as_str().unwrap();
        let disk = SmallDisk::at(&root.at(place), "24m");
        disk.fill();

        let (code, out, errors) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);

        assert_ne!(code, 0, "{place}: {out} {errors}");
        let word = outcome(&out).0.to_owned();
        if word != "failed" {
            assert_eq!(root.installed(), BEFORE, "{place}: {out} {errors}");
        }
        disk.free();
        let (code, out, errors) = verb(&root, &["install", "--plan", id, "--yes", "--json"]);
        assert_eq!((code, outcome(&out).0), (0, "verified"), "{place}: {out} {errors}");
        assert_eq!(
            (root.installed(), root.audit()),
            (AFTER.map(str::to_owned).to_vec(), String::new()),
            "{place}"
        );
    }
}
