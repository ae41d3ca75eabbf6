//! What a machine is, told with the registration and once an hour.

use serde_json::{Map, Value};

use super::{number, object, text};
use crate::domain::host::{Abilities, Ability, Disk, Host};
use crate::protocol::body::{self, BodyError};

/// What was said of a machine; what was not is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(Host);

/// Reads the body of `POST /api/v1/agents/{id}/system-info`.
pub fn decode_facts(bytes: &[u8]) -> Result<Facts, BodyError> {
    Ok(facts(&body::parse_object(bytes)?))
}

/// Reads facts of a body; what the agent puts into `metadata` counts where the body itself says nothing.
pub(super) fn facts(map: &Map<String, Value>) -> Facts {
    let metadata = object(map, "metadata");
    let word = |field: &str| text(map, field).or_else(|| text(&metadata, field));
    let amount = |field: &str| number(map, field).or_else(|| number(&metadata, field));
    let disk = amount("disk_total").map(|total_bytes| Disk {
        mount: word("disk_mount").unwrap_or_else(|| "/".into()),
        filesystem: word("disk_filesystem").unwrap_or_default(),
        total_bytes,
        used_bytes: amount("disk_used").unwrap_or(0),
    });
    let cores = amount("cpu_threads").or_else(|| amount("cpu_cores"));
    let host = Host {
        hostname: word("hostname"),
        os_type: word("os_type").map(|system| match system.to_ascii_lowercase().as_str() {
            "darwin" => "macos".to_owned(),
            other => other.to_owned(),
        }),
        os_version: word("os_version"),
        architecture: word("os_architecture"),
        cpu_model: word("cpu_model"),
        cpu_count: cores.and_then(|count| u32::try_from(count).ok()),
        memory_bytes: amount("memory_total"),
        disks: disk.into_iter().collect(),
        ..Host::default()
    };
    Facts(host)
}

impl Facts {
    /// Returns the machine that `before` was, with what is said of it now.
    pub fn onto(self, before: Option<Host>) -> Host {
        let (said, mut host) = (self.0, before.unwrap_or_default());
        for (known, new) in [
            (&mut host.hostname, said.hostname),
            (&mut host.os_type, said.os_type),
            (&mut host.os_version, said.os_version),
            (&mut host.architecture, said.architecture),
            (&mut host.cpu_model, said.cpu_model),
        ] {
            if new.is_some() {
                *known = new;
            }
        }
        host.cpu_count = said.cpu_count.or(host.cpu_count);
        host.memory_bytes = said.memory_bytes.or(host.memory_bytes);
        if !said.disks.is_empty() {
            host.disks = said.disks;
        }
        host.abilities = abilities();
        host.fitted()
    }
}

/// What RedFlag's agent can do on a host.
fn abilities() -> Abilities {
    let no = |reason: &str| Ability::no(reason, Some("put Lightship's agent on the host".into()));
    Abilities {
        publishes: no("RedFlag's agent runs no tunnel"),
        checks_images: no(
            "RedFlag's agent compares an image's id with the digest of a manifest, which differ always",
        ),
        checks_packages: Ability::yes(),
        installs_packages: no(
            "RedFlag's agent installs what its own package manager picks, bound to no plan",
        ),
        replaces_containers: no("RedFlag's agent pulls images and replaces no container"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Facts {
        decode_facts(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn facts_are_read_wherever_the_agent_puts_them() {
        let host = read(json!({
            "timestamp": "2026-01-31T12:00:00Z", "cpu_model": "Xeon", "cpu_cores": 8, "cpu_threads": 16,
            "memory_total": 33_554_432_u64, "disk_total": 1000, "disk_used": 250, "uptime": "up 3 days",
            "metadata": {"disk_mount": "/data", "disk_filesystem": "ext4", "hostname": "web-1", "os_type": "darwin",
                "os_version": "Debian 12", "os_architecture": "amd64", "motherboard": "x"},
        }))
        .onto(None);
        assert_eq!((host.hostname.as_deref(), host.os_type.as_deref()), (Some("web-1"), Some("macos")));
        assert_eq!((host.cpu_count, host.memory_bytes), (Some(16), Some(33_554_432)));
        assert_eq!((host.disks[0].mount.as_str(), host.disks[0].used_bytes), ("/data", 250));
        assert!(!host.abilities.publishes.yes && host.abilities.checks_packages.yes);
    }

    #[test]
    fn numbers_may_be_texts_and_zero_says_nothing() {
        let at_registration = read(json!({
            "os_type": "linux", "os_version": "Debian 12",
            "metadata": {"memory_total": "2048", "cpu_cores": "4", "disk_total": "100", "cpu_model": ""},
        }));
        let host = at_registration.onto(None);
        assert_eq!((host.memory_bytes, host.cpu_count, host.disks.len()), (Some(2048), Some(4), 1));
        // What a later word leaves out, or says as zero, stays.
        let later = read(json!({"cpu_cores": 0, "memory_total": 0, "uptime": 7, "metadata": null}))
            .onto(Some(host.clone()));
        assert_eq!(later, host);
    }
}
