//! Who holds the hostname, and who else wants it.

use super::scene::Scene;
use super::times::moment;
use crate::domain::route::{RouteKey, RouteState};
use crate::domain::story::Section;

pub(super) fn section(scene: &Scene, key: &RouteKey) -> Section {
    let mut section = Section::new("Claim").fact("Hostname", key.hostname.as_str());
    section = match &scene.holder {
        Some(holder) if holder.agent == scene.agent => section.fact("Held by", "this agent"),
        Some(holder) => section.fact("Held by", format!("agent {} ({})", holder.name, holder.agent)),
        None => section.fact("Held by", "nobody"),
    };
    section = section.maybe("Since", scene.holder.as_ref().and_then(|holder| holder.since).map(moment));
    if let Some(row) = &scene.route {
        section = section
            .fact("Route", key.to_string())
            .fact("Claimed", moment(row.claimed_at))
            .fact("Last decided", moment(row.changed_at));
        if let RouteState::PendingDeletion { due_at, held, .. } = row.route.state {
            section = match held {
                true => section.note("Its removal is held until a person confirms it."),
                false => {
                    section.note(format!("Its container is gone; it is released at {}.", moment(due_at)))
                }
            };
        }
    } else if let Some(reason) = scene.status.as_ref().and_then(|status| status.reason.as_deref()) {
        section = section.note(scene.with_names(reason));
    }
    for (name, other) in &scene.others {
        let why = other.reason.as_deref().map(|reason| format!(": {}", scene.with_names(reason)));
        let why = why.unwrap_or_default();
        section = section.note(format!("{name} has it as `{}`{why}", other.state));
    }
    section
}
