//! Containers that are not replaced, and why.

use serde_json::Value;

use super::anew::{id, mac_by_hand};
use crate::domain::agent_tunnel::{AGENT_LABEL, CONTAINER_NAME};
use crate::domain::registry::Reference;

/// What this program itself stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandsOn {
    /// The container that it runs in.
    pub own: Option<String>,
    /// The host through which it reaches the Engine, if that is no socket.
    pub engine_host: Option<String>,
    /// True if the Engine takes an endpoint's hardware address (API 1.44).
    pub keeps_hardware_addresses: bool,
}

/// Returns why a container is not replaced, if it is not.
pub fn refused(container: &Value, stands_on: &StandsOn) -> Option<&'static str> {
    let labels = &container["Config"]["Labels"];
    let has = |label: &str| labels.get(label).is_some();
    let networks = &container["NetworkSettings"]["Networks"];
    let endpoints = || networks.as_object().into_iter().flatten();
    if has("com.docker.swarm.service.id") || has("com.docker.swarm.task.id") {
        return Some("Swarm runs it, and would undo it: update the service");
    }
    if has("io.kubernetes.pod.name") || has("io.kubernetes.container.name") {
        return Some("Kubernetes runs it, and would undo it: update the workload");
    }
    if stands_on.own.as_deref() == Some(id(container)) {
        return Some("this program runs in it: who replaces it must stand outside");
    }
    if is_engine_way(container, stands_on) {
        return Some("the Engine is reached through it: who replaces it must reach the Engine without it");
    }
    if is_connector(container) {
        return Some("it is a tunnel's connector: the agent replaces its own, by `CLOUDFLARED_IMAGE`");
    }
    if container["State"]["Paused"] == true {
        return Some("it is paused");
    }
    if !stands_on.keeps_hardware_addresses && endpoints().any(|(_, endpoint)| mac_by_hand(endpoint).is_some())
    {
        return Some("its hardware address was set by hand, which this Engine (API before 1.44) cannot keep");
    }
    None
}

fn repository(container: &Value) -> Option<String> {
    let name = container["Config"]["Image"].as_str()?;
    Reference::parse(name).ok().map(|reference| reference.repository)
}

fn is_engine_way(container: &Value, stands_on: &StandsOn) -> bool {
    let is_proxy =
        |repository: &String| repository.rsplit('/').next().is_some_and(|name| name.contains("socket-proxy"));
    if repository(container).as_ref().is_some_and(is_proxy) {
        return true;
    }
    let Some(host) = stands_on.engine_host.as_deref() else { return false };
    let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let is_there = |endpoint: &Value| {
        let aliases = endpoint["Aliases"].as_array().into_iter().flatten();
        endpoint["IPAddress"] == host
            || aliases.chain(endpoint["DNSNames"].as_array().into_iter().flatten()).any(|alias| alias == host)
    };
    let networks = container["NetworkSettings"]["Networks"].as_object();
    name == host || networks.into_iter().flatten().any(|(_, endpoint)| is_there(endpoint))
}

fn is_connector(container: &Value) -> bool {
    let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let is_image = |repository: String| repository.rsplit('/').next() == Some("cloudflared");
    name == CONTAINER_NAME
        || container["Config"]["Labels"].get(AGENT_LABEL).is_some()
        || repository(container).is_some_and(is_image)
}

/// Returns the id of the container that a process is in, by `/proc/self/mountinfo`: the Engine mounts a host name there.
pub fn own_container(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ').skip(3);
        let (root, at) = (words.next()?, words.next()?);
        let id = root.strip_suffix("/hostname").filter(|_| at == "/etc/hostname")?.rsplit('/').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container() -> Value {
        json!({ "Id": "1".repeat(64), "Name": "/app", "State": { "Paused": false },
            "Config": { "Image": "reg.example/team/app:1", "Labels": { "a": "b" } },
            "HostConfig": {},
            "NetworkSettings": { "Networks": { "edge": { "IPAddress": "172.18.0.2",
                "MacAddress": "02:42:ac:12:00:02", "Aliases": ["app"] } } } })
    }

    #[test]
    fn what_others_run_and_what_we_stand_on_is_left_alone_with_its_reason() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 12] = [
            (|c| c["Config"]["Labels"]["com.docker.swarm.service.id"] = "x".into(), "Swarm"),
            (|c| c["Config"]["Labels"]["io.kubernetes.pod.name"] = "x".into(), "Kubernetes"),
            (|c| c["Id"] = "2".repeat(64).into(), "this program runs in it"),
            (|c| c["Name"] = "/proxy".into(), "the Engine is reached through it"),
            (
                |c| c["NetworkSettings"]["Networks"]["edge"]["Aliases"] = json!(["proxy"]),
                "the Engine is reached",
            ),
            (|c| c["Config"]["Image"] = "tecnativa/docker-socket-proxy:0.3".into(), "the Engine is reached"),
            (|c| c["Config"]["Image"] = "ghcr.io/linuxserver/socket-proxy".into(), "the Engine is reached"),
            (|c| c["Config"]["Image"] = "cloudflare/cloudflared:2025.9.0".into(), "a tunnel's connector"),
            (|c| c["Config"]["Labels"]["lightship.agent-id"] = "x".into(), "a tunnel's connector"),
            (|c| c["Name"] = "/dockflare-agent-tunnel".into(), "a tunnel's connector"),
            (|c| c["State"]["Paused"] = true.into(), "paused"),
            (
                |c| c["NetworkSettings"]["Networks"]["edge"]["MacAddress"] = "02:42:00:00:00:01".into(),
                "by hand",
            ),
        ];
        let stands_on = StandsOn {
            own: Some("2".repeat(64)),
            engine_host: Some("proxy".into()),
            keeps_hardware_addresses: false,
        };
        assert_eq!(refused(&container(), &stands_on), None);
        for (change, words) in cases {
            let mut container = container();
            change(&mut container);
            let reason = refused(&container, &stands_on).unwrap_or_else(|| panic!("{words}: not refused"));
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn a_process_knows_its_container_by_the_host_name_that_is_mounted_there() {
        let id = "ab".repeat(32);
        let inside = format!(
            "700 690 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda rw"
        );
        assert_eq!(own_container(&inside), Some(id.clone()));
        let on_the_host =
            format!("700 690 0:1 / /var/lib/docker/containers/{id}/mounts/shm rw - tmpfs shm rw");
        assert_eq!(own_container(&on_the_host), None);
        assert_eq!(own_container(""), None);
    }
}
