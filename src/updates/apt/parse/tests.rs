use super::*;

fn policies(text: &str) -> Vec<Policy> {
    let mut policies = Policies::default();
    text.lines().for_each(|line| policies.line(line));
    policies.found
}

#[test]
fn packages_are_read_with_their_state() {
    let text = "ii |bash|amd64|5.2.15-2+b7|bash|5.2.15-2\nhi |t-held|all|1.0|t-held|1.0\n\
                iF |t-bad|all|1.1|t-bad|1.1\nrc |gone|amd64|1|gone|1\niHR|worse|amd64|1|worse|1\n\
                ii |libc6|i386|2.36-9|glibc|2.36-9\nun |never|||never|\nii |half|amd64\n";
    let found = installed(text);
    let state: Vec<_> = found.iter().map(|(name, p)| (name.as_str(), p.is_held, p.is_broken)).collect();
    assert_eq!(
        state,
        [
            ("bash:amd64", false, false),
            ("libc6:i386", false, false),
            ("t-bad:all", false, true),
            ("t-held:all", true, false),
            ("worse:amd64", false, true),
        ]
    );
    assert_eq!(found["libc6:i386"].source, "glibc");
    assert_eq!(found["bash:amd64"].source_version, "5.2.15-2");
}

const POLICY: &str = "\
t-sec:
  Installed: 1.0
  Candidate: 1.1
  Version table:
     1.1 500
        500 http://deb.example/debian stable/main amd64 Packages
        500 http://mirror.example/debian stable/main amd64 Packages
     1.0.1 500
        500 http://deb.example/debian-security stable-security/main amd64 Packages
 *** 1.0 500
        500 http://deb.example/debian stable/main amd64 Packages
        100 /var/lib/dpkg/status
t-phased:i386:
  Installed: 1.0
  Candidate: 1.1
  Package pin: 1.1
  Version table:
     1.1 500 (phased 10%)
        500 file:/repo ./ Packages
 *** 1.0 100
        100 /var/lib/dpkg/status
t-none:
  Installed: (none)
  Candidate: (none)
  Version table:
     2.0 -1
         -1 http://deb.example/debian sid/main amd64 Packages
t-half:
  Installed: 1.0
  Cand";

#[test]
fn policies_are_read_with_every_version_and_who_offers_it() {
    let found = policies(POLICY);
    let names: Vec<_> = found.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["t-sec", "t-phased:i386", "t-none", "t-half"]);
    let versions: Vec<_> = found[0].versions.iter().map(|version| version.version.as_str()).collect();
    assert_eq!(versions, ["1.1", "1.0.1", "1.0"]);
    assert_eq!(found[0].versions[0].pockets.len(), 2);
    assert_eq!(found[0].versions[1].pockets, ["http://deb.example/debian-security stable-security/main"]);
    assert_eq!(found[0].versions[2].pockets.len(), 1, "what dpkg knows is no offer");
    assert_eq!(found[1].versions[0].phased, Some(10));
    assert_eq!((&found[2].installed, &found[2].candidate), (&None, &None));
    assert_eq!(found[3].candidate, None, "half a line says nothing");
}

#[test]
fn other_languages_and_noise_are_passed_over() {
    let german = "t-lib:\n  Installiert:           1.0\n  Installationskandidat: 1.1\n  Versionstabelle:\n";
    assert_eq!(policies(german)[0].candidate, None, "it is asked for in English, and nothing is guessed");
    for noise in
        ["", "\n\n", "N: Unable to locate package ?upgradable\n", "  Installed: 1\n        500 x y\n"]
    {
        assert_eq!(policies(noise), [], "{noise:?}");
    }
    assert_eq!(installed("dpkg-query: no packages found matching x\n"), BTreeMap::new());
}

#[test]
fn a_dry_run_is_read_section_by_section() {
    let text = "Reading package lists...\nCalculating upgrade...\n\
        The following package was automatically installed and is no longer required:\n   t-idle (1.0)\n\
        Use 'apt autoremove' to remove it.\n\
        The following packages will be REMOVED:\n   t-old (1.0)\n   t-purged* (1.0)\n   t-bare\n   t-gone*\n\
        The following additional packages will be installed:\n   t-more (1.0)\n\
        The following NEW packages will be installed:\n   t-new (1:1.0~rc1-1)\n\
        The following packages have been kept back:\n   t-held (1.0 => 1.1)\n\
        The following packages will be upgraded:\n   libc6:i386 (2.36-9+deb12u1 => 2.36-9+deb12u2)\n   t-app (1.0 => 1.1)\n\
        2 upgraded, 1 newly installed, 4 to remove and 1 not upgraded.\n   stray (1.0)\n\
        'file:/r/t-app_1.1_all.deb' t-app_1.1_all.deb 740 MD5Sum:0e20\n   half (1.0 =";
    let found = simulation(text);
    let read: Vec<_> = found
        .installs
        .iter()
        .map(|(name, i)| (name.as_str(), i.current.as_deref(), i.new.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("libc6:i386", Some("2.36-9+deb12u1"), "2.36-9+deb12u2"),
            ("t-app", Some("1.0"), "1.1"),
            ("t-new", None, "1:1.0~rc1-1"),
        ]
    );
    assert_eq!(found.removals, ["t-old", "t-purged", "t-bare", "t-gone"]);
    assert_eq!(found.counted_removals, Some(4));
    let german = "Die folgenden Pakete werden aktualisiert (Upgrade):\n   t-app (1.0 => 1.1)\n";
    assert_eq!(
        simulation(german),
        Simulation::default(),
        "it is asked for in English, and nothing is guessed"
    );
}

#[test]
fn the_reason_of_a_dry_run_without_a_way_is_kept() {
    let text = "Reading package lists...\nThe following packages have unmet dependencies:\n \
                t-unmet : Depends: t-nowhere (>= 3) but it is not installable\n           \
                Depends: t-more but it is not installable\n";
    assert_eq!(
        unmet(text).as_deref(),
        Some("t-unmet : Depends: t-nowhere (>= 3) but it is not installable (and 1 more)")
    );
    assert_eq!(unmet("Reading package lists...\n"), None);
    assert_eq!(
        error_of("W: x\nE: Unable to locate package X\n").as_deref(),
        Some("Unable to locate package X")
    );
}

#[test]
fn records_are_read_line_by_line() {
    let text = "Package: a\nSource: src\nVersion: 1.1\nSize: 752\nSection: net\n\
                Depends: libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, x:any\nPre-Depends: y\n\
                Conflicts: z (<< 2)\nDescription-en: first line\n second: line\n\nPackage: b\nVersion: 2\nSize: x";
    let wanted = BTreeMap::from([("a", "1.1"), ("b", "2")]);
    let mut records = Records::of(&wanted, "amd64", true);
    text.lines().for_each(|line| records.line(line));
    records.close();
    let a = &records.found[&("a".into(), "1.1".into())];
    assert_eq!((a.size_bytes, a.section.as_deref()), (Some(752), Some("net")));
    assert_eq!(a.depends, ["libc6", "debconf", "debconf-2.0", "x", "y"]);
    assert_eq!(
        (a.conflicts.as_slice(), a.description.as_deref()),
        (&["z".to_owned()][..], Some("first line"))
    );
    assert_eq!(records.found[&("b".into(), "2".into())], Record::default());
}

#[test]
fn of_whole_lists_only_what_is_wanted_is_kept() {
    let text = "Package: a\nVersion: 1.0\nSize: 1\n\nPackage: a\nVersion: 1.1\nArchitecture: i386\nSize: 2\n\n\
                Package: x\nVersion: 1.1\nSize: 3\nPackage: a\nVersion: 1.1\nArchitecture: amd64\n\
                Depends: y\nSize: 4\n\nPackage: f\nVersion: 1\nArchitecture: amd64\nSize: 5\n\n\
                Package: f\nVersion: 1\nArchitecture: i386\nSize: 6";
    let wanted = BTreeMap::from([("a", "1.1"), ("f:i386", "1")]);
    let mut records = Records::of(&wanted, "amd64", false);
    text.lines().for_each(|line| records.line(line));
    records.close();
    let sizes: Vec<_> =
        records.found.iter().map(|((name, _), record)| (name.as_str(), record.size_bytes)).collect();
    assert_eq!(sizes, [("a", Some(4)), ("f", Some(6))]);
    assert!(records.found.values().all(|record| record.depends.is_empty()), "nobody asked for relations");
}

#[test]
fn lists_are_told_apart_by_what_their_release_says() {
    let text = "Packages|http://deb.example/debian-security|bookworm-security|main|stable-security|bookworm-security|Debian|Debian-Security\n\
                Packages|http://deb.example/debian|bookworm|main|stable|bookworm|Debian|Debian\n\
                Sources|http://deb.example/debian|bookworm|main|stable|bookworm|Debian|Debian\n\
                Packages|https://x.example|./||||X|X\n\
                Packages|http://esm.example/ubuntu|jammy-apps|main|jammy-apps|jammy|UbuntuESMApps|UbuntuESM\nPackages|half";
    let found = targets(text);
    let read: Vec<_> =
        found.iter().map(|(pocket, t)| (pocket.as_str(), t.suite.as_str(), t.is_security)).collect();
    assert_eq!(
        read,
        [
            ("http://deb.example/debian bookworm/main", "stable", false),
            ("http://deb.example/debian-security bookworm-security/main", "stable-security", true),
            ("http://esm.example/ubuntu jammy-apps/main", "jammy-apps", true),
            ("https://x.example ./", ".", false),
        ]
    );
}

#[test]
fn a_refresh_that_failed_is_told_from_one_that_worked_whatever_its_code() {
    let failed = |text: &str| Refresh::Failed(text.into());
    let down = "W: Failed to fetch http://127.0.0.1:1/dists/stable/InRelease  Could not connect to 127.0.0.1:1 - connect (111: Connection refused)\nW: Some index files failed to download. They have been ignored, or old ones used instead.\n";
    let words = "Failed to fetch http://127.0.0.1:1/dists/stable/InRelease Could not connect to 127.0.0.1:1 - connect (111: Connection refused)";
    let two = "E: Failed to fetch http://u:secret@h/a  404  File not found\nE: Failed to fetch http://h/b  404\nE: Some index files failed to download.\n";
    let lock = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)\nE: Unable to lock directory /var/lib/apt/lists/\n";
    for (code, stderr, outcome) in [
        (Some(0), "", Refresh::Done),
        (Some(0), "W: Target Packages is configured multiple times\n", Refresh::Done),
        (Some(0), down, failed(words)),
        (Some(100), two, failed("Failed to fetch http://h/a 404 File not found (and 1 more)")),
        (
            Some(100),
            "E: The repository 'http://h stable Release' is not signed.\n",
            failed("The repository 'http://h stable Release' is not signed."),
        ),
        (Some(100), lock, Refresh::Busy(Some("812 (apt-get)".into()))),
        (
            Some(100),
            "E: Could not get lock /x - open (11: Resource temporarily unavailable)\n",
            Refresh::Busy(None),
        ),
        (None, "", failed("`apt-get update` did not say why")),
    ] {
        assert_eq!(refresh(code, stderr), outcome, "{stderr}");
    }
}

#[test]
fn what_is_no_name_is_handed_to_no_program() {
    for (name, is) in [
        ("libstdc++6", true),
        ("libc6:i386", true),
        ("0ad", true),
        ("-oDPkg::Pre-Invoke=sh", false),
        ("../x", false),
        ("a", false),
        ("Upper", false),
        ("a b", false),
        ("a\u{1b}[31m", false),
        ("", false),
    ] {
        assert_eq!(is_name(name), is, "{name:?}");
    }
    for (version, is) in [("2:1.0~rc1-1+b2", true), ("-1", false), ("1.0;sh", false), ("", false)] {
        assert_eq!(is_version(version), is, "{version:?}");
    }
}

#[test]
fn a_pin_of_the_package_itself_is_known_by_its_priority_and_others_are_not_meant() {
    let policy = |candidate: &str, newer: &str, installed: &str| {
        let text = format!(
            "t-lib:\n  Installed: 1.0\n  Candidate: {candidate}\n  Version table:\n     {newer}\n        500 file:/r stable/main amd64 Packages\n *** 1.0 {installed}\n        500 file:/r stable/main amd64 Packages\n        100 /var/lib/dpkg/status\n"
        );
        let mut policies = Policies::default();
        text.lines().for_each(|line| policies.line(line));
        policies.found.remove(0).pinned().map(|version| version.version.clone())
    };
    for (candidate, newer, installed, expected) in [
        ("1.0", "1.1 -1", "500", Some("1.1")),
        ("1.0", "1.1 500", "1001", Some("1.1")),
        ("(none)", "1.1 -1", "-1", Some("1.1")),
        // It is the candidate all the same.
        ("1.1", "1.1 990", "500", None),
        // Its publisher offers it to others first.
        ("1.0", "1.1 1 (phased 10%)", "500", None),
        ("1.0", "1.1 500", "500", None),
    ] {
        assert_eq!(
            policy(candidate, newer, installed).as_deref(),
            expected,
            "{candidate} {newer} {installed}"
        );
    }
}

#[test]
fn one_dry_run_of_many_names_what_each_of_them_lacks() {
    let said = "Some packages could not be installed.\nThe following packages have unmet dependencies:\n t-app : Depends: t-lib (>= 3) but 1.0 is to be installed\n         Depends: t-x but it is not installable\n t-b : Breaks: t-c (< 2) but 1 is to be installed\n";
    let found = unmet_by_name(said);
    assert_eq!(found["t-app"], "t-app : Depends: t-lib (>= 3) but 1.0 is to be installed (and 1 more)");
    assert_eq!(found["t-b"], "t-b : Breaks: t-c (< 2) but 1 is to be installed");
    assert_eq!((found.len(), unmet_by_name("Done.").len()), (2, 0));
}
