//! What stands before the hostname.

use super::scene::Scene;
use crate::domain::story::Section;

pub(super) fn section(scene: &Scene) -> Section {
    let section = Section::new("Protection");
    match scene.route.as_ref().map(|row| &row.route.spec.access) {
        Some(access) => section.fact("Asked for", access.in_words()),
        None => section.note("Nothing is asked for: this agent does not hold the route."),
    }
}
