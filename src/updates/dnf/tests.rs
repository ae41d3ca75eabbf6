use super::*;

/// A folder with programs that print what was recorded of dnf5 and rpm, and note how they were called.
struct FakeFive(tempfile::TempDir);

const CHECK: &str = r#"{"upgrades":[{"name":"r-sec","arch":"noarch","evr":"1:2.0-2","repository":"updates"},{"name":"r-fix","arch":"noarch","evr":"1.1-1","repository":"updates"},{"name":"r-bare","arch":"noarch","evr":"1.1-1","repository":"bare"}]}"#;
const LIST: &str = r#"[{"name":"FEDORA-2026-1bbec06c4d","type":"security","severity":"Moderate","nevra":"r-sec-1:2.0-2.noarch","buildtime":"1"},{"name":"RLSA-2026:1234","type":"security","severity":"Critical","nevra":"r-sec-1:2.0-2.noarch","buildtime":"1"},{"name":"ELBA-1","type":"bugfix","severity":"None","nevra":"r-fix-1.1-1.noarch","buildtime":"1"}]"#;
const CVES: &str = r#"[{"advisory_name":"FEDORA-2026-1bbec06c4d","advisory_type":"security","advisory_severity":"Moderate","advisory_buildtime":"1","nevra":"r-sec-1:2.0-2.noarch","references":[{"reference_id":"CVE-2099-0002","reference_type":"cve"}]},{"advisory_name":"RLSA-2026:1234","advisory_type":"security","advisory_severity":"Critical","advisory_buildtime":"1","nevra":"r-sec-1:2.0-2.noarch","references":[{"reference_id":"CVE-2099-0001","reference_type":"cve"}]}]"#;

impl FakeFive {
    /// `name` is what the program is called; `check` how its first call ends.
    fn called(name: &str, check: &str) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fake.dnf(name, check);
        fake.kept_for(TimeDelta::zero());
        fake.program(
            "rpm",
            "printf '%s\\n' 'r-sec|1|1.0|1|noarch|r-sec-1-1.src.rpm||s' 'r-fix|0|1.0|1|noarch|r-fix-1-1.src.rpm||f' 'r-bare|0|1.0|1|noarch|r-bare-1-1.src.rpm||b'",
        );
        fake
    }

    fn dnf(&self, name: &str, check: &str) {
        let log = self.0.path().join("calls");
        self.program(
            name,
            &format!(
                "echo \"$LC_ALL/$LANGUAGE $*\" >> {}\n\
                 case \"$LC_ALL$LANGUAGE\" in C.UTF-8) ;; *) echo 'Rien à faire.'; exit 1 ;; esac\n\
                 case \"$*\" in\n\
                 --version) echo 'dnf5 version 5.2.10.0' ;;\n\
                 '-C check-upgrade --json') printf '%s\\n' '{CHECK}'; exit 100 ;;\n\
                 *check-upgrade*) {check} ;;\n\
                 '-C advisory list --json') [ ! -e {folder}/no-advisories ] || {{ echo 'Cannot read updateinfo' >&2; exit 1; }}; printf '%s\\n' '{LIST}' ;;\n\
                 '-C advisory list --json --with-cve') [ ! -e {folder}/no-advisories ] || exit 1; printf '%s\\n' '{CVES}' ;;\n\
                 *upgrade*) echo 'Operation aborted by the user.' >&2; exit 1 ;;\n\
                 *) exit 2 ;;\nesac\n",
                log.display(),
                folder = self.0.path().display()
            ),
        );
    }

    /// Written by a process of its own: a file that any of ours has open for writing cannot be run.
    fn program(&self, name: &str, script: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", write, "sh", script]).arg(self.0.path().join(name));
        assert!(shell.status().unwrap().success());
    }

    fn scanner(&self) -> Dnf {
        Dnf::with_programs(
            self.0.path(),
            ["rpm-database", "cache"].map(|name| self.0.path().join(name)).to_vec(),
        )
    }

    /// Has dnf5's cache be this old; as it is said, at noon on the last day of January.
    fn kept_for(&self, age: TimeDelta) {
        let folder = self.0.path().join("cache/updates-0123456789abcdef/repodata");
        std::fs::create_dir_all(&folder).unwrap();
        let file = std::fs::File::create(folder.join("repomd.xml")).unwrap();
        file.set_modified((ask(None).now - age).into()).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

fn ask(last: Option<&Findings>) -> ScanAsk<'_> {
    ScanAsk { now: "2026-01-31T12:00:00Z".parse().unwrap(), last, by_person: false }
}

fn newer() -> String {
    format!("printf '%s\\n' '{CHECK}'; exit 100")
}

#[tokio::test]
async fn dnf5_is_known_by_its_version_line_under_any_name_and_asked_in_english() {
    for name in ["dnf", "dnf5", "yum"] {
        let fake = FakeFive::called(name, &newer());
        let scanner = fake.scanner();
        assert!(scanner.is_present().await);

        let found = scanner.scan(&ask(None)).await;

        assert!(found.checked.ok, "{:?}", found.checked.problem);
        let security = found.items.iter().filter(|item| item.is_security == Some(true)).count();
        assert_eq!((found.items.len(), security), (3, 1));
        let sec = found.items.iter().find(|item| item.name == "r-sec").unwrap();
        assert_eq!(sec.severity.as_str(), "critical");
        assert_eq!(sec.cves, ["CVE-2099-0001", "CVE-2099-0002"]);
        let bare = found.items.iter().find(|item| item.name == "r-bare").unwrap();
        assert_eq!(bare.is_security, None, "a repository without errata says nothing");
        assert!(fake.calls().iter().all(|call| call.starts_with("C.UTF-8/ ")), "{:?}", fake.calls());
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_looked_at_again_unless_a_person_asks() {
    let fake = FakeFive::called("dnf", &newer());
    let scanner = fake.scanner();
    let first = scanner.scan(&ask(None)).await;
    let calls = fake.calls().len();

    assert_eq!(scanner.scan(&ask(Some(&first))).await, first);
    assert_eq!(fake.calls().len(), calls);

    scanner.scan(&ScanAsk { by_person: true, ..ask(Some(&first)) }).await;
    assert!(fake.calls().iter().any(|call| call.contains("--refresh check-upgrade")), "{:?}", fake.calls());
    let calls = fake.calls().len();

    std::fs::create_dir(fake.0.path().join("rpm-database")).unwrap();
    scanner.scan(&ask(Some(&first))).await;
    assert!(fake.calls().len() > calls, "packages changed");
}

#[tokio::test]
async fn metadata_that_cannot_be_refreshed_leaves_what_was_known_with_the_reason() {
    let fake = FakeFive::called("dnf", &newer());
    let scanner = fake.scanner();
    let known = scanner.scan(&ask(None)).await;
    let error = "echo \"Error: Failed to download metadata for repository 'updates'\" >&2; exit 1";
    fake.dnf("dnf", error);

    let found = scanner.scan(&ScanAsk { by_person: true, ..ask(Some(&known)) }).await;

    assert_eq!(found.items, known.items);
    assert!(!found.checked.ok && !found.checked.is_complete);
    assert_eq!(found.checked.as_of, known.checked.as_of);
    let reason = found.checked.problem.unwrap().reason;
    assert!(reason.contains("not known since 2026-01-31") && reason.contains("'updates'"), "{reason}");
}

#[tokio::test]
async fn metadata_that_never_expires_grows_old_all_the_same() {
    let fake = FakeFive::called("dnf5", &newer());
    for (hours, is_ok) in [(1, true), (59, true), (61, false)] {
        fake.kept_for(TimeDelta::hours(hours));
        let scanner = fake.scanner();
        let found = scanner.scan(&ask(None)).await;
        assert_eq!(found.checked.as_of, Some(ask(None).now - TimeDelta::hours(hours)));
        assert_eq!(
            (found.checked.ok, found.checked.is_complete, found.items.len()),
            (is_ok, is_ok, 3),
            "{hours}"
        );
        // and the next look says the same
        assert_eq!(scanner.scan(&ask(Some(&found))).await, found);
        if let Some(problem) = found.checked.problem {
            assert!(problem.reason.starts_with("not known since 2026-01-28"), "{problem:?}");
        }
    }
    // Where nothing tells how old it is, nobody calls it new, unless it was fetched for whoever asks.
    std::fs::remove_dir_all(fake.0.path().join("cache")).unwrap();
    assert_eq!(fake.scanner().scan(&ask(None)).await.checked.as_of, None);
    let asked = ScanAsk { by_person: true, ..ask(None) };
    assert_eq!(fake.scanner().scan(&asked).await.checked.as_of, Some(asked.now));
}

#[tokio::test]
async fn advisories_that_cannot_be_read_leave_the_updates_and_what_was_known_of_them() {
    let fake = FakeFive::called("dnf5", &newer());
    let known = fake.scanner().scan(&ask(None)).await;
    std::fs::write(fake.0.path().join("no-advisories"), "").unwrap();

    let (first, later) = (fake.scanner(), fake.scanner());
    let (fresh, after) = (first.scan(&ask(None)).await, later.scan(&ask(Some(&known))).await);

    for found in [&fresh, &after] {
        assert_eq!((found.items.len(), found.checked.ok, found.checked.is_complete), (3, true, true));
        let problem = found.checked.problem.as_ref().unwrap();
        assert!(
            problem.reason.contains("not known whole") && problem.reason.contains("Cannot read"),
            "{problem:?}"
        );
    }
    assert!(fresh.items.iter().all(|item| item.is_security.is_none() && item.cves.is_empty()));
    assert_eq!(after.items, known.items);
    assert_eq!(
        first.scan(&ask(Some(&fresh))).await.checked.problem,
        fresh.checked.problem,
        "it is said again"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_no_empty_list() {
    let fake = FakeFive::called("dnf", "echo '{\"upgrades\":[{'; exit 100");
    let found = fake.scanner().scan(&ask(None)).await;
    let problem = found.checked.problem.unwrap();
    assert!(!found.checked.ok && problem.reason.contains("is not the JSON"), "{problem:?}");
}

#[tokio::test]
async fn another_program_of_that_name_is_named_and_none_is_absent() {
    let fake = FakeFive::called("dnf5", &newer());
    fake.program("dnf5", "echo 3.4.3");
    let problem = fake.scanner().scan(&ask(None)).await.checked.problem.unwrap();
    assert!(problem.reason.contains("`dnf5 --version` says `3.4.3`"), "{problem:?}");
    fake.program("rpm", "exit 0");
    assert!(!fake.scanner().is_present().await, "a system of other packages that offers DNF");
}
