//! What the machine is, read from its own files. What cannot be read is absent.

mod disks;
mod facts;
mod files;
mod reboot;
mod virtualisation;

use std::path::{Path, PathBuf};

use crate::domain::host::{Abilities, Ability, Host, Load};
use crate::domain::text::spell_out;

use files::read;

pub use virtualisation::Virtualisation;

/// Reads what a machine is.
#[derive(Debug, Clone)]
pub struct HostReader {
    root: PathBuf,
}

/// Programs that manage packages, by what tells that they are there.
const PACKAGE_MANAGERS: [(&str, &[&str]); 6] = [
    ("apt", &["usr/bin/apt-get"]),
    ("dnf", &["usr/bin/dnf", "usr/bin/dnf5"]),
    ("yum", &["usr/bin/yum"]),
    ("zypper", &["usr/bin/zypper"]),
    ("pacman", &["usr/bin/pacman"]),
    ("apk", &["sbin/apk", "usr/sbin/apk"]),
];

impl HostReader {
    /// Of the machine it runs on.
    pub fn of_this_host() -> Self {
        Self::under("/")
    }

    /// Of whatever machine has its files under this folder.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Reads all of it. What others do there (publishing, images) is for others to say.
    pub async fn read(&self) -> Host {
        let reader = self.clone();
        let read = tokio::task::spawn_blocking(move || reader.read_files()).await;
        // The runtime is going away otherwise, and nobody reads it.
        let Ok((mut host, virtualisation)) = read else { return Host::default() };
        if !virtualisation.is_application_container() {
            let mut found = reboot::by_files(&self.root);
            if self.root == Path::new("/") {
                reboot::ask_programs(&mut found).await;
            }
            host.reboot = Some(found);
        }
        host.fitted()
    }

    /// Says why a restart of the machine is wanted, as far as can be told.
    pub async fn wants_reboot(&self) -> Vec<String> {
        let reader = self.clone();
        let Ok(mut found) = tokio::task::spawn_blocking(move || reboot::by_files(&reader.root)).await else {
            return Vec::new();
        };
        reboot::ask_programs(&mut found).await;
        found.reasons
    }

    /// Returns what the machine runs in.
    pub fn virtualisation(&self) -> Virtualisation {
        Virtualisation::read(&self.root)
    }

    /// Returns the machine's own name.
    pub fn hostname(&self) -> String {
        let name = read(&self.root, "proc/sys/kernel/hostname").and_then(|name| facts::word(&name));
        name.map_or_else(|| "localhost".into(), |name| spell_out(&name))
    }

    fn read_files(&self) -> (Host, Virtualisation) {
        let text = |path: &str| read(&self.root, path);
        let virtualisation = self.virtualisation();
        let mounts = text("proc/self/mounts").unwrap_or_default();
        let release = facts::release(
            &text("etc/os-release").or_else(|| text("usr/lib/os-release")).unwrap_or_default(),
        );
        let (cpu_model, cpu_count) = facts::cpu(&text("proc/cpuinfo").unwrap_or_default());
        let memory = facts::memory(&text("proc/meminfo").unwrap_or_default());
        let managers = self.package_managers();
        let own_id =
            !virtualisation.is_application_container() || disks::is_mount(&mounts, "/etc/machine-id");
        let id = text("etc/machine-id").or_else(|| text("var/lib/dbus/machine-id")).filter(|_| own_id);
        let host = Host {
            hostname: text("proc/sys/kernel/hostname").and_then(|name| facts::word(&name)),
            machine_id: id.and_then(|id| facts::hashed(&id)),
            os_type: Some(std::env::consts::OS.into()),
            os_version: release.version,
            os_id: release.id,
            kernel: text("proc/sys/kernel/osrelease").and_then(|release| facts::word(&release)),
            architecture: Some(facts::architecture(std::env::consts::ARCH).into()),
            virtualisation: Some(virtualisation.as_str().into()),
            cpu_model,
            cpu_count,
            memory_bytes: memory.total,
            disks: disks::read(&self.root, &mounts),
            booted_at: text("proc/stat").and_then(|stat| facts::booted_at(&stat)),
            reboot: None,
            order_key: None,
            abilities: Abilities {
                checks_packages: checks_packages(&virtualisation, &managers),
                ..Abilities::default()
            },
            package_managers: managers,
            load: Load {
                average: text("proc/loadavg").and_then(|load| facts::load(&load)),
                memory_used_bytes: memory.used,
            },
        };
        (host, virtualisation)
    }

    fn package_managers(&self) -> Vec<String> {
        let is_there = |files: &&[&str]| files.iter().any(|file| self.root.join(file).exists());
        let found = PACKAGE_MANAGERS.iter().filter(|(_, files)| is_there(files));
        found.map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// A container has packages of its own: they are not the host's, and must not be taken for them.
fn checks_packages(virtualisation: &Virtualisation, managers: &[String]) -> Ability {
    if virtualisation.is_application_container() {
        return Ability::no(
            "the agent runs in a container and sees the container's packages, not the host's",
            Some("run the agent as a service on the host itself: `lightship agent`".into()),
        );
    }
    if managers.iter().any(|name| name == "apt" || name == "dnf") {
        return Ability::yes();
    }
    let found = if managers.is_empty() { "none".to_owned() } else { managers.join(", ") };
    Ability::no(
        format!("Lightship reads APT and DNF; of the package managers it knows this host has: {found}"),
        None,
    )
}

#[cfg(test)]
mod tests;
