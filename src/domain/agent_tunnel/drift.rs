//! In what a container differs from the wanted one.

use super::options::FORM_LABEL;
use super::types::{AGENT_LABEL, COMMAND_LABEL, Observed, RESTART_POLICY, Wanted};
use crate::domain::id::AgentId;

/// Returns the first thing in which a container is not the wanted one; `None` if it will do.
///
/// One without our label was left by a DockFlare agent: it is taken over as it is if token, image, command and
/// network are right, and it has the options that an operator set, since the rest does not change what it serves.
pub fn drift(agent_id: &AgentId, wanted: &Wanted, found: &Observed) -> Option<&'static str> {
    let has = |name: &str, value: &str| found.options.get(name).is_some_and(|set| set == value);
    let serves = [
        ("token", found.token.as_ref() == Some(&wanted.token)),
        ("image", found.image == wanted.image),
        ("command", found.command == wanted.command),
        ("network", found.network == wanted.network && found.is_connected),
        ("options", wanted.options.variables().all(|(name, value)| has(name, value))),
    ];
    let differs = serves.iter().find(|(_, equal)| !equal).map(|(name, _)| *name);
    let made_for = |id: &str| found.labels.get(COMMAND_LABEL).is_some_and(|label| label == id);
    let ordered = wanted.made_for.as_ref().is_none_or(|id| made_for(id.as_str()));
    if differs.is_some() || !found.labels.contains_key(AGENT_LABEL) {
        return differs.or((!ordered).then_some("age"));
    }
    let rest = [
        ("metrics address", found.metrics.as_deref() == Some(wanted.metrics.as_str())),
        ("form", found.labels.get(FORM_LABEL) == Some(&wanted.options.form())),
        ("restart policy", found.restart_policy == RESTART_POLICY),
        ("owner", found.labels.get(AGENT_LABEL).is_some_and(|label| label == agent_id.as_str())),
        ("labels", wanted.labels.iter().all(|(name, value)| found.labels.get(name) == Some(value))),
        ("age", ordered),
    ];
    rest.iter().find(|(_, equal)| !equal).map(|(name, _)| *name)
}
