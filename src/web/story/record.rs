//! The zone of the hostname, and its DNS record.

use super::scene::Scene;
use super::times::moment;
use crate::domain::route::RouteKey;
use crate::domain::story::Section;
use crate::web::error::ApiError;
use crate::web::state::WebState;

pub(super) async fn section(state: &WebState, scene: &Scene, key: &RouteKey) -> Result<Section, ApiError> {
    let named = scene.spec().and_then(|spec| spec.zone_name.as_deref());
    let title = if scene.rule.is_some() { "Zone by rule" } else { "Zone by label" };
    let mut section = Section::new("Zone and record").maybe(title, named);
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
        let is_elsewhere = scene.tunnel.as_ref().is_some_and(|place| place.id != record.tunnel_id);
        if scene.spec().is_some() && is_elsewhere {
            section =
                section.note(format!("It leads to another tunnel than this one: {}.", record.tunnel_id));
        }
    }
    Ok(section)
}
