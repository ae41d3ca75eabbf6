//! APT, as `lightship scan` sees it.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lightship::clock::Clock;
use lightship::domain::update::{Findings, Kind};
use lightship::updates::{Apt, ScanAsk, Scanner};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use super::apt_root::AptRoot;
use super::file_server::FileServer;
use super::{Scan, shell, text};
use crate::support::ship::binary;

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[test]
fn lists_that_could_not_be_refreshed_are_old_and_close_nothing() {
    let root = AptRoot::with(&["t-lib", "t-app"]);
    let server = FileServer::start(&std::path::PathBuf::from(root.at("repo")));
    root.sources(&server.url());
    root.package("t-lib", "1.1", "");
    root.publish();
    let before = Scan::of(&root.rig(), &["scan", "--export=json"]);
    assert_eq!((before.code, before.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]), "{}", before.errors);
    assert_eq!(before.scanner("apt")["ok"], true, "{}", before.said);

    root.package("t-app", "1.1", "");
    root.publish();
    drop(server);
    let down = Scan::of(&root.rig(), &["scan", "--export=json"]);

    assert_eq!((down.code, down.updates()), (3, before.updates()), "what was known stays");
    assert_eq!(down.scanner("apt")["ok"], false);
    assert_eq!(down.scanner("apt")["as_of"], before.scanner("apt")["as_of"], "and is as old as it was");
    let problem = down.problem("apt");
    assert!(
        problem.contains("not known since") && problem.contains("Failed to fetch http://127.0.0.1"),
        "{problem}"
    );
    assert_eq!(down.field("t-lib", "first_seen_at"), before.field("t-lib", "first_seen_at"));

    let server = FileServer::start(&std::path::PathBuf::from(root.at("repo")));
    root.sources(&server.url());
    let up = Scan::of(&root.rig(), &["scan", "--export=json"]);
    assert_eq!((up.code, up.updates().len()), (2, 2), "{}", up.said);
    assert!(time(&up.scanner("apt")["as_of"]) > time(&before.scanner("apt")["as_of"]));
}

#[test]
fn one_suite_that_is_gone_is_named_though_the_other_is_there() {
    let root = AptRoot::with(&["t-lib", "t-sec"]);
    let server = FileServer::start(&std::path::PathBuf::from(root.at("repo")));
    root.sources(&server.url());
    root.security_package("t-sec", "1.1");
    root.publish();
    let before = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(before.updates(), ["t-sec 1.0 1.1"]);

    std::fs::remove_dir_all(root.at("repo/dists/stable-security")).unwrap();
    let gone = Scan::of(&root.rig(), &["scan", "--json"]);

    assert_eq!((gone.code, gone.updates()), (3, before.updates()));
    let problem = gone.problem("apt");
    assert!(problem.contains("stable-security"), "{problem}");
}

#[test]
fn an_ordinary_user_reads_old_lists_and_is_told_how_old_they_are() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    shell(
        "chmod -R a+rX \"$1\"; find \"$1/root/var/lib/apt/lists\" -exec touch -d '10 days ago' {} +",
        &[&root.at("")],
    );
    let scan = as_nobody(&root);
    assert_eq!((scan.code, scan.updates()), (3, vec!["t-lib 1.0 1.1".to_owned()]), "{}", scan.errors);
    let age = Clock::system().now() - time(&scan.scanner("apt")["as_of"]);
    assert!(age > TimeDelta::days(9) && age < TimeDelta::days(11), "{age}");
    let problem = &scan.scanner("apt")["problem"];
    assert!(problem["reason"].as_str().unwrap().contains("this user may not"), "{problem}");
    assert!(problem["way_out"].as_str().unwrap().contains("as root"), "{problem}");
}

/// A scan by an ordinary user.
fn as_nobody(root: &AptRoot) -> Scan {
    let mut verb = std::process::Command::new(binary());
    verb.args(["scan", "--json"]).uid(65534).gid(65534).env_clear().current_dir("/");
    let state = tempfile::tempdir().unwrap();
    shell("chown 65534 \"$1\"", &[&text(state.path())]);
    verb.env("APT_CONFIG", root.config()).env("LIGHTSHIP_STATE_DIR", state.path());

    let ended = verb.output().unwrap();

    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    Scan {
        code: ended.status.code().unwrap(),
        said: serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {said}")),
        errors: said,
    }
}

#[test]
fn lists_whose_time_is_over_are_not_fresh_because_somebody_tried_to_refresh_them() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    shell(
        "sed -i 's/^Date: /Valid-Until: Sat, 31 Jan 2026 12:00:00 UTC\\nDate: /' \"$1/repo/dists/stable/Release\"",
        &[&root.at("")],
    );
    root.apt(&["update", "-o", "Acquire::Check-Valid-Until=false"]);
    shell("chmod -R a+rX \"$1\"; touch \"$1/root/var/lib/apt/lists/partial\"", &[&root.at("")]);

    let scan = as_nobody(&root);

    assert_eq!((scan.code, scan.updates()), (3, vec!["t-lib 1.0 1.1".to_owned()]), "{}", scan.errors);
    let problem = scan.problem("apt");
    assert!(
        problem.starts_with("not known since 2026-01-31 12:00 UTC") && problem.contains("stable"),
        "{problem}"
    );
    assert_eq!(scan.scanner("apt")["as_of"], "2026-01-31T12:00:00Z");
    // A host that is told to take such lists is not told off for it.
    shell("echo 'Acquire::Check-Valid-Until \"false\";' >> \"$1/apt.conf\"", &[&root.at("")]);
    let told = as_nobody(&root);
    assert_eq!((told.code, &told.scanner("apt")["ok"]), (2, &json!(true)), "{}", told.said);
}

#[test]
fn a_signed_repository_is_read_and_one_whose_key_is_missing_is_named() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.sign();
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]), "{}", scan.said);
    assert_eq!((&scan.scanner("apt")["ok"], &scan.scanner("apt")["problem"]), (&json!(true), &Value::Null));

    root.package("t-lib", "1.2", "");
    root.publish();
    root.sign();
    std::fs::rename(root.at("lab.gpg"), root.at("elsewhere.gpg")).unwrap();
    let missing = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((missing.code, missing.updates()), (3, scan.updates()), "{}", missing.said);
    let problem = missing.problem("apt");
    let names_it =
        ["NO_PUBKEY", "public key", "not signed", "lab.gpg"].iter().any(|word| problem.contains(word));
    assert!(problem.starts_with("not known since") && names_it, "{problem}");

    std::fs::rename(root.at("elsewhere.gpg"), root.at("lab.gpg")).unwrap();
    let back = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((back.code, back.updates()), (2, vec!["t-lib 1.0 1.2".to_owned()]), "{}", back.said);
}

#[test]
fn what_preferences_pin_is_held_with_the_file_that_says_so() {
    let root = AptRoot::with(&["t-app", "t-lib", "t-plain"]);
    for name in ["t-app", "t-lib", "t-plain"] {
        root.package(name, "1.1", "");
    }
    root.publish();
    let write =
        |name: &str, text: &str| std::fs::write(root.at(&format!("root/etc/apt/{name}")), text).unwrap();
    write("preferences.d/lib.pref", "Package: t-lib\nPin: version 1.0\nPin-Priority: 1001\n");
    write("preferences", "Package: src:t-app\nPin: release l=Lab\nPin-Priority: -1\n");
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.updates(), ["t-app 1.0 1.1", "t-lib 1.0 1.1", "t-plain 1.0 1.1"], "{}", scan.errors);
    let list = Scan::of(&root.rig(), &["list-updates", "--json"]);
    for (name, file) in [("t-lib", "preferences.d/lib.pref"), ("t-app", "preferences")] {
        let reason = list.field(name, "reason");
        assert_eq!(list.field(name, "status"), "held", "{reason}");
        assert!(reason.as_str().unwrap().ends_with(&format!("/etc/apt/{file}`)")), "{reason}");
    }
    assert_eq!(list.field("t-plain", "status"), "discovered");
    // Sources that are ranked as a whole hold no package.
    write("preferences", "Package: *\nPin: release l=Lab\nPin-Priority: 100\n");
    std::fs::remove_file(root.at("root/etc/apt/preferences.d/lib.pref")).unwrap();
    let ranked = Scan::of(&root.rig(), &["list-updates", "--json"]);
    assert_eq!(ranked.field("t-plain", "status"), "discovered", "a list says what the last scan found");
    let ranked = Scan::of(&root.rig(), &["scan", "--json"]);
    assert!(
        ranked.said["updates"].as_array().unwrap().iter().all(|one| one["reason"] == Value::Null),
        "{}",
        ranked.said
    );
}

#[test]
fn of_many_that_stay_behind_each_one_says_why() {
    let names: Vec<String> = (0..15).map(|n| format!("t-dep{n:02}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.extend(["t-lib", "t-both"]);
    let root = AptRoot::with(&all);
    root.package("t-lib", "1.1", "");
    names.iter().for_each(|name| root.package(name, "1.1", r"Depends: t-lib (>= 1.1)\n"));
    root.package("t-both", "1.1", r"Phased-Update-Percentage: 0\nDepends: t-lib (>= 1.1)\n");
    root.publish();
    assert!(root.program("apt-mark").args(["hold", "t-lib"]).output().unwrap().status.success());
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.code, 2, "{}", scan.errors);
    let list = Scan::of(&root.rig(), &["list-updates", "--json"]);
    for name in &names {
        let reason = list.field(name, "reason");
        assert_eq!(list.field(name, "status"), "unmet", "{name}: {reason}");
        let reason = reason.as_str().unwrap();
        assert!(
            reason.contains("t-lib") && reason.contains("held") && !reason.contains("does not say"),
            "{name}: {reason}"
        );
    }
    let both = list.field("t-both", "reason");
    assert_eq!(list.field("t-both", "status"), "phased");
    assert!(
        both.as_str().unwrap().contains("phased 0 %") && both.as_str().unwrap().contains("t-lib is held"),
        "{both}"
    );
}

/// Programs in front of APT's own that count how often any is started, and kill the one who starts them at a certain time.
const COUNTED: &str = r#"
mkdir -p "$1/bin"; cd "$1"
for name in apt-config apt-get apt-cache dpkg-query dpkg; do
cat >bin/$name <<END
#!/bin/sh
(
  flock 9
  n=\$(wc -l <"$1/calls"); echo $name >>"$1/calls"
  [ "\$n" != "\$(cat "$1/kill-at")" ] || { echo $name >"$1/killed-at"; kill -9 \$PPID; exit 1; }
) 9>"$1/calls.lock" || exit 1
exec /usr/bin/$name "\$@"
END
done
chmod 755 bin/*
"#;

#[test]
fn a_scan_that_is_killed_at_any_program_that_it_starts_leaves_the_next_one_as_it_would_be() {
    let root = left_behind();
    root.apt(&["update"]);
    shell(COUNTED, &[&root.at("")]);
    let write = |name: &str, text: &str| std::fs::write(root.at(name), text).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", root.at("bin"));
    let rig = root.rig().env("PATH", path);
    let scan = |kill_at: &str| {
        write("kill-at", kill_at);
        write("calls", "");
        let _ = std::fs::remove_file(root.at("killed-at"));
        rig.verb(&["scan", "--json"])
    };
    let told = |(code, out, errors): (i32, String, String)| {
        let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
        (code, said["scanners"]["apt"]["digest"].clone(), said["scanners"]["apt"]["problem"].clone())
    };
    let whole = told(scan("never"));
    let calls = std::fs::read_to_string(root.at("calls")).unwrap();
    assert!(calls.lines().count() > 8 && calls.contains("dpkg-query"), "{calls}");
    for at in 0..calls.lines().count() {
        let (code, out, _) = scan(&at.to_string());
        let killed_at = std::fs::read_to_string(root.at("killed-at")).unwrap_or_default();
        // What limits its time ends as it did, by the signal.
        assert!(!killed_at.is_empty() && matches!(code, -1 | 137) && out.is_empty(), "{at}: {code} {out}");
        assert_eq!(told(scan("never")), whole, "killed when it started {killed_at}");
    }
}

/// Holds a file's lock as APT and dpkg hold theirs.
fn lock(path: &str) -> File {
    let file = File::options().create(true).truncate(false).write(true).read(true).open(path).unwrap();
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

#[test]
fn somebody_elses_lock_is_named_and_not_waited_for() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    let held = lock(&text(&root.lists().join("lock")));
    let begun = Instant::now();
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!((scan.code, scan.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]), "the lists are young");
    let problem = scan.problem("apt");
    assert!(problem.contains(&format!("process {}", std::process::id())), "{problem}");
    drop(held);
    let free = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(free.scanner("apt")["problem"], Value::Null);
}

#[test]
fn a_scan_goes_on_beside_an_installation() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    let held = ["lock-frontend", "lock"].map(|name| lock(&root.at(&format!("root/var/lib/dpkg/{name}"))));
    let archives = lock(&root.at("root/var/cache/apt/archives/lock"));
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]), "{}", scan.said);
    assert_eq!(scan.scanner("apt")["problem"], Value::Null);
    drop((held, archives));
}

/// The packages of the case, each with a newer version that stays behind for another reason.
fn left_behind() -> AptRoot {
    let root = AptRoot::with(&["t-lib", "t-app", "t-phased", "t-unmet", "t-plain", "t-old", "t-conf"]);
    root.package("t-lib", "1.1", "");
    root.package("t-plain", "1.1", "");
    root.package("t-new", "1.0", "");
    root.package("t-app", "1.1", r"Depends: t-new\n");
    root.package("t-conf", "1.1", r"Conflicts: t-old\n");
    root.package("t-phased", "1.1", r"Phased-Update-Percentage: 0\n");
    root.package("t-unmet", "1.1", r"Depends: t-nowhere (>= 3)\n");
    root.publish();
    assert!(root.program("apt-mark").args(["hold", "t-lib"]).output().unwrap().status.success());
    root
}

#[test]
fn what_stays_behind_has_the_true_one_of_four_reasons() {
    let root = left_behind();
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.code, 2, "{}", scan.errors);
    let list = Scan::of(&root.rig(), &["list-updates", "--json"]);
    for (name, status, reason) in [
        ("t-plain", "discovered", Value::Null),
        ("t-app", "needs_changes", json!("needs new packages: t-new")),
        ("t-conf", "needs_changes", json!("needs packages removed: t-old")),
        (
            "t-unmet",
            "unmet",
            json!("dependency: t-unmet : Depends: t-nowhere (>= 3) but it is not installable"),
        ),
    ] {
        assert_eq!(
            (list.field(name, "status"), list.field(name, "reason")),
            (json!(status), reason),
            "{name}"
        );
    }
    for (name, status, words) in [("t-lib", "held", "held by somebody"), ("t-phased", "phased", "phased 0 %")]
    {
        let reason = list.field(name, "reason");
        assert_eq!(list.field(name, "status"), status);
        assert!(reason.as_str().unwrap().contains(words), "{reason}");
    }
    // What is announced as installable is what an upgrade installs, and nothing else.
    root.apt(&["upgrade", "-y", "--allow-unauthenticated"]);
    let after = Scan::of(&root.rig(), &["list-updates", "--json"]);
    assert_eq!(after.field("t-plain", "status"), "discovered", "a list says what the last scan found");
    let after = Scan::of(&root.rig(), &["scan", "--json"]);
    let names: Vec<String> =
        after.updates().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["t-app", "t-conf", "t-lib", "t-phased", "t-unmet"]);
}

#[test]
fn a_german_host_is_read_like_any_other() {
    let root = left_behind();
    let plain = Scan::of(&root.rig(), &["scan", "--json"]);
    let german = root.rig().env("LANGUAGE", "de").env("LC_ALL", "de_DE.UTF-8").env("LANG", "de_DE.UTF-8");
    let scan = Scan::of(&german, &["scan", "--json"]);
    assert_eq!(scan.scanner("apt")["digest"], plain.scanner("apt")["digest"]);
}

#[test]
fn a_security_update_below_the_candidate_is_one() {
    let root = AptRoot::with(&["t-sec", "t-lib"]);
    root.security_package("t-sec", "1.0.1");
    root.package("t-sec", "1.1", "");
    root.package("t-lib", "1.1", "");
    root.publish();
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.updates(), ["t-lib 1.0 1.1", "t-sec 1.0 1.1"]);
    let of = |name: &str| (scan.field(name, "is_security"), scan.field(name, "severity"));
    assert_eq!(of("t-sec"), (json!(true), json!("important")));
    assert_eq!(of("t-lib"), (json!(false), json!("low")));
}

#[test]
fn a_half_installed_package_is_said_and_nothing_pending_ends_with_zero() {
    let root = AptRoot::with(&["t-lib"]);
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (0, vec![]), "{}", scan.said);

    root.package_that_runs("t-bad", "1.0", "echo boom >&2; exit 1");
    root.publish();
    root.apt(&["update"]);
    let install =
        root.program("apt-get").args(["install", "-y", "--allow-unauthenticated", "t-bad"]).output().unwrap();
    assert!(!install.status.success());
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.code, 0, "{}", scan.said);
    assert!(scan.problem("apt").contains("half installed: t-bad"), "{}", scan.said);
    assert_eq!(scan.scanner("apt")["ok"], true, "what is pending is known all the same");
}

#[test]
fn redflags_command_lines_print_its_forms_and_keep_its_file() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", r"Section: libs\n");
    // A publisher of security updates says with every other one that it is none.
    root.security_package("t-other", "1.0");
    root.publish();
    let agent = root.at("aggregator-agent");
    std::os::unix::fs::symlink(binary(), &agent).unwrap();
    // In a mount namespace of its own, so that the machine's folder stays as it is.
    let script = r#"
        export APT_CONFIG=$2 LIGHTSHIP_STATE_DIR=$3
        mount -t tmpfs tmpfs /var/lib
        "$1" -scan -export=json >"$3/scan" 2>/dev/null || echo "scan $?"
        "$1" --list-updates --export csv >"$3/csv" || echo "list $?"
        "$1" -status >"$3/status" || echo "status $?"
        cp /var/lib/aggregator/last_scan.json "$3/file"
        stat -c 'mode %a' /var/lib/aggregator/last_scan.json /var/lib/aggregator"#;
    let inside = "exec unshare --mount /bin/bash -uc \"$1\" bash \"$2\" \"$3\" \"$4\"";
    let codes = shell(inside, &[script, &agent, &text(&root.config()), &root.at("state")]);
    assert_eq!(codes, "scan 2\nlist 2\nstatus 2\nmode 600\nmode 755\n");
    let read = |name: &str| std::fs::read_to_string(root.at(&format!("state/{name}"))).unwrap();
    let items: Value = serde_json::from_str(&read("scan")).unwrap();
    assert_eq!(
        (
            &items[0]["package_type"],
            &items[0]["package_name"],
            &items[0]["available_version"],
            &items[0]["severity"]
        ),
        (&json!("apt"), &json!("t-lib"), &json!("1.1"), &json!("low"))
    );
    let file: Value = serde_json::from_str(&read("file")).unwrap();
    assert_eq!((&file["update_count"], &file["updates"]), (&json!(1), &items));
    let csv = read("csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert!(lines[1].starts_with("apt,t-lib,1.0,1.1,low,,fixture,"), "{csv}");
    assert!(read("status").contains("APT: 1 pending"), "{}", read("status"));
}

#[test]
fn a_list_of_updates_without_a_scan_says_what_to_do() {
    let root = AptRoot::with(&["t-lib"]);
    let (code, out, errors) = root.rig().verb(&["list-updates"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(errors.contains("run `lightship scan` first"), "{errors}");
    let (code, out, _) = root.rig().verb(&["status"]);
    assert_eq!(code, 3);
    assert!(out.contains("Last scan: never") && out.contains("Host: "), "{out}");
}

#[test]
fn a_scan_that_is_ended_leaves_nothing_behind_and_the_next_one_is_right() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    // An `apt-get` that never ends, and says when it was started.
    std::fs::create_dir(root.at("bin")).unwrap();
    let fake = "printf '#!/bin/sh\\necho $$ > %s/started; sleep 1000 & wait\\n' \"$1\" > \"$1/bin/apt-get\"; chmod 755 \"$1/bin/apt-get\"";
    shell(fake, &[&root.at("")]);
    let mut verb = std::process::Command::new(binary());
    verb.args(["scan", "--json"])
        .env("APT_CONFIG", root.config())
        .env("LIGHTSHIP_STATE_DIR", root.at("state"));
    verb.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", root.at("bin")));
    let mut child = verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = wait_for_line(&root.at("started"));

    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();

    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{errors}");
    assert!(errors.contains("nothing was kept"), "{errors}");
    until_gone(&started);

    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]));
}

/// Waits until a process is gone; its parent may have to take note of its end first.
fn until_gone(pid: &str) {
    let due = Instant::now() + Duration::from_secs(30);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(Instant::now() < due, "it lives on: {stat}");
        std::thread::yield_now();
    }
}

fn wait_for_line(path: &str) -> String {
    let due = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(line) = std::fs::read_to_string(path)
            && line.ends_with('\n')
        {
            return line.trim().to_owned();
        }
        assert!(Instant::now() < due, "`{path}` was never written");
        std::thread::yield_now();
    }
}

#[test]
fn half_a_list_is_no_shorter_list() {
    let root = AptRoot::with(&["t-app", "t-lib"]);
    root.package("t-app", "1.1", "");
    root.package("t-lib", "1.1", "");
    root.publish();
    let before = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(before.updates().len(), 2);
    let half = r#"f=$(ls "$1"/*stable_main*Packages); s=$(stat -c %s "$f"); truncate -s $((s - 300)) "$f"; printf '\0\0garbage' >> "$f"
                  printf 'deb [trusted=yes] file:/nonexistent stable main\n' > "$2""#;
    shell(half, &[&text(&root.lists()), &root.at("root/etc/apt/sources.list")]);
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (3, before.updates()), "{}", scan.said);

    root.sources(&format!("file:{}", root.at("repo")));
    let healed = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((healed.code, healed.updates()), (2, before.updates()), "{}", healed.said);
}

#[test]
fn a_scan_keeps_a_cache_of_its_own_leaves_apts_as_it_is_and_sees_what_is_new() {
    let root = AptRoot::with(&["t-lib", "t-app"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    let apts = root.at("root/var/cache/apt/pkgcache.bin");
    std::fs::remove_file(&apts).unwrap();

    let first = Scan::of(&root.rig(), &["scan", "--json"]);

    assert_eq!((first.code, first.updates()), (2, vec!["t-lib 1.0 1.1".to_owned()]), "{}", first.errors);
    assert!(std::path::Path::new(&root.at("state/apt/pkgcache.bin")).exists());
    assert!(!std::path::Path::new(&apts).exists(), "APT's own folder is left alone");

    // With a cache that fits nothing any more.
    root.package("t-app", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    std::fs::write(root.at("state/apt/pkgcache.bin"), "garbage").unwrap();
    let second = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(second.updates(), ["t-app 1.0 1.1", "t-lib 1.0 1.1"], "{}", second.errors);
}

#[tokio::test]
async fn compressed_lists_say_what_plain_ones_say() {
    let root = AptRoot::with(&["t-lib", "t-app"]);
    let server = FileServer::start(&std::path::PathBuf::from(root.at("repo")));
    root.sources(&server.url());
    root.package("t-lib", "1.1", r"Section: libs\n");
    root.package("t-new", "1.0", "");
    root.package("t-app", "1.1", r"Depends: t-new\n");
    root.publish();
    root.apt(&["update"]);
    let apt = || Apt::configured_by(&root.config());
    let plain = apt().scan(&ask(None)).await;
    shell("rm \"$1\"/*Packages*", &[&text(&root.lists())]);
    let config = std::fs::read_to_string(root.config()).unwrap() + "Acquire::GzipIndexes \"true\";\n";
    std::fs::write(root.config(), config).unwrap();
    root.apt(&["update"]);
    let lists = shell("ls \"$1\"", &[&text(&root.lists())]);
    assert!(lists.contains("stable_main_binary-amd64_Packages."), "they are compressed: {lists}");

    let compressed = apt().scan(&ask(None)).await;

    assert_eq!(compressed.items, plain.items);
    let lib = compressed.items.iter().find(|item| item.name == "t-lib").unwrap();
    assert!(lib.size_bytes.unwrap() > 100 && lib.details["section"] == "libs", "{lib:?}");
    let app = compressed.items.iter().find(|item| item.name == "t-app").unwrap();
    assert_eq!(app.details["new_packages"], json!(["t-new"]));
}

fn ask(last: Option<&Findings>) -> ScanAsk<'_> {
    ScanAsk { now: Clock::system().now(), last, by_person: false }
}

#[tokio::test]
async fn what_did_not_change_is_not_read_again() {
    let root = AptRoot::with(&["t-lib", "t-orphan"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    assert!(root.program("apt-mark").args(["auto", "t-orphan"]).output().unwrap().status.success());
    let apt = Apt::configured_by(&root.config());
    let first = apt.scan(&ask(None)).await;
    assert!(first.checked.ok && first.checked.kind == Kind::Apt, "{:?}", first.checked.problem);
    let orphan = first.items.iter().find(|item| item.name == "t-orphan").unwrap();
    assert!(!orphan.is_pending() && orphan.details["auto_removable"] == true, "nobody needs it any more");
    let lib = first.items.iter().find(|item| item.name == "t-lib").unwrap();
    assert_eq!((lib.source.as_deref(), lib.group.as_deref()), (Some("Lab:stable"), Some("t-lib")));
    assert!(lib.size_bytes.unwrap() > 100 && lib.description.as_deref() == Some("fixture"), "{lib:?}");

    // Whoever asked APT now would fail.
    let config = std::fs::read_to_string(root.config()).unwrap();
    std::fs::write(root.config(), "Dir \"unfinished").unwrap();
    let second = apt.scan(&ask(Some(&first))).await;
    assert_eq!((&second.items, second.checked.ok), (&first.items, true));

    shell("touch \"$1\"", &[&root.at("root/var/lib/dpkg/status")]);
    let failed = apt.scan(&ask(Some(&second))).await;
    assert_eq!(
        (&failed.items, failed.checked.ok),
        (&first.items, false),
        "something changed, so it had to ask"
    );
    std::fs::write(root.config(), config).unwrap();
    assert!(apt.scan(&ask(Some(&failed))).await.checked.ok);
}
