//! Whether a container that lives in another one's network really has it. That it runs says nothing: what it stood in may be
//! gone, and it sits there with nothing but its own loopback.

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::anew::id;

/// The only interface that every network namespace has.
const LOOPBACK: &str = "lo";

/// Returns in whose network a container lives, as it is told: an id, the beginning of it, or a name.
pub fn lender_of(container: &Value) -> Option<&str> {
    container["HostConfig"]["NetworkMode"].as_str()?.strip_prefix("container:")
}

/// Returns why a container is not in the network of `lender`, by the Engine's word.
pub fn not_in_network(container: &Value, lender: &Value) -> Option<String> {
    let name = lender["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let told = lender_of(container).unwrap_or_default();
    if told != id(lender) {
        return Some(format!("it is to live in the network of {told}, which is not `{name}` any more"));
    }
    if lender["State"]["Running"] != true {
        return Some(format!("`{name}`, in whose network it lives, does not run"));
    }
    // The network that it entered ended when the other one was started anew.
    match (started(container), started(lender)) {
        (Some(own), Some(its)) if own < its => {
            Some(format!("`{name}`, in whose network it lives, was started again after it"))
        }
        _ => None,
    }
}

fn started(container: &Value) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(container["State"]["StartedAt"].as_str()?).ok()
}

/// True if a network namespace has more than its own loopback, by its `/proc/PID/net/dev`.
pub fn has_interfaces(net_dev: &str) -> bool {
    let mut names = net_dev.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names.any(|name| name != LOOPBACK)
}

/// True if the lender itself is to have no network.
pub fn has_none_to_lend(lender: &Value) -> bool {
    lender["HostConfig"]["NetworkMode"] == "none"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_lives_in_anothers_network_has_lost_it_when_that_one_is_another_or_was_started_since() {
        let lender = |change: fn(&mut Value)| {
            let mut lender = json!({ "Id": "new", "Name": "/vpn",
                "State": { "Running": true, "StartedAt": "2026-01-31T12:00:00.123456789Z" } });
            change(&mut lender);
            lender
        };
        let app = json!({ "HostConfig": { "NetworkMode": "container:new" },
            "State": { "StartedAt": "2026-01-31T12:00:01.5Z" } });
        for (lender, expected) in [
            (lender(|_| ()), None),
            (lender(|l| l["Id"] = "newer".into()), Some("not `vpn` any more")),
            (lender(|l| l["State"]["Running"] = false.into()), Some("does not run")),
            (lender(|l| l["State"]["StartedAt"] = "2026-01-31T13:00:01+01:00".into()), None),
            (lender(|l| l["State"]["StartedAt"] = "2026-01-31T12:00:02Z".into()), Some("started again")),
        ] {
            let reason = not_in_network(&app, &lender);
            assert_eq!(reason.is_some(), expected.is_some(), "{reason:?}");
            assert!(reason.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn a_loopback_alone_is_no_network() {
        let head = "Inter-|   Receive       |  Transmit\n face |bytes    packets|bytes packets\n";
        let (lo, eth) = ("    lo: 0 0 0\n", "  eth0:    876 10 0\n");
        assert!(!has_interfaces(&format!("{head}{lo}")));
        assert!(has_interfaces(&format!("{head}{lo}{eth}")));
        assert!(!has_interfaces(""));
    }
}
