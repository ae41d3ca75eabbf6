//! What a machine runs in.

use std::path::Path;

use super::files::read;

/// What a machine runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Virtualisation {
    /// Nothing that can be seen.
    None,
    /// A virtual machine, by the word of its maker.
    Machine(&'static str),
    /// A container with a system of its own, such as LXC's: it is a host in its own right.
    SystemContainer(&'static str),
    /// A container for one program: what it holds says nothing of its host.
    ApplicationContainer(&'static str),
}

/// Words in a maker's or a product's name.
const MAKERS: [(&str, &str); 10] = [
    ("QEMU", "kvm"),
    ("KVM", "kvm"),
    ("Google", "kvm"),
    ("Amazon EC2", "kvm"),
    ("OpenStack", "kvm"),
    ("DigitalOcean", "kvm"),
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("Xen", "xen"),
    ("Microsoft Corporation", "hyperv"),
];

impl Virtualisation {
    /// Its word: `kvm`, `docker`, `lxc`, `none`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Machine(word) | Self::SystemContainer(word) | Self::ApplicationContainer(word) => word,
        }
    }

    /// True if what is installed here is not the host's.
    pub fn is_application_container(&self) -> bool {
        matches!(self, Self::ApplicationContainer(_))
    }

    pub(super) fn read(root: &Path) -> Self {
        let exists = |path: &str| root.join(path).exists();
        let text = |path: &str| read(root, path).unwrap_or_default();
        // The first process of a container is told what it is in; only root may read that.
        let environment = text("proc/1/environ");
        let told = environment.split('\0').find_map(|variable| variable.strip_prefix("container="));
        let told = told.map(str::to_owned).unwrap_or_else(|| text("run/systemd/container").trim().to_owned());
        if let Some(found) = container(&told, &text("proc/1/cgroup"), exists) {
            return found;
        }
        if text("proc/sys/kernel/osrelease").to_lowercase().contains("microsoft") {
            return Self::SystemContainer("wsl");
        }
        let maker =
            format!("{} {}", text("sys/class/dmi/id/sys_vendor"), text("sys/class/dmi/id/product_name"));
        machine(&maker, &text("proc/cpuinfo"), exists("proc/xen"))
    }
}

fn container(told: &str, cgroup: &str, exists: impl Fn(&str) -> bool) -> Option<Virtualisation> {
    use Virtualisation::{ApplicationContainer, SystemContainer};
    match told {
        "lxc" | "lxc-libvirt" => return Some(SystemContainer("lxc")),
        "systemd-nspawn" => return Some(SystemContainer("systemd-nspawn")),
        "podman" => return Some(ApplicationContainer("podman")),
        "docker" => return Some(ApplicationContainer("docker")),
        _ => {}
    }
    if exists("proc/vz") && !exists("proc/bc") {
        return Some(SystemContainer("openvz"));
    }
    if exists(".dockerenv") || cgroup.contains("/docker/") || cgroup.contains("/docker-") {
        return Some(ApplicationContainer("docker"));
    }
    if exists("run/.containerenv") || cgroup.contains("/libpod") {
        return Some(ApplicationContainer("podman"));
    }
    if exists("var/run/secrets/kubernetes.io") || cgroup.contains("kubepods") {
        return Some(ApplicationContainer("kubernetes"));
    }
    if cgroup.contains("/lxc/") || cgroup.contains("/lxc.payload") {
        return Some(SystemContainer("lxc"));
    }
    (!told.is_empty()).then_some(ApplicationContainer("container"))
}

fn machine(maker: &str, cpuinfo: &str, is_xen: bool) -> Virtualisation {
    if let Some((_, word)) = MAKERS.iter().find(|(name, _)| maker.contains(name)) {
        // Microsoft makes computers too.
        if *word != "hyperv" || maker.contains("Virtual Machine") {
            return Virtualisation::Machine(word);
        }
    }
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    match (is_xen, flags.split_whitespace().any(|flag| flag == "hypervisor")) {
        (true, _) => Virtualisation::Machine("xen"),
        (false, true) => Virtualisation::Machine("vm"),
        (false, false) => Virtualisation::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_for_one_program_is_told_from_one_with_a_system() {
        use Virtualisation::{ApplicationContainer, SystemContainer};
        let none = |_: &str| false;
        for (told, cgroup, expected) in [
            ("lxc", "", Some(SystemContainer("lxc"))),
            ("systemd-nspawn", "", Some(SystemContainer("systemd-nspawn"))),
            ("podman", "", Some(ApplicationContainer("podman"))),
            ("oci", "", Some(ApplicationContainer("container"))),
            ("", "0::/system.slice/docker-0123.scope\n", Some(ApplicationContainer("docker"))),
            ("", "1:name=systemd:/docker/0123\n", Some(ApplicationContainer("docker"))),
            ("", "0::/kubepods.slice/x\n", Some(ApplicationContainer("kubernetes"))),
            ("", "0::/lxc.payload.web/init.scope\n", Some(SystemContainer("lxc"))),
            ("", "0::/init.scope\n", None),
        ] {
            assert_eq!(container(told, cgroup, none), expected, "{told} {cgroup}");
        }
        let docker = container("", "0::/\n", |path| path == ".dockerenv");
        assert_eq!(docker, Some(ApplicationContainer("docker")));
    }

    #[test]
    fn a_virtual_machine_is_known_by_its_maker_or_its_processor() {
        for (maker, flags, expected) in [
            ("QEMU Standard PC (Q35 + ICH9, 2009)", "", Virtualisation::Machine("kvm")),
            ("VMware, Inc. VMware7,1", "", Virtualisation::Machine("vmware")),
            ("Microsoft Corporation Virtual Machine", "", Virtualisation::Machine("hyperv")),
            ("Microsoft Corporation Surface", "flags : fpu", Virtualisation::None),
            ("", "flags\t\t: fpu hypervisor lahf", Virtualisation::Machine("vm")),
            ("Dell Inc. PowerEdge", "flags : fpu", Virtualisation::None),
        ] {
            assert_eq!(machine(maker, flags, false), expected, "{maker}");
        }
    }
}
