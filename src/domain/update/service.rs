//! Services that run on files which a plan replaces: which of them are restarted, and what is seen of them afterwards.

use serde::{Deserialize, Serialize};

/// Services that are never restarted by a run, by the beginning of their names, and why.
const LEFT_ALONE: [(&str, &str); 21] = [
    ("lightship", "it is this program"),
    ("docker", "every container would be restarted with it"),
    ("containerd", "every container would be restarted with it"),
    ("podman", "every container would be restarted with it"),
    ("cloudflared", "it carries what is published"),
    ("ssh", "a person may be working over it"),
    ("dbus", "what runs does not survive its restart"),
    ("systemd-", "it is a part of the system that is started anew with the host"),
    ("user@", "it holds a person's session"),
    ("getty@", "it holds a person's session"),
    ("serial-getty@", "it holds a person's session"),
    ("gdm", "it holds a person's session"),
    ("lightdm", "it holds a person's session"),
    ("sddm", "it holds a person's session"),
    ("display-manager", "it holds a person's session"),
    ("NetworkManager", "the host could lose its network"),
    ("networking", "the host could lose its network"),
    ("wpa_supplicant", "the host could lose its network"),
    ("ifup@", "the host could lose its network"),
    ("libvirtd", "virtual machines stand on it"),
    ("packagekit", "it installs packages itself"),
];

/// A service that runs on files which a plan replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// Its name, without `.service`.
    pub name: String,
    /// Why a run never restarts it; none if one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<String>,
}

impl Service {
    /// One that was found; `own` is the service that this process belongs to.
    pub fn found(name: impl Into<String>, own: Option<&str>) -> Self {
        let name = name.into();
        let reason = if own == Some(&name) {
            Some("it is this program")
        } else {
            let listed = LEFT_ALONE.iter().find(|(beginning, _)| name.starts_with(beginning));
            listed.map(|(_, reason)| *reason)
        };
        Self { name, left_alone: reason.map(str::to_owned) }
    }
}

/// What was seen of the host after a run of packages, beside the packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aftermath {
    /// Services that the run restarted.
    pub restarted: Vec<String>,
    /// Services that still run on files which it replaced.
    pub stale: Vec<Service>,
    /// Why the services are not known, or not all of them.
    pub services_unknown: Option<String>,
    /// Why a restart of the host is wanted; empty if nothing asks for it, as far as can be told.
    pub reboot: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restart_would_cut_off_is_left_alone_with_the_reason() {
        for (name, reason) in [
            ("nginx", None),
            ("postgresql@15-main", None),
            ("docker", Some("every container")),
            ("sshd", Some("a person")),
            ("dbus-broker", Some("does not survive")),
            ("systemd-logind", Some("part of the system")),
            ("user@1000", Some("session")),
            ("lightship-helper", Some("this program")),
            ("agent", Some("this program")),
        ] {
            let left = Service::found(name, Some("agent")).left_alone;
            assert_eq!(left.is_some(), reason.is_some(), "{name}");
            assert!(left.unwrap_or_default().contains(reason.unwrap_or_default()), "{name}");
        }
    }
}
