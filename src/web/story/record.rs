//! The zone of the hostname, and its DNS record.

use super::scene::Scene;
use super::times::moment;
use crate::domain::route::RouteKey;
use crate::domain::story::Section;
use crate::web::error::ApiError;
use crate::web::state::WebState;

pub(super) async fn section(state: &WebState, scene: &Scene, key: &RouteKey) -> Result<Section, ApiError> {
    let by_label = scene.route.as_ref().and_then(|row| row.route.spec.zone_name.as_deref());
    let mut section = Section::new("Zone and record").maybe("Zone by label", by_label);
    if scene.records.is_empty() {
        return Ok(section.note(format!("No DNS record of ours leads from `{}` to a tunnel.", key.hostname)));
    }
    for record in &scene.records {
        let zone = state.master().zone_name(&record.zone_id).await;
        let zone =
            zone.map_or_else(|| record.zone_id.to_string(), |name| format!("{name} ({})", record.zone_id));
        section = section
            .fact("Zone", zone)
            .fact("Record", format!("CNAME {} → {}", record.name, record.content))
            .fact("Made", moment(record.created_at));
        section = match (&record.record_id, record.is_settled) {
            (None, _) => section.note("The call that makes it is under way, or its end is not known yet."),
            (Some(_), false) => section.note("A change of it is under way, or its end is not known yet."),
            (Some(_), true) => section,
        };
        if scene.route.is_some() && scene.tunnel_id().is_some_and(|tunnel| *tunnel != record.tunnel_id) {
            section =
                section.note(format!("It leads to another tunnel than this agent's: {}.", record.tunnel_id));
        }
    }
    Ok(section)
}
