//! The interfaces of a container's network, as the kernel of this host shows them.

use serde_json::Value;

use super::basis::id_of;
use crate::domain::update::swap::has_interfaces;

/// Says whether a container has more than a loopback; none if its process cannot be seen from here: this program may run in
/// a container, or on another machine than the Engine.
pub(super) fn has_network(container: &Value) -> Option<bool> {
    let pid = container["State"]["Pid"].as_u64().filter(|pid| *pid > 0)?;
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let id = id_of(container);
    let is_its_own = || !id.is_empty() && read("cgroup").is_some_and(|groups| groups.contains(id));
    // A number means another process where processes are numbered anew. It may also end while it is looked at.
    if !is_its_own() {
        return None;
    }
    let devices = read("net/dev")?;
    is_its_own().then(|| has_interfaces(&devices))
}
