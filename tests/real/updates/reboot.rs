//! `lightship reboot-host`: a restart that is ordered, called off, and seen by another boot id. No machine restarts here:
//! `shutdown` is a script that notes what it is told, and the boot id is a file that is mounted over the real one.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::apt_root::AptRoot;
use super::shell;
use super::verbs::verb;
use crate::support::ship::binary;

struct Host(AptRoot);

impl Host {
    /// One whose owner wrote this.
    fn with(policy: &str) -> Self {
        let root = AptRoot::with(&["t-lib"]);
        shell("mkdir \"$1\"/bin; chmod 755 \"$1\"/bin", &[&root.at("")]);
        let note = format!("#!/bin/sh\necho \"$*\" >>{}/told\n", root.at(""));
        std::fs::write(root.at("bin/shutdown"), note).unwrap();
        std::fs::write(root.at("policy.toml"), policy).unwrap();
        shell("chmod 755 \"$1\"/bin/shutdown; chmod 644 \"$1\"/policy.toml", &[&root.at("")]);
        Self(root)
    }

    /// A verb on this host after a start with this boot id.
    fn begin(&self, boot_id: &str, args: &[&str]) -> Child {
        std::fs::write(self.0.at("boot_id"), format!("{boot_id}\n")).unwrap();
        let over = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id; shift; exec \"$@\"";
        let mut verb = Command::new("unshare");
        verb.args(["-m", "sh", "-c", over, "sh", &self.0.at("boot_id")]).arg(binary()).args(args);
        verb.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.0.at("bin")));
        verb.env("APT_CONFIG", self.0.config()).env("LIGHTSHIP_STATE_DIR", self.0.at("state"));
        verb.env("LIGHTSHIP__UPDATES__POLICY_FILE", self.0.at("policy.toml"));
        verb.env("DOCKER_HOST", super::apt_install::NO_ENGINE);
        verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn verb(&self, boot_id: &str, args: &[&str]) -> (i32, String) {
        let ended = self.begin(boot_id, args).wait_with_output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (ended.status.code().unwrap_or(-1), said.concat())
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.0.at("told")).unwrap_or_default()
    }

    /// Waits until `shutdown` has noted all of this; its file is there before there is anything in it.
    fn until_told(&self, all: &str) {
        let due = Instant::now() + Duration::from_secs(60);
        while self.told() != all {
            assert!(Instant::now() < due, "it was told `{}`", self.told());
            std::thread::yield_now();
        }
    }

    fn newest(&self) -> Value {
        verb(&self.0.rig(), &["history", "--json"]).1["runs"][0].clone()
    }
}

#[test]
fn a_host_is_not_restarted_unless_its_owner_allows_it() {
    for policy in ["", "reboot = false"] {
        let host = Host::with(policy);
        let (code, said) = host.verb("one", &["reboot-host", "--yes"]);
        assert!(code == 5 && said.contains("reboot = true"), "{policy}: {code} {said}");
        assert_eq!(host.told(), "");
    }
}

#[test]
fn a_restart_is_verified_by_another_boot_id_after_it() {
    let host = Host::with("reboot = true");
    let (code, said) = host.verb("one", &["reboot-host", "--dry-run"]);
    assert!(code == 2 && said.contains("restart") && host.told().is_empty(), "{code} {said}");
    let mut verb = host.begin("one", &["reboot-host", "--in", "5", "--message", "back soon", "--yes"]);
    host.until_told("-r -- +5 back soon\n");
    // As it is when the host goes down.
    verb.kill().unwrap();
    verb.wait().unwrap();
    assert_eq!((&host.newest()["outcome"], &host.newest()["step"]), (&Value::Null, &"host.restart".into()));
    let (code, said) = host.verb("one", &["install", "--all", "--yes"]);
    assert!(code == 1 && said.contains("a restart of this host is ordered"), "{code} {said}");

    let (code, said) = host.verb("two", &["plan-updates"]);

    assert_eq!(code, 0, "{said}");
    assert_eq!(host.newest()["outcome"], "verified", "{said}");
    assert_eq!(host.told(), "-r -- +5 back soon\n", "it is ordered once");
}

#[test]
fn a_restart_is_called_off_also_when_nobody_waits_for_it_any_more() {
    for is_waited_for in [true, false] {
        let host = Host::with("reboot = true");
        let mut verb = host.begin("one", &["reboot-host", "--in", "5", "--yes"]);
        host.until_told("-r -- +5\n");
        if !is_waited_for {
            verb.kill().unwrap();
            verb.wait().unwrap();
        }

        let (code, said) = host.verb("one", &["reboot-host", "--cancel"]);

        assert_eq!(code, 0, "{said}");
        if is_waited_for {
            assert_eq!(verb.wait().unwrap().code(), Some(1));
            assert_eq!(host.newest()["outcome"], "not_started");
        }
        assert_eq!(host.told(), "-r -- +5\n-c\n");
        assert_ne!(host.newest()["outcome"], Value::Null, "nothing is ordered any more");
        let (code, said) = host.verb("one", &["reboot-host", "--cancel"]);
        assert!(code == 1 && said.contains("no restart of this host is ordered"), "{said}");
    }
}
