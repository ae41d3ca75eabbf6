//! What Cloudflare answered last, and what the route waits for.

use super::find::Owner;
use super::scene::Scene;
use super::times::moment;
use crate::db::read::AgentRow;
use crate::domain::publish::PublicState;
use crate::domain::story::{Asker, Place, Section, waits_for};
use crate::web::picture::presence;
use crate::web::state::WebState;

pub(super) fn last_answer(scene: &Scene) -> Section {
    let section = Section::new("Last call and answer");
    let Some(status) = &scene.status else {
        return section.note("Nothing was asked of Cloudflare for it yet.");
    };
    section
        .fact("Came to", status.state.as_str())
        .fact("At", moment(status.updated_at))
        .fact("Cloudflare's words", status.answer.as_deref().unwrap_or("none: it refused nothing"))
}

pub(super) fn waits(state: &WebState, scene: &Scene) -> Section {
    let section = Section::new("What it waits for");
    let Some(stands) = scene.state() else {
        return match (&scene.owner, &scene.key) {
            (Owner::Person, _) => {
                section.fact("Waits for", "nothing: the rule is not there any more").fact("Who", "nobody has to do anything")
            }
            (Owner::Agent(_), Some(_)) => section
                .fact("Waits for", "its agent to be approved, or the next report of it")
                .fact("Who", "an operator approves or enrols the agent, on its page or with `lightship agents enroll`"),
            (Owner::Agent(_), None) => section.fact("Waits for", "labels that say what to publish").fact(
                "Who",
                "whoever starts the container puts its labels right and makes it anew; docs/labels.md has all of them",
            ),
        };
    };
    let known = scene.known.as_ref();
    let is_heard = |row: &AgentRow| presence(state, &row.id, Some(row)).is_online;
    let wait = waits_for(Place {
        asker: asker(scene),
        state: stands,
        cause: scene.status.as_ref().and_then(|status| status.cause),
        reach: scene.reach(),
        has_token: state.master().has_cloudflare(),
        has_tunnel: scene.tunnel.is_some(),
        is_heard: match (known, &scene.owner) {
            (Some(known), _) => Some(is_heard(&known.row)),
            (None, Owner::Agent(_)) => Some(false),
            (None, Owner::Person) => None,
        },
    });
    let of_status = || scene.status.as_ref().and_then(|status| status.reason.clone());
    let standing = scene.standing();
    let reason = match &standing {
        Some(standing) => standing.reasons(),
        None => of_status(),
    };
    let unreached =
        standing.as_ref().and_then(|standing| standing.reach).and_then(|reach| reach.reason.clone());
    section
        .fact("State", word(stands))
        .fact("Waits for", wait.what)
        .fact("Who", wait.who.unwrap_or("nobody has to do anything"))
        .maybe_note(reason.map(|reason| scene.with_names(&reason)))
        .maybe_note(unreached)
}

/// Who asks for it.
pub(super) fn asker(scene: &Scene) -> Asker {
    match scene.owner {
        Owner::Agent(_) => Asker::Container,
        Owner::Person => Asker::Person,
    }
}

fn word(state: PublicState) -> String {
    state.as_str().replace('_', " ")
}
