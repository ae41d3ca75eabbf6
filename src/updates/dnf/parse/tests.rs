use super::*;

#[test]
fn the_version_line_says_which_dnf_it_is() {
    for (text, expected) in [
        ("4.14.0\n  Installed: dnf-0:4.14.0\n", Some(Generation::Four)),
        ("dnf5 version 5.2.10.0\ndnf5 plugin API version 2.0\n", Some(Generation::Five)),
        ("3.4.3\n", None),
        ("commande inconnue\n", None),
        ("", None),
    ] {
        assert_eq!(generation(text), expected, "{text}");
    }
}

#[test]
fn installed_packages_are_read_with_all_their_versions() {
    let text = "bash|0|5.1.8|9.el9|x86_64|bash-5.1.8-9.el9.src.rpm||The shell\n\
                kernel|0|5.14.0|70.el9|x86_64|kernel-5.14.0-70.el9.src.rpm||The kernel\n\
                kernel|0|5.14.0|362.el9|x86_64|kernel-5.14.0-362.el9.src.rpm||The kernel\n\
                nodejs|1|18.19|1|x86_64|nodejs-18.19-1.src.rpm|nodejs:18:8060020220523160029:ad008a3a|A | B\n\
                gpg-pubkey|0|fd431d51|4ae0493b|(none)|(none)||gpg\nhalf|0|1";
    let found = installed(text);
    let of = |name: &str| &found[&(name.to_owned(), "x86_64".to_owned())];
    assert_eq!(
        (of("bash")[0].evr.text().as_str(), of("bash")[0].source.as_deref()),
        ("5.1.8-9.el9", Some("bash"))
    );
    assert_eq!(of("kernel").len(), 2);
    assert_eq!(of("nodejs")[0].module.as_deref(), Some("nodejs:18"));
    assert_eq!(of("nodejs")[0].summary.as_deref(), Some("A | B"));
    assert_eq!(of("nodejs")[0].evr.text(), "1:18.19-1");
    assert_eq!(found.len(), 4);
}

#[test]
fn offers_are_read_and_odd_lines_passed_over() {
    let text = "scanlab-rsec|1|2.0|2|noarch|lab|6226\n\nplugin says: hello\na|0|1|1|noarch|lab|many\n|0|1|1|x|y|1\nhalf|0";
    let found = offers(text);
    let read: Vec<_> = found.iter().map(|o| (o.name.as_str(), o.evr.text(), o.size_bytes)).collect();
    assert_eq!(read, [("scanlab-rsec", "1:2.0-2".into(), Some(6226)), ("a", "1-1".into(), None)]);
}

#[test]
fn three_lists_of_one_call_are_told_apart_by_the_one_in_their_middle() {
    let security = "RLSA-2026:1 Important/Sec. r-sec-1:2.0-2.noarch\n";
    let cve = "CVE-2099-0001 Important/Sec. r-sec-1:2.0-2.noarch\n";
    let offer = "r-sec|1|2.0|2|noarch|repo|6226\n";
    let found = lists(&format!("{security}{offer}{offer}{cve}")).unwrap();
    assert_eq!(found.offers.len(), 2);
    assert_eq!((&found.advisories, &found.cves), (&advisories(security), &advisories(cve)));

    let bare = lists(offer).unwrap();
    assert_eq!((bare.offers.len(), bare.advisories.len(), bare.cves.len()), (1, 0, 0));
    for odd in [String::new(), format!("{security}{cve}"), format!("{offer}{cve}{offer}")] {
        assert_eq!(lists(&odd), None, "{odd}");
    }
}

#[test]
fn packages_that_take_the_place_of_others_are_no_updates_of_themselves() {
    let text = "\nr-app.noarch                               1.1-1                           repo \n\
                Obsoleting Packages\n\
                r-next.noarch                              2.0-1                           repo \n    \
                r-old.noarch                           1.0-1                           @repo\n    half.noarch\n";
    let found = obsoleting(text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].new.name.as_str(), found[0].new.evr.text().as_str()), ("r-next", "2.0-1"));
    assert_eq!(found[0].old, ("r-old".into(), "noarch".into()));
    assert_eq!(obsoleting("r-app.noarch 1.1-1 repo\n"), []);
}

#[test]
fn dnf5_tells_of_updates_in_json() {
    let text = "Updating and loading repositories:\nRepositories loaded.\n\
        {\"upgrades\":[{\"name\":\"bash\",\"arch\":\"x86_64\",\"evr\":\"5.2.26-3.fc41\",\"repository\":\"updates\"},\
        {\"name\":\"sec\",\"arch\":\"noarch\",\"evr\":\"1:2.0-2\",\"repository\":\"updates\"},{\"name\":1},{\"name\":\"x\",\"arch\":\"y\",\"evr\":\"\"}],\
        \"obsoleting\":[{\"name\":\"next\",\"arch\":\"noarch\",\"evr\":\"2-1\",\"repository\":\"u\",\
        \"obsoletes\":[{\"name\":\"old\",\"arch\":\"noarch\",\"evr\":\"1-1\",\"repository\":\"@System\"}]}]}\n";
    let (offers, obsoleting) = upgrades_of_five(text).unwrap();
    let read: Vec<_> = offers.iter().map(|o| (o.name.as_str(), o.evr.text())).collect();
    assert_eq!(read, [("bash", "5.2.26-3.fc41".into()), ("sec", "1:2.0-2".into())]);
    assert_eq!(obsoleting[0].old, ("old".into(), "noarch".into()));
    assert_eq!(upgrades_of_five(""), Some((Vec::new(), Vec::new())));
    for broken in ["no JSON at all", "{\"upgrades\":[{\"name\":\"ba", "12"] {
        assert_eq!(upgrades_of_five(broken), None, "{broken}");
    }
}

#[test]
fn advisories_are_security_by_their_type_whatever_their_name() {
    let text = "FEDORA-2026-1bbec06c4d Moderate/Sec.  r-sec-1:2.0-2.noarch\n\
                RLSA-2026:1234         Important/Sec. r-sec-1:2.0-2.noarch\n\
                ALSA-2026:7            unknown/Sec.   r-lib-1.1-1.noarch\n\
                openSUSE-2026-12       bugfix         r-fix-1.1-1.noarch\n\
                ELSA-2026-9            enhancement    r-fix-1.1-1.noarch\nplugin chatter\nhalf bugfix\n";
    let found = advisories(text);
    let read: Vec<_> = found
        .iter()
        .map(|a| (a.id.as_str(), a.is_security, a.severity.as_str(), a.package.name.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("FEDORA-2026-1bbec06c4d", true, "Moderate", "r-sec"),
            ("RLSA-2026:1234", true, "Important", "r-sec"),
            ("ALSA-2026:7", true, "unknown", "r-lib"),
            ("openSUSE-2026-12", false, "", "r-fix"),
            ("ELSA-2026-9", false, "", "r-fix"),
        ]
    );
}

#[test]
fn dnf5_tells_of_advisories_in_two_forms() {
    let plain = "[{\"name\":\"FEDORA-2026-1bbec06c4d\",\"type\":\"security\",\"severity\":\"Moderate\",\
                 \"nevra\":\"r-sec-1:2.0-2.noarch\",\"buildtime\":\"2026-01-01\"},{\"name\":\"odd\"}]";
    let found = advisories_of_five(plain).unwrap();
    assert_eq!(
        (found.len(), found[0].id.as_str(), found[0].is_security),
        (1, "FEDORA-2026-1bbec06c4d", true)
    );
    let with_cves = "[{\"advisory_name\":\"RHSA-2026:1\",\"advisory_type\":\"security\",\"advisory_severity\":\"Critical\",\
        \"advisory_buildtime\":\"x\",\"nevra\":\"r-sec-1:2.0-2.noarch\",\"references\":[\
        {\"reference_id\":\"CVE-2099-1\",\"reference_type\":\"cve\"},{\"reference_id\":\"CVE-2099-2\",\"reference_type\":\"cve\"}]}]";
    let found = advisories_of_five(with_cves).unwrap();
    let ids: Vec<_> = found.iter().map(|a| (a.id.as_str(), a.severity.as_str())).collect();
    assert_eq!(ids, [("CVE-2099-1", "Critical"), ("CVE-2099-2", "Critical")]);
    assert_eq!(advisories_of_five(""), Some(Vec::new()));
    assert_eq!(advisories_of_five("{}"), None);
}

/// Recorded from DNF 4.14.
const DRY_RUN: &str = "\
Last metadata expiration check: 0:00:01 ago on Mon Nov 30 02:43:02 2026.
Dependencies resolved.
================================================================================
 Package               Architecture     Version            Repository      Size
================================================================================
Installing:
 r-next                noarch           2.0-1              repo           6.1 k
     replacing  r-old.noarch 1.0-1
Upgrading:
 r-app                 noarch           1.1-1              repo           6.0 k
 a-name-so-long-that-the-rest-stands-below
                       noarch           1.1-1              repo           6.0 k
Installing dependencies:
 r-new                 noarch           1.0-1              repo           6.0 k
Skipping packages with broken dependencies:
 r-bad                 noarch           1.1-1              repo           6.0 k

Transaction Summary
================================================================================
Install  2 Packages
";

#[test]
fn a_dry_run_tells_what_is_left_out_and_why() {
    let errors = "\n Problem: cannot install the best update candidate for package r-bad-1.0-1.noarch\n  \
                  - nothing provides nowhere >= 3 needed by r-bad-1.1-1.noarch\nOperation aborted.\n";
    let found = dry_run(DRY_RUN, errors);
    assert_eq!(found.skipped, BTreeSet::from(["r-bad".into()]));
    assert!(found.taken.contains("r-app") && found.taken.contains("r-new"), "{:?}", found.taken);
    assert!(found.taken.contains("a-name-so-long-that-the-rest-stands-below"));
    assert_eq!(found.reasons["r-bad"], "nothing provides nowhere >= 3 needed by r-bad-1.1-1.noarch");

    let of_five = "Problem 1: cannot install the best update candidate for package a-1.0-1.noarch\n  \
        - nothing provides x >= 3 needed by a-1.1-1.noarch from lab\n Problem 2: problem with installed package\n  \
        - package b-1-1.noarch requires c, but none of the providers can be installed\n  - second\nNothing to do.\n";
    let found = dry_run("", of_five);
    assert_eq!(found.reasons["a"], "nothing provides x >= 3 needed by a-1.1-1.noarch from lab");
    assert!(found.reasons["b"].starts_with("package b-1-1.noarch requires c"));
    assert_eq!(dry_run("Nothing to do.\n", ""), DryRun::default());
}

#[test]
fn the_age_of_the_metadata_is_read() {
    for (text, seconds) in [
        ("Last metadata expiration check: 0:00:01 ago on Mon Nov 30 02:43:02 2026.", Some(1)),
        ("Last metadata expiration check: 1 day, 2:00:00 ago on Mon", Some(93_600)),
        ("Last metadata expiration check: 10 days, 0:01:00 ago on Mon", Some(864_060)),
        ("Dernière vérification de l’expiration", None),
    ] {
        assert_eq!(age("", text).map(|age| age.num_seconds()), seconds, "{text}");
    }
}

#[test]
fn a_repository_that_was_left_out_is_a_failure_whatever_the_code() {
    let left_out = "Errors during downloading metadata for repository 'repo':\n  - Curl error (7): Couldn't connect to server for http://u:pw@127.0.0.1:1/repodata/repomd.xml\nError: Failed to download metadata for repo 'repo': Cannot download repomd.xml\nIgnoring repositories: repo\n";
    for code in [0, 100, 1] {
        let Refresh::Failed(reason) = refresh(Some(code), left_out) else { panic!("{code}") };
        assert!(reason.contains("repository 'repo'") && reason.contains("Curl error (7)"), "{reason}");
        assert!(!reason.contains("pw"), "{reason}");
    }
    assert_eq!(refresh(Some(100), ""), Refresh::Done);
    assert_eq!(refresh(Some(0), "some plugin is deprecated\n"), Refresh::Done);
    assert_eq!(refresh(Some(200), ""), Refresh::Busy);
    assert_eq!(
        refresh(Some(1), "Error: There are no enabled repositories\n"),
        Refresh::Failed("There are no enabled repositories".into())
    );
    assert_eq!(refresh(None, ""), Refresh::Failed("it did not say why".into()));
}
