use serde_json::Value;

use super::super::parse::{Policies, Records, installed, simulation, targets};
use super::*;

/// What the programs said of the laboratory's root, recorded.
fn seen() -> Seen {
    let policy = |name: &str, rows: &str| {
        format!(
            "{name}:\n  Installed: 1.0\n  Candidate: 1.1\n  Version table:\n{rows} *** 1.0 500\n        500 file:/r stable/main amd64 Packages\n        100 /s\n"
        )
    };
    let plain = "     1.1 500\n        500 file:/r stable/main amd64 Packages\n";
    let security =
        format!("{plain}     1.0.1 500\n        500 file:/r stable-security/main amd64 Packages\n");
    let phased = "     1.1 500 (phased 0%)\n        500 file:/r stable/main amd64 Packages\n";
    let foreign = "     1.1 500\n        500 http://other ./ Packages\n";
    let text: String = [
        ("t-app", plain),
        ("t-conf", plain),
        ("t-foreign", foreign),
        ("t-held", plain),
        ("t-lib", plain),
        ("t-phased", phased),
        ("t-sec", &security),
        ("t-unmet", plain),
    ]
    .map(|(name, rows)| policy(name, rows))
    .concat();
    let states: String = [
        "ii |t-app",
        "ii |t-conf",
        "ii |t-foreign",
        "hi |t-held",
        "ii |t-lib",
        "ii |t-orphan",
        "ii |t-phased",
        "ii |t-sec",
        "ii |t-unmet",
    ]
    .map(|package| format!("{package}|all|1.0|t-src|1.0\n"))
    .concat();
    let up = "The following packages will be upgraded:\n   t-foreign (1.0 => 1.1)\n   t-lib (1.0 => 1.1)\n   t-sec (1.0 => 1.1)\n";
    let ordinary = format!("The following packages will be REMOVED:\n   t-orphan (1.0)\n{up}");
    let full = format!(
        "The following packages will be REMOVED:\n   t-old (1.0)\n\
         The following NEW packages will be installed:\n   t-new (1.0)\n   t-newer (1.0)\n\
         {up}   t-app (1.0 => 1.1)\n   t-conf (1.0 => 1.1)\n"
    );
    let shown = "Package: t-app\nVersion: 1.1\nSize: 7\nDepends: t-lib, t-new\nDescription: an app\n\n\
                 Package: t-new\nVersion: 1.0\nDepends: t-newer\n\nPackage: t-newer\nVersion: 1.0\n\n\
                 Package: t-conf\nVersion: 1.1\nConflicts: t-old\n\n";
    let mut policies = Policies::default();
    text.lines().for_each(|line| policies.line(line));
    let wanted = [("t-app", "1.1"), ("t-new", "1.0"), ("t-newer", "1.0"), ("t-conf", "1.1")];
    let wanted = BTreeMap::from(wanted);
    let mut records = Records::of(&wanted, "amd64", true);
    shown.lines().for_each(|line| records.line(line));
    Seen {
        native: "amd64".into(),
        installed: installed(&states),
        policies: policies.found,
        targets: targets(
            "Packages|file:/r|stable|main|stable|lab|Lab|Lab\nPackages|file:/r|stable-security|main|stable-security|lab|Lab|Lab-Security\nPackages|http://other|./||||Other|Other\n",
        ),
        ordinary: Ok(simulation(&ordinary)),
        full: Ok(simulation(&full)),
        records: records.found,
        named: BTreeMap::from([("t-unmet".into(), Err("t-unmet : Depends: t-nowhere (>= 3)".into()))]),
    }
}

fn finding<'a>(found: &'a [Finding], name: &str) -> &'a Finding {
    found.iter().find(|finding| finding.name == name).unwrap()
}

#[test]
fn each_that_stays_behind_says_why_and_the_four_reasons_differ() {
    let found = seen().findings();
    let why =
        |name: &str| finding(&found, name).held_back.as_ref().map(|held| (held.cause, held.reason.clone()));
    assert_eq!(why("t-lib"), None);
    assert_eq!(why("t-app"), Some((HeldCause::NeedsChanges, "needs new packages: t-new, t-newer".into())));
    assert_eq!(why("t-conf"), Some((HeldCause::NeedsChanges, "needs packages removed: t-old".into())));
    let (cause, reason) = why("t-held").unwrap();
    assert!(cause == HeldCause::Held && reason.contains("held by somebody"), "{reason}");
    let (cause, reason) = why("t-phased").unwrap();
    assert!(cause == HeldCause::Phased && reason.starts_with("phased 0 %"), "{reason}");
    let expected = "dependency: t-unmet : Depends: t-nowhere (>= 3)";
    assert_eq!(why("t-unmet"), Some((HeldCause::Unmet, expected.into())));
}

#[test]
fn only_those_without_another_reason_are_asked_about_one_by_one() {
    let mut seen = seen();
    assert_eq!(seen.unexplained(), ["t-unmet", "t-phased"]);
    seen.policies.push(Policy { name: "-oDPkg::Pre-Invoke=sh".into(), ..seen.policies[0].clone() });
    assert_eq!(seen.unexplained(), ["t-unmet", "t-phased"], "what is no name is never handed to a program");
    let found = seen.findings();
    assert!(finding(&found, "-oDPkg::Pre-Invoke=sh").flaw.is_some(), "it is kept, and marked");
}

#[test]
fn a_host_on_which_nothing_stays_behind_has_nothing_to_explain() {
    let mut seen = seen();
    assert!(seen.leaves_some_behind());
    seen.policies.retain(|policy| ["t-lib", "t-sec", "t-foreign"].contains(&policy.name.as_str()));
    seen.full = Ok(Simulation::default());
    assert!(!seen.leaves_some_behind());
    let ordinary = std::mem::replace(&mut seen.ordinary, Err("Unmet dependencies".into()));
    assert!(seen.leaves_some_behind());
    seen.ordinary = ordinary;
    let mut pending = seen.findings().into_iter().filter(Finding::is_pending);
    assert!(pending.all(|finding| finding.held_back.is_none()));
}

#[test]
fn a_security_update_may_lie_on_the_way_to_the_candidate() {
    let found = seen().findings();
    let is = |name: &str| (finding(&found, name).is_security, finding(&found, name).severity);
    assert_eq!(is("t-sec"), (Some(true), Severity::Important));
    assert_eq!(is("t-lib"), (Some(false), Severity::Low), "who says so publishes security updates apart");
    assert_eq!(is("t-foreign"), (None, Severity::Moderate), "nobody says");
}

#[test]
fn a_finding_holds_what_apt_knows_of_the_package() {
    let found = seen().findings();
    let app = finding(&found, "t-app");
    assert_eq!(
        (app.current_version.as_deref(), app.available_version.as_deref()),
        (Some("1.0"), Some("1.1"))
    );
    assert_eq!((app.size_bytes, app.description.as_deref()), (Some(7), Some("an app")));
    assert_eq!((app.source.as_deref(), app.group.as_deref()), (Some("Lab:stable"), Some("t-src")));
    assert_eq!(app.details["new_packages"], serde_json::json!(["t-new", "t-newer"]));
    assert_eq!(app.details["removed_packages"], Value::Array(Vec::new()));
    assert_eq!(app.details["origins"], serde_json::json!(["Lab"]));
}

#[test]
fn what_nobody_needs_any_more_is_shown_and_is_no_update() {
    let found = seen().findings();
    let orphan = finding(&found, "t-orphan");
    assert!(!orphan.is_pending() && orphan.details["auto_removable"] == true);
    assert!(
        found
            .iter()
            .filter(|finding| finding.is_pending())
            .all(|f| !f.details.contains_key("auto_removable"))
    );
}

#[test]
fn without_a_dry_run_nothing_is_said_to_be_installable() {
    let broken = "Unmet dependencies. Try 'apt --fix-broken install'.";
    let mut seen =
        Seen { ordinary: Err(broken.into()), full: Err(broken.into()), named: BTreeMap::new(), ..seen() };
    let found = seen.findings();
    assert_eq!(found.len(), 8);
    let held = finding(&found, "t-lib").held_back.clone().unwrap();
    assert!(held.cause == HeldCause::Unmet && held.reason.contains("--fix-broken"), "{held:?}");
}

#[test]
fn two_architectures_of_one_package_share_what_is_said_of_it() {
    let mut seen = seen();
    let lib = Policy { name: "t-lib:i386".into(), ..seen.policies[4].clone() };
    seen.policies.push(lib);
    let foreign = Installed { architecture: "i386".into(), ..seen.installed["t-lib:all"].clone() };
    seen.installed.insert("t-lib:i386".into(), foreign);
    let record = Record { size_bytes: Some(9), ..Record::default() };
    seen.records.insert(("t-lib".into(), "1.1".into()), record);
    let found = seen.findings();
    for name in ["t-lib", "t-lib:i386"] {
        assert_eq!(finding(&found, name).size_bytes, Some(9), "{name}");
    }
}

#[test]
fn a_reason_says_what_is_held_what_is_phased_too_and_what_another_one_waits_for() {
    let mut seen = seen();
    let lacks = |name: &str| Err(format!("{name} : Depends: t-held (>= 1.1) but 1.0 is to be installed"));
    seen.named =
        BTreeMap::from([("t-unmet".into(), lacks("t-unmet")), ("t-phased".into(), lacks("t-phased"))]);
    let silent = |name: &str| Policy { name: name.into(), ..seen.policies[0].clone() };
    let (one, other, last) = (silent("t-one"), silent("t-other"), silent("t-last"));
    seen.policies.extend([one, other, last]);
    for (name, needed) in [("t-one", "t-held"), ("t-other", "t-unmet"), ("t-last", "t-nothing")] {
        let record = Record { depends: vec!["t-lib".into(), needed.into()], ..Record::default() };
        seen.records.insert((name.into(), "1.1".into()), record);
    }

    let found = seen.findings();

    let why = |name: &str| finding(&found, name).held_back.clone().unwrap();
    assert_eq!(
        why("t-unmet").reason,
        "dependency: t-unmet : Depends: t-held (>= 1.1) but 1.0 is to be installed; t-held is held"
    );
    let phased = why("t-phased");
    assert!(phased.cause == HeldCause::Phased && phased.reason.ends_with("t-held is held"), "{phased:?}");
    assert_eq!(why("t-one").reason, "dependency: it needs t-held, which is held");
    assert!(
        why("t-other").reason.starts_with("dependency: it needs t-unmet, which stays behind: t-unmet : ")
    );
    assert!(why("t-last").reason.ends_with("does not say why"));
}

#[test]
fn what_preferences_keep_back_is_held_with_the_file_and_nothing_else_is_asked_about_it() {
    let mut seen = seen();
    let unmet = seen.policies.iter_mut().find(|policy| policy.name == "t-unmet").unwrap();
    unmet.pinned_in = Some("/etc/apt/preferences.d/pin".into());
    assert_eq!(seen.unexplained(), ["t-phased"]);
    let found = seen.findings();
    let held = finding(&found, "t-unmet").held_back.clone().unwrap();
    assert_eq!(held.cause, HeldCause::Held);
    assert_eq!(held.reason, "pinned by preferences on the host (`/etc/apt/preferences.d/pin`)");
    assert!(finding(&found, "t-unmet").is_pending());
}
