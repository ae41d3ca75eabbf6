//! DNF 4, as `lightship scan` sees it.

use serde_json::{Value, json};

use super::Scan;
use super::file_server::FileServer;
use super::rpm_root::{Advisory, RpmRoot};

/// A host with something of everything.
fn host() -> RpmRoot {
    let root = RpmRoot::empty();
    for name in ["r-lib", "r-fix", "r-bad", "r-old", "r-app"] {
        root.package("repo", name, "1.0", "1", "");
    }
    root.package("repo", "r-sec", "1.0", "1", r"Epoch: 1\n");
    root.package("repo", "kernel", "6.1", "1", "");
    root.package("bare", "r-bare", "1.0", "1", "");
    root.publish(&root.files());
    root.install(&["r-lib", "r-fix", "r-bad", "r-old", "r-app", "r-sec", "kernel", "r-bare"]);

    root.package("repo", "r-lib", "1.1", "1", "");
    root.package("repo", "r-lib", "1.2", "1", "");
    root.package("repo", "r-fix", "1.1", "1", "");
    root.package("repo", "r-bad", "1.1", "1", r"Requires: nowhere >= 3\n");
    root.package("repo", "r-next", "2.0", "1", r"Obsoletes: r-old < 2\nProvides: r-old = 2\n");
    root.package("repo", "r-new", "1.0", "1", "");
    root.package("repo", "r-app", "1.1", "1", r"Requires: r-new\n");
    root.package("repo", "r-sec", "2.0", "2", r"Epoch: 1\n");
    root.package("repo", "kernel", "6.2", "1", "");
    root.package("bare", "r-bare", "1.1", "1", "");
    let sec = ("r-sec", "1", "2.0", "2");
    root.advisories(&[
        Advisory {
            id: "FEDORA-2026-1bbec06c4d",
            kind: "security",
            severity: "Moderate",
            cve: Some("CVE-2099-0002"),
            package: sec,
        },
        Advisory {
            id: "RLSA-2026:1234",
            kind: "security",
            severity: "Important",
            cve: Some("CVE-2099-0001"),
            package: sec,
        },
        Advisory {
            id: "ALSA-2026:7",
            kind: "security",
            severity: "Critical",
            cve: None,
            package: ("r-lib", "0", "1.1", "1"),
        },
        Advisory {
            id: "ELBA-2026-1",
            kind: "bugfix",
            severity: "None",
            cve: None,
            package: ("r-fix", "0", "1.1", "1"),
        },
    ]);
    root.publish(&root.files());
    root
}

#[test]
fn packages_are_judged_by_their_advisories_and_what_cannot_be_installed_says_why() {
    let root = host();
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!(scan.code, 2, "{}{}", scan.said, scan.errors);
    assert_eq!(
        scan.updates(),
        [
            "kernel 6.1-1 6.2-1",
            "r-app 1.0-1 1.1-1",
            "r-bad 1.0-1 1.1-1",
            "r-bare 1.0-1 1.1-1",
            "r-fix 1.0-1 1.1-1",
            "r-lib 1.0-1 1.2-1",
            "r-old 1.0-1 2.0-1",
            "r-sec 1:1.0-1 1:2.0-2",
        ]
    );
    let of = |name: &str| (scan.field(name, "is_security"), scan.field(name, "severity"));
    assert_eq!(of("r-sec"), (json!(true), json!("important")), "the worst of two");
    assert_eq!(of("r-lib"), (json!(true), json!("critical")), "the hole is mended on the way");
    assert_eq!(of("r-fix"), (json!(false), json!("low")));
    assert_eq!(of("r-bare"), (Value::Null, json!("moderate")), "no advisories: nobody knows");
    let reason = scan.field("r-bad", "reason");
    assert_eq!(reason, "dependency: nothing provides nowhere >= 3 needed by r-bad-1.1-1.noarch");
    assert_eq!(scan.field("r-app", "reason"), Value::Null, "a new dependency holds nothing back");

    let (_, out, _) = root.rig().verb(&["list-updates", "--export=csv"]);
    let line = out.lines().find(|line| line.contains("r-sec")).unwrap();
    assert!(
        line.starts_with("dnf,r-sec,1:1.0-1,1:2.0-2,important,CVE-2099-0001;CVE-2099-0002,fixture,"),
        "{line}"
    );
}

#[test]
fn a_host_without_anything_newer_ends_with_zero_and_a_french_one_is_read_like_any_other() {
    let root = RpmRoot::empty();
    root.package("repo", "r-lib", "1.0", "1", "");
    root.publish(&root.files());
    root.install(&["r-lib"]);
    let scan = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (0, vec![]), "{}", scan.said);

    root.package("repo", "r-lib", "1.1", "1", "");
    root.publish(&root.files());
    let french = root.rig().env("LANGUAGE", "fr").env("LC_ALL", "fr_FR.UTF-8").env("LANG", "fr_FR.UTF-8");
    let scan = Scan::of(&french, &["scan", "--json"]);
    assert_eq!((scan.code, scan.updates()), (2, vec!["r-lib 1.0-1 1.1-1".to_owned()]), "{}", scan.said);
    assert_eq!(scan.scanner("dnf")["ok"], true);
}

#[test]
fn a_repository_that_is_away_leaves_what_was_known_with_the_reason() {
    let root = RpmRoot::empty();
    root.package("repo", "r-lib", "1.0", "1", "");
    root.publish(&root.files());
    root.install(&["r-lib"]);
    let server = FileServer::start(&root.folder());
    root.package("repo", "r-lib", "1.1", "1", "");
    root.publish(&server.url());
    let before = Scan::of(&root.rig(), &["scan", "--json"]);
    assert_eq!((before.code, before.updates()), (2, vec!["r-lib 1.0-1 1.1-1".to_owned()]), "{}", before.said);

    drop(server);
    let down = Scan::of(&root.rig(), &["scan", "--json"]);

    assert_eq!((down.code, down.updates()), (3, before.updates()), "{}", down.said);
    let problem = down.problem("dnf");
    assert!(
        problem.contains("not known since") && problem.contains("metadata for repository '"),
        "{problem}"
    );
    assert_eq!(down.scanner("dnf")["ok"], false);
}

#[test]
fn a_host_with_neither_of_the_two_says_so() {
    let root = RpmRoot::empty();
    let (code, out, errors) = root.rig().verb(&["scan"]);
    assert_eq!(code, 1, "{out}{errors}");
    assert!(out.contains("nothing that Lightship can scan"), "{out}{errors}");
}
