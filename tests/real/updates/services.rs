//! Services that run on files which a run replaces. The processes, their control groups and the packages are real; this machine
//! is not run by systemd, so `systemctl` is a script that answers in its words.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::apt_root::AptRoot;
use super::shell;
use super::verbs::{outcome, verb};
use crate::support::ship::Rig;

/// Answers as `systemctl` does. A service is a process in a control group of its name; it dies at its restart if a file says so.
const SYSTEMCTL: &str = r#"#!/bin/bash
cd "$(dirname "$0")/../units"
start() {
  setsid bash -c 'echo $$ >"$1"/cgroup.procs; exec "$2" 1000' bash "$(cat $1.group)" "$(cat $1.program)" </dev/null >/dev/null 2>&1 &
  echo $! >$1.pid
  until [ "$(readlink /proc/$!/exe)" = "$(cat $1.program)" ]; do :; done
}
case "$1" in
  is-system-running) echo running;;
  start) start "$2";;
  --no-ask-password)
    [ "$2 $3" = "restart --" ] || exit 9
    shift 3; echo "$*" >>restarted; failed=0
    for unit; do
      kill -KILL $(cat $unit.pid); while [ -e /proc/$(cat $unit.pid)/exe ]; do :; done
      if [ -e $unit.dies ]; then failed=1; echo "Job for $unit failed because the control process exited with error code." >&2
      else start $unit; fi
    done
    exit $failed;;
  is-active)
    [ "$2" = "--" ] || exit 9
    shift 2; code=3
    for unit; do
      if readlink /proc/$(cat $unit.pid)/exe >/dev/null; then echo active; code=0; else echo failed; fi
    done
    exit $code;;
esac
"#;

/// Makes a package with a program that a service can run.
const PACKAGE: &str = r#"
d=$(mktemp -d); chmod 755 $d; mkdir -p $d/DEBIAN $d/usr/bin; cp /bin/sleep $d/usr/bin/$2
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' $2 $3 >$d/DEBIAN/control
dpkg-deb --root-owner-group -b $d $1/pool/stable/$2_$3_all.deb >/dev/null; rm -r $d
"#;

/// A host with packages whose programs run as services.
struct Host {
    root: AptRoot,
    units: Vec<String>,
}

impl Host {
    /// Each of these services runs a program of the package `t-prog` 1.0, of which there is 1.1.
    fn with(services: &[&str]) -> Self {
        let root = AptRoot::empty();
        let offer = |version: &str| {
            shell(PACKAGE, &[&root.at("repo"), "t-prog", version]);
            root.publish();
            root.apt(&["update"]);
        };
        offer("1.0");
        root.apt(&["install", "-y", "t-prog"]);
        offer("1.1");
        shell("mkdir \"$1\"/bin \"$1\"/units", &[&root.at("")]);
        std::fs::write(root.at("bin/systemctl"), SYSTEMCTL).unwrap();
        shell("chmod 755 \"$1\"", &[&root.at("bin/systemctl")]);
        let host = Self { units: services.iter().map(|name| format!("{name}.service")).collect(), root };
        for unit in &host.units {
            let group = host.group(unit);
            shell("mkdir -p \"$1\"", &[&group]);
            std::fs::write(host.root.at(&format!("units/{unit}.group")), &group).unwrap();
            let program = host.root.at("root/usr/bin/t-prog");
            std::fs::write(host.root.at(&format!("units/{unit}.program")), program).unwrap();
            shell("\"$1\" start \"$2\"", &[&host.root.at("bin/systemctl"), unit]);
        }
        host
    }

    /// Where their control groups are; under systemd's own hierarchy where there are several.
    fn slice(&self) -> String {
        let is_one = std::path::Path::new("/sys/fs/cgroup/cgroup.procs").exists();
        let base = if is_one { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/systemd" };
        format!("{base}/lightship-test{}.slice", self.root.at("").replace('/', "-"))
    }

    fn group(&self, unit: &str) -> String {
        format!("{}/{unit}", self.slice())
    }

    fn rig(&self) -> Rig {
        self.root.rig().env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.root.at("bin")))
    }

    fn verb(&self, args: &[&str]) -> (i32, Value, String) {
        verb(&self.rig(), args)
    }

    /// What was restarted, a line for each call.
    fn restarted(&self) -> String {
        std::fs::read_to_string(self.root.at("units/restarted")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for unit in &self.units {
            let end = "for pid in $(cat \"$1\"/cgroup.procs); do kill -KILL $pid; done; until rmdir \"$1\" 2>/dev/null; do :; done";
            let _ = Command::new("bash")
                .args(["-c", end, "bash", &self.group(unit)])
                .stderr(Stdio::null())
                .status();
        }
        let _ = std::fs::remove_dir(self.slice());
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().or(one.as_str()).unwrap()).collect()
}

#[test]
fn a_plan_names_the_services_that_run_on_what_it_replaces_and_none_is_restarted_unasked() {
    let host = Host::with(&["t-web", "t-other"]);
    let (code, plan, errors) = host.verb(&["plan-updates", "--json"]);
    assert_eq!(code, 2, "{errors}");
    assert_eq!(names(&plan["plan"]["on_host"]["services"]), ["t-other", "t-web"], "{plan}");

    let (code, run, errors) = host.verb(&["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run).0), (0, "verified"), "{errors}");
    let after = &run["run"]["aftermath"];
    assert_eq!(names(&after["stale"]), ["t-other", "t-web"], "{run}");
    assert_eq!((names(&after["restarted"]), host.restarted()), (vec![], String::new()));
    let (_, shown, _) = host.verb(&["history", run["run"]["id"].as_str().unwrap()]);
    assert!(shown.as_str().unwrap().contains("t-web still runs on files that were replaced"), "{shown}");
}

#[test]
fn services_are_restarted_when_that_is_asked_for_and_looked_at_and_some_never_are() {
    let host = Host::with(&["t-web", "ssh-t"]);
    let (_, plan, _) = host.verb(&["plan-updates"]);
    let plan = plan.as_str().unwrap();
    assert!(plan.contains("t-web; `--restart-services` restarts them"), "{plan}");
    assert!(plan.contains("ssh-t runs on what is replaced, and is never restarted"), "{plan}");
    let policy = host.root.at("policy.toml");
    std::fs::write(&policy, "restart_services = false").unwrap();
    shell("chmod 644 \"$1\"", &[&policy]);
    let asked = ["install", "--all", "--restart-services", "--yes", "--json"];
    let (code, _, errors) = host.rig().env("LIGHTSHIP__UPDATES__POLICY_FILE", policy).verb(&asked);
    assert!(code == 5 && errors.contains("no service may be restarted"), "{code} {errors}");

    let (code, run, errors) = host.verb(&asked);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let after = &run["run"]["aftermath"];
    assert_eq!((names(&after["restarted"]), host.restarted().as_str()), (vec!["t-web"], "t-web.service\n"));
    assert_eq!(names(&after["stale"]), ["ssh-t"], "{run}");

    let id = run["run"]["id"].as_str().unwrap();
    let (code, back, errors) = host.verb(&["rollback", id, "--restart-services", "--yes", "--json"]);
    assert_eq!((code, outcome(&back)), (0, ("verified", "")), "{errors}");
    assert_eq!(host.restarted(), "t-web.service\nt-web.service\n");
}

#[test]
fn a_service_that_does_not_come_back_makes_the_run_fail_with_its_name() {
    let host = Host::with(&["t-web"]);
    std::fs::write(host.root.at("units/t-web.service.dies"), "").unwrap();

    let (code, run, errors) = host.verb(&["install", "--all", "--restart-services", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(
        reason.contains("the service t-web is failed now") && reason.contains("Job for t-web"),
        "{reason}"
    );
    assert_eq!(host.root.installed(), ["t-prog 1.1 ii"]);
}

#[test]
fn without_systemd_that_is_said_and_nothing_is_restarted() {
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);

    let (code, run, errors) =
        verb(&root.rig(), &["install", "--all", "--restart-services", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let after = &run["run"]["aftermath"];
    assert!(after["services_unknown"].as_str().unwrap().contains("systemd"), "{run}");
    assert_eq!(names(&after["restarted"]), Vec::<&str>::new());
}
