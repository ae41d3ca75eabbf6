//! The container, and what its labels say.

use super::scene::Scene;
use super::times::moment;
use crate::domain::labels::{MAX_PROBLEMS, is_enabled, read_labels};
use crate::domain::story::Section;
use crate::domain::text::spell_out;
use crate::web::label_words::{label_problem, shortened};
use crate::web::picture::presence;
use crate::web::state::WebState;

/// Most labels that are shown; a container has few.
const MOST: usize = 200;

/// Where the container runs, and what is known of it.
pub(super) fn section(state: &WebState, scene: &Scene) -> Section {
    let mut section = Section::new("Container");
    section = match &scene.container {
        Some(row) => {
            let (one, short) =
                (&row.container, row.container.id.as_str().chars().take(12).collect::<String>());
            let networks = one.networks.as_ref().map(|networks| {
                let listed: Vec<&str> = networks.keys().map(String::as_str).collect();
                if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
            });
            section
                .fact("Name", spell_out(&one.name))
                .fact("Id", short)
                .maybe("Image", one.image.as_deref().map(spell_out))
                .maybe("State", one.status.as_deref())
                .maybe("Networks", networks.map(|text| spell_out(&text)))
                .fact("Seen like this since", moment(row.changed_at))
        }
        None => {
            let section = section.maybe("Name", scene.container_name().map(spell_out));
            section.note(match scene.route {
                Some(_) => "It does not run: its agent does not list it any more.",
                None => "No container that asks for it is listed now.",
            })
        }
    };
    let Some(known) = &scene.known else {
        let agent = scene.agent().map(|id| id.as_str());
        return section.maybe("Agent", agent).note("The agent is not on the list any more.");
    };
    let id = &known.row.id;
    let presence = presence(state, id, Some(&known.row));
    let heard = match (presence.is_online, presence.last_seen) {
        (true, _) => "it is heard".to_owned(),
        (false, Some(at)) => format!("it is not heard; last {}", moment(at)),
        (false, None) => "it was never heard".to_owned(),
    };
    section
        .fact("Agent", format!("{} ({id})", known.row.display_name))
        .fact("The agent", format!("{}, {heard}", known.row.status.as_str()))
}

/// What stands in the labels, what was read of it, and what was refused.
pub(super) fn labels(state: &WebState, scene: &Scene) -> Section {
    let mut section = Section::new("Labels");
    let Some(row) = &scene.container else {
        let spec = scene.route.as_ref().map(|row| &row.route.spec);
        return section
            .maybe("Asked for last", spec.map(|spec| format!("{} → {}", spec.key, spec.service)))
            .note("They are told by a container that runs.");
    };
    let labels = &row.container.labels;
    for (label, value) in labels.iter().take(MOST) {
        section = section.fact(spell_out(label), spell_out(&shortened(value)));
    }
    let prefix = state.settings().label_prefix.as_deref();
    if !is_enabled(labels, prefix) {
        section = section.note("They do not say `enable`, so nothing is published for this container.");
    }
    for service in read_labels(labels, prefix, MAX_PROBLEMS).services {
        let (key, target) = (spell_out(&service.key.to_string()), spell_out(&service.service));
        section = section.note(format!("read: `{key}` leads to `{target}`"));
    }
    for problem in &scene.problems {
        section = section.note(format!("refused: {}", scene.with_names(&label_problem(problem))));
    }
    section
}
