//! What a machine is: told by its agent when it changed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::order::Fingerprint;
use super::text::spell_out;
use super::update::Problem;

/// Longest text of a fact, in characters.
const MAX_TEXT_CHARS: usize = 200;
/// Most disks, reasons and names that are kept.
const MAX_LIST: usize = 64;

/// The machine behind an agent. What could not be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its own name.
    pub hostname: Option<String>,
    /// Tells it from every other machine, also from one with the same name; hashed, never the id itself.
    pub machine_id: Option<String>,
    /// `linux`, `windows` or `macos`.
    pub os_type: Option<String>,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub os_version: Option<String>,
    /// Such as `debian`.
    pub os_id: Option<String>,
    /// Release of the running kernel.
    pub kernel: Option<String>,
    /// As Go and Docker call it: `amd64`, `arm64`.
    pub architecture: Option<String>,
    /// `kvm`, `container`, `none`.
    pub virtualisation: Option<String>,
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Logical processors.
    pub cpu_count: Option<u32>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// File systems that hold data.
    pub disks: Vec<Disk>,
    /// When it was started.
    pub booted_at: Option<DateTime<Utc>>,
    /// Programs that manage packages: `apt`, `dnf`, `winget`.
    pub package_managers: Vec<String>,
    /// Whether it wants to be started anew.
    pub reboot: Option<Reboot>,
    /// What the agent can do here.
    pub abilities: Abilities,
    /// The key by which orders are known here that change it; none if there is none yet.
    pub order_key: Option<Fingerprint>,
    /// What changes all the time; by itself it is no news.
    pub load: Load,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its type, such as `ext4`.
    pub filesystem: String,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
}

/// Whether a restart of the machine is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reboot {
    /// True if something asks for it.
    pub wanted: bool,
    /// What asks for it, in words.
    pub reasons: Vec<String>,
    /// Services that run on files that were replaced, as far as the agent may look.
    pub stale_services: Vec<String>,
    /// Why not all of it could be looked at.
    pub problem: Option<Problem>,
}

/// What the agent can do on its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Abilities {
    /// It publishes containers.
    pub publishes: Ability,
    /// It checks images.
    pub checks_images: Ability,
    /// It checks packages.
    pub checks_packages: Ability,
    /// It carries out plans that hold packages.
    pub installs_packages: Ability,
    /// It carries out plans that hold containers.
    pub replaces_containers: Ability,
}

/// Whether an agent can do something; if not, why, and what would let it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ability {
    /// True if it can.
    pub yes: bool,
    /// Why it cannot.
    pub problem: Option<Problem>,
}

/// What changes all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Mean number of processes that want to run, over 1, 5 and 15 minutes.
    pub average: Option<[f64; 3]>,
    /// Bytes of memory in use.
    pub memory_used_bytes: Option<u64>,
}

impl Ability {
    /// It can.
    pub fn yes() -> Self {
        Self { yes: true, problem: None }
    }

    /// It cannot.
    pub fn no(reason: impl Into<String>, way_out: Option<String>) -> Self {
        Self { yes: false, problem: Some(Problem { reason: reason.into(), way_out }) }
    }
}

impl Host {
    /// True if something else than what changes all the time differs. Of a disk, what is used counts in steps of a
    /// twentieth of it.
    pub fn is_news_after(&self, told: &Self) -> bool {
        let steady = |host: &Self| {
            let mut host = Self { load: Load::default(), ..host.clone() };
            for disk in &mut host.disks {
                disk.used_bytes = disk.used_bytes.saturating_mul(20) / disk.total_bytes.max(1);
            }
            host
        };
        steady(self) != steady(told)
    }

    /// Fits it to what is kept: nothing is longer than allowed, and no text holds what a terminal or a page would obey.
    pub fn fitted(mut self) -> Self {
        let texts = [
            &mut self.hostname,
            &mut self.machine_id,
            &mut self.os_type,
            &mut self.os_version,
            &mut self.os_id,
            &mut self.kernel,
            &mut self.architecture,
            &mut self.virtualisation,
            &mut self.cpu_model,
        ];
        for text in texts.into_iter().flatten() {
            fit(text);
        }
        self.order_key = self.order_key.filter(Fingerprint::is_sound);
        self.disks.truncate(MAX_LIST);
        for disk in &mut self.disks {
            fit(&mut disk.mount);
            fit(&mut disk.filesystem);
        }
        fit_list(&mut self.package_managers);
        let abilities = &mut self.abilities;
        for ability in [
            &mut abilities.publishes,
            &mut abilities.checks_images,
            &mut abilities.checks_packages,
            &mut abilities.installs_packages,
            &mut abilities.replaces_containers,
        ] {
            fit_problem(&mut ability.problem);
        }
        if let Some(reboot) = &mut self.reboot {
            fit_list(&mut reboot.reasons);
            fit_list(&mut reboot.stale_services);
            fit_problem(&mut reboot.problem);
        }
        self
    }
}

fn fit(text: &mut String) {
    *text = spell_out(text).chars().take(MAX_TEXT_CHARS).collect();
}

fn fit_list(list: &mut Vec<String>) {
    list.truncate(MAX_LIST);
    list.iter_mut().for_each(fit);
}

fn fit_problem(problem: &mut Option<Problem>) {
    if let Some(problem) = problem {
        fit(&mut problem.reason);
        problem.way_out.as_mut().map(fit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            hostname: Some("web-1".into()),
            disks: vec![Disk {
                mount: "/".into(),
                filesystem: "ext4".into(),
                total_bytes: 1_000,
                used_bytes: 500,
            }],
            ..Host::default()
        }
    }

    #[test]
    fn what_changes_all_the_time_is_no_news() {
        let mut later = host();
        later.load.average = Some([1.0, 2.0, 3.0]);
        later.disks[0].used_bytes = 510;
        assert!(!later.is_news_after(&host()));
        later.disks[0].used_bytes = 560;
        assert!(later.is_news_after(&host()));
        assert!(Host { kernel: Some("6.1.0".into()), ..host() }.is_news_after(&host()));
    }

    #[test]
    fn texts_of_a_host_are_spelt_out_and_cut() {
        let odd = Host { kernel: Some("a\u{1b}[2J".into()), os_version: Some("x".repeat(999)), ..host() };
        let fitted = odd.fitted();
        assert_eq!(fitted.kernel.as_deref(), Some("a\\u{1b}[2J"));
        assert_eq!(fitted.os_version.unwrap().len(), MAX_TEXT_CHARS);
    }

    #[test]
    fn a_host_of_which_nothing_is_said_is_read() {
        assert_eq!(serde_json::from_str::<Host>("{}").unwrap(), Host::default());
    }
}
