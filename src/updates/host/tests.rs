use super::*;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"),
        ("etc/machine-id", "912e43bd1c1d4ba481f9f8ccab25f9ee\n"),
        ("proc/sys/kernel/hostname", "web-1\n"),
        ("proc/sys/kernel/osrelease", "6.1.0-9-amd64\n"),
        ("proc/cpuinfo", "processor : 0\nmodel name : AMD EPYC\n"),
        ("proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n"),
        ("proc/loadavg", "0.50 1.25 2.00 1/100 999\n"),
        ("proc/stat", "btime 1700000000\n"),
        ("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n"),
        ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ("usr/bin/apt-get", ""),
        ("boot/vmlinuz-6.1.0-9-amd64", ""),
        ("boot/vmlinuz-6.1.0-18-amd64", ""),
        ("run/reboot-required", ""),
        ("run/reboot-required.pkgs", "libc6\n"),
    ] {
        write(dir.path(), path, text);
    }
    dir
}

#[tokio::test]
async fn a_machine_is_read_from_its_files() {
    let dir = machine();
    let host = HostReader::under(dir.path()).read().await;
    assert_eq!(host.hostname.as_deref(), Some("web-1"));
    assert_eq!(host.os_version.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!((host.cpu_count, host.memory_bytes), (Some(1), Some(2 * 1024 * 1024)));
    assert_eq!((host.virtualisation.as_deref(), host.disks.len()), (Some("kvm"), 1));
    assert_eq!(host.package_managers, ["apt"]);
    assert!(host.abilities.checks_packages.yes && host.machine_id.is_some());
    let reboot = host.reboot.unwrap();
    assert!(reboot.wanted);
    assert_eq!(reboot.reasons.len(), 2, "{:?}", reboot.reasons);
}

#[tokio::test]
async fn a_container_does_not_pass_for_its_host() {
    let dir = machine();
    write(dir.path(), ".dockerenv", "");
    let host = HostReader::under(dir.path()).read().await;
    let problem = host.abilities.checks_packages.problem.unwrap();
    assert!(problem.reason.contains("in a container") && problem.way_out.is_some(), "{problem:?}");
    assert_eq!((host.reboot, host.machine_id), (None, None), "what is the image's is not the machine's");

    let bound = "/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /etc/machine-id ext4 ro 0 0\n";
    write(dir.path(), "proc/self/mounts", bound);
    let host = HostReader::under(dir.path()).read().await;
    assert!(host.machine_id.is_some(), "somebody gave it the host's");
}

#[tokio::test]
async fn a_machine_of_which_nothing_can_be_read_has_no_facts() {
    let dir = tempfile::tempdir().unwrap();
    let host = HostReader::under(dir.path()).read().await;
    assert_eq!((&host.hostname, &host.machine_id, &host.memory_bytes), (&None, &None, &None));
    assert!(!host.abilities.checks_packages.yes);
}
