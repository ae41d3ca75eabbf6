//! Scanners on real package managers, each in a private root: nothing of the machine's own packages is touched.

mod apt;
mod apt_broken;
mod apt_install;
mod apt_odd;
mod apt_root;
mod apt_scripts;
mod container_blame;
mod container_kills;
mod container_odd;
mod container_options;
mod container_verdicts;
mod containers;
mod containers_beside;
mod dnf;
mod dnf_install;
mod dnf_odd;
mod file_server;
mod helper;
mod lifelines;
mod order_kills;
mod orders;
mod power_cut;
mod reboot;
mod rpm_root;
mod screens;
mod services;
mod small_disk;
mod synced;
mod systemd_root;
mod units;
mod verbs;
mod windows;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::ship::Rig;

/// Runs a shell script that must work; its arguments are `$1` and so on.
fn shell(script: &str, args: &[&str]) -> String {
    let ended = Command::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", script, "bash"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{script}\n{said}{}", String::from_utf8_lossy(&ended.stdout));
    String::from_utf8(ended.stdout).unwrap()
}

/// `lightship scan` of a host: its exit code, and what it says as JSON.
struct Scan {
    code: i32,
    said: Value,
    errors: String,
}

impl Scan {
    fn of(rig: &Rig, args: &[&str]) -> Self {
        let (code, out, errors) = rig.verb(args);
        let said = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
        Self { code, said, errors }
    }

    /// How the scanner came out.
    fn scanner(&self, kind: &str) -> &Value {
        &self.said["scanners"][kind]
    }

    fn problem(&self, kind: &str) -> &str {
        self.scanner(kind)["problem"]["reason"].as_str().unwrap_or_else(|| panic!("{}", self.said))
    }

    /// The updates as `name current available`.
    fn updates(&self) -> Vec<String> {
        let text = |update: &Value, key: &str| update[key].as_str().unwrap_or("-").to_owned();
        let all = self.said["updates"].as_array().unwrap();
        let keys = ["name", "current_version", "available_version"];
        all.iter().map(|update| keys.map(|key| text(update, key)).join(" ")).collect()
    }

    /// A field of one update.
    fn field(&self, name: &str, field: &str) -> Value {
        let all = self.said["updates"].as_array().or(self.said.as_array()).unwrap();
        let found = all.iter().find(|update| update["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {}", self.said))[field].clone()
    }
}

/// A file's path as text.
fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
