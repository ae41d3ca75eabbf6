//! What it costs that exactly a plan is installed, against the package manager's own command for the same set, and how long
//! a plan takes on a host that is offered all of Debian.

#[allow(dead_code, reason = "shared with the tests; a part of it is used here")]
#[path = "../../tests/real/updates/apt_root.rs"]
mod apt_packages;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::apt_root::AptRoot;
use crate::plan::Plan;
use crate::scans::rpm_root::RpmRoot;
use crate::scans::{Pairs, ended, shell, text};
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::Rig;
use apt_packages::AptRoot as Packages;

/// Packages of a usual day of updates, and how large each of them is, in KiB.
const DEBS: usize = 50;
const DEB_KIB: usize = 1_024;
/// Packages of the root of RPM; it takes longest to make them.
const RPMS: usize = 20;
/// A host of the usual size.
const INSTALLED: usize = 1_500;
const PENDING: usize = 150;
/// What exactness may cost.
const OVERHEAD: Goal = Goal::AtMost(1.5);

/// One with a file that cannot be compressed, and as many small files as a library has.
const MAKE_PACKAGE_OF_SIZE: &str = r#"
repo=$1 name=$2 version=$3 kib=$4
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/lib $d/usr/share/doc/$name; chmod 755 $d
head -c ${kib}K /dev/urandom >$d/usr/lib/$name.so
for n in 1 2 3 4 5 6 7 8 9; do echo "$version $n" >$d/usr/share/doc/$name/$n; done
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  "$name" "$version" >$d/DEBIAN/control
printf '#!/bin/sh\nset -e\ntrue\n' >$d/DEBIAN/postinst; chmod 755 $d/DEBIAN/postinst
dpkg-deb --root-owner-group -Zgzip -z1 -b $d $repo/pool/stable/${name}_${version}_all.deb >/dev/null; rm -r $d
"#;

/// Measures APT, then DNF, then plans.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let rounds = plan.count(7, 3);
    let mut rows = apt(rounds);
    rows.extend(dnf(rounds));
    rows.extend(plans(rounds));
    rows
}

fn apt(rounds: usize) -> Vec<Row> {
    let root = Packages::empty();
    // As on a host, dpkg waits for the disk.
    root.sync_what_is_unpacked();
    let names: Vec<String> = (0..DEBS).map(|number| format!("d-{number}")).collect();
    let offer = |version: &str| {
        for name in &names {
            shell(MAKE_PACKAGE_OF_SIZE, &[&root.at("repo"), name, version, &DEB_KIB.to_string()]);
        }
        root.publish();
        root.apt(&["update"]);
    };
    let names_with = |version: &str| names.iter().map(|name| format!("{name}{version}")).collect::<Vec<_>>();
    offer("1.0");
    root.apt(&[vec!["install", "-y"], words(&names)].concat());
    offer("1.1");
    let old = names_with("=1.0");
    let back = || root.apt(&[vec!["install", "-y", "--allow-downgrades"], words(&old)].concat());
    let plain = || {
        let mut apt = root.program("apt-get");
        apt.args(["install", "-y", "--only-upgrade"]).args(&names);
        ended(apt)
    };
    let ours = || exactly(&root.rig(), &names);
    let what = |of: &str| {
        format!("`lightship install` of {DEBS} packages of 1 MiB, {of}, against `apt-get install`")
    };
    let mut first = Pairs::new();
    for round in 0..rounds {
        // Nothing is kept: the present versions are fetched, too.
        fs::remove_dir_all(root.at("state")).unwrap();
        fs::create_dir(root.at("state")).unwrap();
        first.pair(round, &ours, &plain, &back);
    }
    let mut next = Pairs::new();
    for round in 0..rounds {
        next.pair(round, &ours, &plain, &back);
    }
    vec![
        first.row(what("the first time"), OVERHEAD),
        next.row(what("present versions kept before"), OVERHEAD),
    ]
}

fn dnf(rounds: usize) -> Vec<Row> {
    let root = RpmRoot::empty();
    let names: Vec<String> = (0..RPMS).map(|number| format!("r-{number}")).collect();
    names.iter().for_each(|name| root.package("repo", name, "1.0", "1", ""));
    root.offer();
    root.install(&words(&names));
    names.iter().for_each(|name| root.package("repo", name, "1.1", "1", ""));
    root.offer();
    let dnf = |args: &[&str]| {
        let mut dnf = Command::new(root.at("bin/dnf"));
        dnf.arg("-y").args(args).args(&names);
        ended(dnf)
    };
    let back = || {
        dnf(&["downgrade"]);
    };
    let (ours, plain) = (|| exactly(&root.rig(), &names), || dnf(&["upgrade"]));
    // What is kept is kept by this one.
    ours();
    back();
    let mut pairs = Pairs::new();
    for round in 0..rounds {
        pairs.pair(round, &ours, &plain, &back);
    }
    let what = format!("`lightship install` of {RPMS} small packages against `dnf upgrade`");
    vec![pairs.row(what, OVERHEAD)]
}

/// Installs what is named, with its plan.
fn exactly(rig: &Rig, names: &[String]) -> Duration {
    let begun = Instant::now();
    let (code, out, errors) = rig.verb(&[vec!["install", "--yes"], words(names)].concat());
    let took = begun.elapsed();
    assert_eq!(code, 0, "{out}{errors}");
    took
}

fn plans(rounds: usize) -> Vec<Row> {
    let root = AptRoot::new(INSTALLED, PENDING);
    let state = tempfile::tempdir().unwrap();
    let rig = Rig::new("agent", state.path()).env("APT_CONFIG", text(&root.config()));
    let plan = || {
        let begun = Instant::now();
        let (code, out, errors) = rig.verb(&["plan-updates", "--json"]);
        let took = millis(begun.elapsed()) / 1_000.0;
        assert_eq!(code, 2, "{out}{errors}");
        took
    };
    plan();
    let known = Samples::new((0..rounds).map(|_| plan()));
    let new = Samples::new((0..rounds).map(|_| {
        root.change_lists();
        plan()
    }));
    let what = |of: &str| format!("plan of {PENDING} of {INSTALLED} packages, 60,000 on offer{of}");
    let row = |of: &str, goal, samples: Samples| {
        Row::new(what(of), goal, samples.median(), "s").detail(format!("longest {:.2}", samples.max()))
    };
    vec![row("", Goal::AtMost(2.0), known), row(", new lists", Goal::Shown, new)]
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}
