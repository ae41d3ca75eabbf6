//! What stands before the hostname.

use super::scene::Scene;
use crate::domain::story::Section;

pub(super) fn section(scene: &Scene) -> Section {
    let section = Section::new("Protection");
    let asks = scene.route.as_ref().map(|row| row.route.spec.has_access_labels);
    match asks {
        Some(true) => section.fact("Asked for", "by `access.*` labels"),
        Some(false) => section.fact("Asked for", "none: whoever has the address gets in"),
        None => section.note("Nothing is asked for: this agent does not hold the route."),
    }
}
