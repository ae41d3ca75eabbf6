//! Whether a new container can serve beside the old one, before that one is stopped.

use serde_json::Value;

use super::anew::{id, mac_by_hand};

/// Networks of the Engine's own, on which nobody is found by a name.
const NAMELESS: [&str; 3] = ["bridge", "host", "none"];

/// Returns why the old one has to be stopped first, if it has to: both would have something that only one can have, or that
/// may suffer from two. For one that nobody visits there is nothing to gain, and work may be done twice.
pub fn stops_first(container: &Value, is_published: bool) -> Option<String> {
    if container["State"]["Running"] != true {
        return Some("it does not run".into());
    }
    if !is_published {
        return Some("no route that can be asked from here leads to it".into());
    }
    let host = &container["HostConfig"];
    if host["AutoRemove"] == true {
        return Some("it was started with `--rm`".into());
    }
    if host["Privileged"] == true {
        return Some("it may do everything on the host".into());
    }
    network(container).or_else(|| things(container))
}

fn network(container: &Value) -> Option<String> {
    let host = &container["HostConfig"];
    let modes = ["NetworkMode", "PidMode", "IpcMode"];
    let is_shared = |key: &&str| {
        let mode = host.get(*key).and_then(Value::as_str).unwrap_or_default();
        mode.starts_with("container:") || mode == "host"
    };
    if modes.iter().any(is_shared) {
        return Some("it shares a namespace with the host or another container".into());
    }
    if !is_empty(&host["Links"]) {
        return Some("it is linked to another container".into());
    }
    if host["PublishAllPorts"] == true || !is_empty(&host["PortBindings"]) {
        return Some("both would hold its port of the host".into());
    }
    let networks = container["NetworkSettings"]["Networks"].as_object()?;
    if networks.keys().all(|name| NAMELESS.contains(&name.as_str())) {
        return Some("on the Engine's own networks nobody finds it by a name".into());
    }
    for endpoint in networks.values() {
        let fixed = ["IPv4Address", "IPv6Address"].iter().find_map(|key| {
            let fixed = endpoint["IPAMConfig"].get(key)?.as_str()?;
            (!fixed.is_empty()).then_some(fixed)
        });
        if let Some(fixed) = fixed {
            return Some(format!("both would have the address {fixed}"));
        }
        if mac_by_hand(endpoint).is_some() {
            return Some("both might have one hardware address".into());
        }
    }
    None
}

fn things(container: &Value) -> Option<String> {
    let (host, config) = (&container["HostConfig"], &container["Config"]);
    if !is_empty(&host["Devices"]) || !is_empty(&host["DeviceRequests"]) {
        return Some("both would use its devices".into());
    }
    let mut mounts = container["Mounts"].as_array().into_iter().flatten();
    if let Some(mount) = mounts.find(|mount| mount["Type"] != "tmpfs" && mount["RW"] != false) {
        return Some(format!("both would write to `{}`", mount["Destination"].as_str().unwrap_or_default()));
    }
    let hostname = config["Hostname"].as_str().unwrap_or_default();
    if !hostname.is_empty() && !id(container).starts_with(hostname) {
        return Some(format!("both would have the host name `{hostname}`"));
    }
    None
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => other.is_null(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_one_can_have_stops_the_old_one_first_and_the_reason_is_said() {
        type Change = fn(&mut Value);
        let free = || {
            json!({ "Id": "ab".repeat(32), "State": { "Running": true },
                "Config": { "Hostname": "ab".repeat(6) },
                "HostConfig": { "NetworkMode": "edge", "PortBindings": {}, "Devices": [], "IpcMode": "private" },
                "Mounts": [{ "Type": "bind", "Destination": "/etc/app", "RW": false },
                    { "Type": "tmpfs", "Destination": "/tmp", "RW": true }],
                "NetworkSettings": { "Networks": {
                    "edge": { "IPAddress": "172.18.0.2", "MacAddress": "02:42:ac:12:00:02" } } } })
        };
        assert_eq!(stops_first(&free(), true), None);
        assert!(stops_first(&free(), false).unwrap().contains("no route"));
        let cases: [(Change, &str); 14] = [
            (|c| c["State"]["Running"] = false.into(), "does not run"),
            (|c| c["HostConfig"]["AutoRemove"] = true.into(), "--rm"),
            (|c| c["HostConfig"]["Privileged"] = true.into(), "everything"),
            (|c| c["HostConfig"]["NetworkMode"] = "container:x".into(), "namespace"),
            (|c| c["HostConfig"]["IpcMode"] = "host".into(), "namespace"),
            (|c| c["HostConfig"]["Links"] = json!(["/db:/app/db"]), "linked"),
            (|c| c["HostConfig"]["PortBindings"] = json!({ "80/tcp": [{ "HostPort": "80" }] }), "port"),
            (|c| c["HostConfig"]["PublishAllPorts"] = true.into(), "port"),
            (|c| c["NetworkSettings"]["Networks"] = json!({ "bridge": {} }), "by a name"),
            (
                |c| {
                    c["NetworkSettings"]["Networks"]["edge"]["IPAMConfig"] =
                        json!({ "IPv4Address": "172.18.0.2" });
                },
                "172.18.0.2",
            ),
            (
                |c| c["NetworkSettings"]["Networks"]["edge"]["MacAddress"] = "02:00:00:00:00:01".into(),
                "hardware address",
            ),
            (|c| c["HostConfig"]["DeviceRequests"] = json!([{ "Driver": "nvidia" }]), "devices"),
            (
                |c| c["Mounts"] = json!([{ "Type": "volume", "Destination": "/data", "RW": true }]),
                "write to `/data`",
            ),
            (|c| c["Config"]["Hostname"] = "mail".into(), "host name `mail`"),
        ];
        for (change, words) in cases {
            let mut container = free();
            change(&mut container);
            let reason = stops_first(&container, true).unwrap_or_else(|| panic!("{words}: beside"));
            assert!(reason.contains(words), "{reason}");
        }
    }
}
