//! Who holds the hostname, and who else wants it.

use super::find::Owner;
use super::scene::{Holder, Scene};
use super::times::moment;
use crate::domain::route::{RouteKey, RouteState};
use crate::domain::story::Section;

pub(super) fn section(scene: &Scene, key: &RouteKey) -> Section {
    let section = Section::new("Claim").fact("Hostname", key.hostname.as_str());
    let mut section = match &scene.holder {
        Some(holder) => held(section, scene, holder),
        None => section.fact("Held by", "nobody"),
    };
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
    } else if scene.rule.is_some() {
        section = section.fact("Route", key.to_string());
    } else if let Some(reason) = scene.status.as_ref().and_then(|status| status.reason.as_deref()) {
        section = section.note(scene.with_names(reason));
    }
    for (who, other) in &scene.others {
        let why = other.reason.as_deref().map(|reason| format!(": {}", scene.with_names(reason)));
        let why = why.unwrap_or_default();
        section = section.note(format!("{who} has it as `{}`{why}", other.state));
    }
    section
}

fn held(section: Section, scene: &Scene, holder: &Holder) -> Section {
    match holder {
        Holder::Agent { id, name, since } => {
            let who = match scene.owner == Owner::Agent(id.clone()) {
                true => "this agent".to_owned(),
                false => format!("agent {name} ({id})"),
            };
            section.fact("Held by", who).maybe("Since", since.map(moment))
        }
        Holder::Rules { tunnel } => section.fact("Held by", format!("rules of people, in tunnel {tunnel}")),
    }
}
