use super::*;
use crate::domain::update::Kind;

const DRY_RUN: &str = "Last metadata expiration check: 0:00:01 ago on Mon Nov 30 08:53:26 2026.
Dependencies resolved.
================================================================================
 Package            Arch    Version                           Repo   Size
================================================================================
Installing:
 kernel             noarch  6.2-1                             repo  5.9 k
 t-next             noarch  2.0-1                             repo  6.0 k
     replacing  t-old.noarch 1.0-1
Upgrading:
 a-name-that-is-too-wide-for-its-column
                    noarch  1:1.1-1.fc99                      repo  6.3 k
     replacing  t-old.noarch 1.0-1
Installing dependencies:
 t-new              noarch  1.0-1                             repo   12  
Removing:
 kernel             noarch  6.0-1                             @repo    2  
Skipping packages with conflicts:
(add '--best --allowerasing' to command line to force their upgrade):
 t-odd              noarch  1.2-1                             repo  5.9 k
Skipping packages with broken dependencies:
 t-bad              noarch  1:1.2-1                           repo  5.9 k

Transaction Summary
================================================================================
Install  3 Packages
";

#[test]
fn the_table_of_a_dry_run_is_read_whatever_its_width() {
    let table = Table::read(DRY_RUN);
    let rows: Vec<String> = table
        .rows
        .iter()
        .map(|(part, row)| {
            format!("{part:?} {} {} {} {}", row.name, row.evr.text(), row.arch, row.repository)
        })
        .collect();
    assert_eq!(
        rows,
        [
            "Install kernel 6.2-1 noarch repo",
            "Install t-next 2.0-1 noarch repo",
            "Upgrade a-name-that-is-too-wide-for-its-column 1:1.1-1.fc99 noarch repo",
            "Install t-new 1.0-1 noarch repo",
            "Remove kernel 6.0-1 noarch @repo",
            "Skip t-odd 1.2-1 noarch repo",
            "Skip t-bad 1:1.2-1 noarch repo",
        ]
    );
    let replaced: Vec<&str> = table.replaced.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(replaced, ["t-old", "t-old"]);
    assert!(table.others.is_empty());
    assert_eq!(Table::read("Dependencies resolved.\nNothing to do.\nComplete!\n"), Table::default());
    let modules =
        DRY_RUN.replace("Installing dependencies:\n", "Enabling module streams:\n nodejs  18\nUpgrading:\n");
    assert_eq!(Table::read(&modules).others, ["Enabling module streams nodejs 18"]);
}

#[test]
fn a_check_sum_is_read_as_python_writes_it() {
    let line = r"t-app|0|1.1|1|noarch|repo|6070|2|(2, b's\xa3\xdb%\xfa\x93\xeaI \xcb\xe5\xac\xe9\x9c\x91V\xeb\xf5P\xdb\x00\x1fC\xb7}\x7f\x03\x8aZ\xf2\x1b\x92')";
    let read = &contents(line)[0];
    assert_eq!((read.nevra.as_str(), read.download_bytes), ("t-app-1.1-1.noarch", 6070));
    assert_eq!(
        read.sha256.as_deref(),
        Some("73a3db25fa93ea4920cbe5ace99c9156ebf550db001f43b77d7f038a5af21b92")
    );
    let of = |inner: &str| check_sum(&format!("(2, b{inner})"));
    assert_eq!(of(&format!("\"'{}\"", r"\n".repeat(31))), Some(format!("27{}", "0a".repeat(31))));
    for odd in ["'short'", "''", "'", &format!("'{}\\q'", "a".repeat(31)), &format!("'{}é'", "a".repeat(31))]
    {
        assert_eq!(of(odd), None, "{odd}");
    }
    assert_eq!(check_sum("(none)"), None);
}

#[test]
fn a_plan_is_written_as_dnf_reads_it() {
    let change = |operation, from: Option<&str>, to: Option<&str>| PlannedChange {
        kind: Kind::Dnf,
        name: "t".into(),
        arch: "noarch".into(),
        operation,
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        digest: None,
    };
    for (change, expected) in [
        (
            change(Operation::Upgrade, Some("1.0-1"), Some("1:1.1-1")),
            vec!["Upgrade t-1:1.1-1.noarch clean", "Upgraded t-1.0-1.noarch clean"],
        ),
        (
            change(Operation::Downgrade, Some("1:1.1-1"), Some("1.0-1")),
            vec!["Downgrade t-1.0-1.noarch clean", "Downgraded t-1:1.1-1.noarch clean"],
        ),
        (
            change(Operation::Reinstall, Some("1.0-1"), Some("1.0-1")),
            vec!["Reinstall t-1.0-1.noarch clean", "Reinstalled t-1.0-1.noarch clean"],
        ),
        (change(Operation::Install, None, Some("1.0-1")), vec!["Install t-1.0-1.noarch dependency"]),
        (change(Operation::Remove, Some("1.0-1"), None), vec!["Removed t-1.0-1.noarch dependency"]),
    ] {
        let file = file(&[&change], |_| Reason::Dependency);
        assert_eq!(file["version"], "0.0");
        let word = |rpm: &Value, key: &str| rpm[key].as_str().unwrap().to_owned();
        let rpms = file["rpms"].as_array().unwrap().iter();
        let lines: Vec<String> =
            rpms.map(|rpm| ["action", "nevra", "reason"].map(|key| word(rpm, key)).join(" ")).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn only_names_are_names() {
    for name in ["bash", "gtk+3-devel", "libstdc++.i686", "_x", "python3.11", "NetworkManager"] {
        assert!(is_name(name), "{name}");
    }
    for odd in
        ["", "-y", "--installroot=/x", "@core", "*", "a b", "./x.rpm", "a/b", "x=1", "x>1", &"x".repeat(257)]
    {
        assert!(!is_name(odd), "{odd}");
    }
}

#[test]
fn how_far_it_is_and_whose_script_failed_is_read_from_the_log() {
    assert_eq!(
        progress("  Upgrading        : t-lib-1:1.1-1.noarch                                   1/4 "),
        Some((25, "Upgrading t-lib-1:1.1-1.noarch".into()))
    );
    assert_eq!(progress("Upgrading:"), None);
    let said = "  Running scriptlet: t-bad-1.1-1.noarch   1/2 \nboom\n\
                warning: %post(t-bad-1.1-1.noarch) scriptlet failed, exit status 1\n\n\
                Error in POSTIN scriptlet in rpm package t-bad\n";
    let reason = failed_scripts(said).unwrap();
    assert_eq!(
        reason,
        "the script POSTIN of t-bad failed warning: %post(t-bad-1.1-1.noarch) scriptlet failed, exit status 1"
    );
    assert_eq!(failed_scripts("Complete!\n"), None);
}

#[test]
fn how_a_call_ended_is_read_from_its_code_and_words() {
    let busy =
        "RPMDB already locked by 8082\n  The application with PID 8082 is: dnf\n    Memory :  54 M RSS\n";
    let replay = "Error: The following problems occurred while replaying the transaction from file \"/x/y.json\":\n  \
                  Cannot find rpm nevra \"t-pre-9-9.noarch\".\n";
    for (code, said, expected) in [
        (Some(0), "Complete!\n", Outcome::Done),
        (Some(200), busy, Outcome::Busy("`dnf` (process 8082)".into())),
        (
            Some(1),
            "error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)\n",
            Outcome::Busy("another DNF or RPM".into()),
        ),
        (Some(1), replay, Outcome::Refused("Cannot find rpm nevra \"t-pre-9-9.noarch\".".into())),
        (Some(1), "Error: \n Problem: x\n  - y\n", Outcome::Failed("Problem: x - y".into())),
        (
            Some(1),
            "Public key for t-1-1.noarch.rpm is not installed. Failing package is: t-1-1.noarch\n \
             GPG Keys are configured as: file:///x.asc\nPackage u-1-1.noarch.rpm is not signed\nError: GPG check FAILED\n",
            Outcome::Failed(
                "GPG check FAILED Public key for t-1-1.noarch.rpm is not installed. Failing package is: t-1-1.noarch \
                 Package u-1-1.noarch.rpm is not signed"
                    .into(),
            ),
        ),
        (Some(7), "", Outcome::Failed("DNF ended with 7 and did not say why".into())),
        (None, "", Outcome::Failed("DNF was killed".into())),
    ] {
        assert_eq!(outcome(code, said), expected, "{said}");
    }
    let info = "Transaction ID : 4\nReturn-Code    : Success\nComment        : lightship 1-a\n";
    assert!(is_ended_well(info, "lightship 1-a") && !is_ended_well(info, "lightship 1-b"));
    assert!(!is_ended_well(&info.replace("Success", "Failure: 1"), "lightship 1-a"));
}
