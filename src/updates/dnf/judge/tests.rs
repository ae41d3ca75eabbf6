use super::super::parse::{advisories, dry_run, installed, obsoleting, offers};
use super::*;

/// What the programs said of the laboratory's root, recorded.
fn seen() -> Seen {
    let package = |name: &str, evr: &str| format!("{name}|{evr}|noarch|{name}-1-1.src.rpm||about {name}\n");
    let packages = [
        package("r-lib", "0|1.0|1"),
        package("r-sec", "1|1.0|1"),
        package("r-fix", "0|1.0|1"),
        package("r-bare", "0|1.0|1"),
        package("r-bad", "0|1.0|1"),
        package("r-old", "0|1.0|1"),
        package("kernel", "0|6.1|9"),
        package("kernel", "0|6.1|10"),
        "nodejs|0|18|1|noarch|nodejs-18-1.src.rpm|nodejs:18:806:ad0|js\n".into(),
    ];
    Seen {
        installed: installed(&packages.concat()),
        offers: offers(
            "r-lib|0|1.1|1|noarch|repo|1\nr-lib|0|1.10|1|noarch|repo|2\nr-lib|0|1.9|1|noarch|repo|3\n\
             r-sec|1|2.0|2|noarch|repo|6186\nr-fix|0|1.1|1|noarch|repo|1\nr-bare|0|1.1|1|noarch|bare|1\n\
             r-bad|0|1.1|1|noarch|repo|1\nkernel|0|6.2|1|noarch|repo|1\nnodejs|0|18|2|noarch|repo|1\n",
        ),
        obsoleting: obsoleting(
            "Obsoleting Packages\nr-next.noarch 2.0-1 repo\n    r-old.noarch 1.0-1 @repo\n",
        ),
        advisories: advisories(
            "FEDORA-2026-1bbec06c4d Moderate/Sec. r-sec-1:2.0-2.noarch\n\
             RLSA-2026:1234 Important/Sec. r-sec-1:2.0-2.noarch\nELBA-1 bugfix r-fix-1.1-1.noarch\n\
             ALSA-7 unknown/Sec. r-lib-1.1-1.noarch\nALSA-8 Critical/Sec. r-lib-2.0-1.noarch\n",
        ),
        cves: advisories(
            "CVE-2099-0002 Moderate/Sec. r-sec-1:2.0-2.noarch\nCVE-2099-0001 Important/Sec. r-sec-1:2.0-2.noarch\n",
        ),
        dry_run: Some(dry_run(
            "Upgrading:\n r-lib noarch 1.10-1 repo 6 k\nSkipping packages with broken dependencies:\n r-bad noarch 1.1-1 repo 6 k\n",
            " Problem: cannot install the best update candidate for package r-bad-1.0-1.noarch\n  - nothing provides nowhere >= 3 needed by r-bad-1.1-1.noarch\n",
        )),
    }
}

fn finding(name: &str) -> Finding {
    seen().findings().into_iter().find(|finding| finding.name == name).unwrap()
}

#[test]
fn the_worst_of_several_advisories_counts_and_all_their_cves() {
    let sec = finding("r-sec");
    assert_eq!((sec.is_security, sec.severity), (Some(true), Severity::Important));
    assert_eq!(sec.cves, ["CVE-2099-0001", "CVE-2099-0002"]);
    assert_eq!(sec.advisories, ["FEDORA-2026-1bbec06c4d", "RLSA-2026:1234"]);
    assert_eq!(
        (sec.current_version.as_deref(), sec.available_version.as_deref()),
        (Some("1:1.0-1"), Some("1:2.0-2"))
    );
    assert_eq!((sec.size_bytes, sec.source.as_deref()), (Some(6186), Some("repo")));
}

#[test]
fn without_advisories_nobody_knows() {
    assert_eq!((finding("r-bare").is_security, finding("r-bare").severity), (None, Severity::Moderate));
    assert_eq!((finding("r-fix").is_security, finding("r-fix").severity), (Some(false), Severity::Low));
}

#[test]
fn the_newest_of_several_builds_counts_with_what_lies_on_the_way() {
    let lib = finding("r-lib");
    assert_eq!(lib.available_version.as_deref(), Some("1.10-1"));
    assert_eq!(lib.advisories, ["ALSA-7"], "what it does not contain is no reason to install it");
    assert_eq!((lib.is_security, lib.severity), (Some(true), Severity::Important), "nobody rated it");
}

#[test]
fn a_kernel_is_compared_with_the_newest_that_is_installed() {
    let kernel = finding("kernel");
    assert_eq!(kernel.current_version.as_deref(), Some("6.1-10"));
    assert_eq!(kernel.details["install_only"], true);
    assert_eq!(kernel.details["installed_versions"], json!(["6.1-9", "6.1-10"]));
}

#[test]
fn what_cannot_be_installed_says_why_and_what_takes_the_place_of_another_says_so() {
    let held = finding("r-bad").held_back.unwrap();
    assert_eq!(held.cause, HeldCause::Unmet);
    assert_eq!(held.reason, "dependency: nothing provides nowhere >= 3 needed by r-bad-1.1-1.noarch");
    assert_eq!(finding("r-lib").held_back, None);
    let old = finding("r-old");
    assert_eq!(
        (old.current_version.as_deref(), old.available_version.as_deref()),
        (Some("1.0-1"), Some("2.0-1"))
    );
    assert_eq!(
        (old.title.as_deref(), &old.details["replaced_by"]),
        (Some("r-next instead of r-old"), &json!("r-next"))
    );
    assert_eq!(finding("nodejs").details["module"], "nodejs:18");
    assert_eq!(finding("r-sec").group.as_deref(), Some("r-sec"));
}
