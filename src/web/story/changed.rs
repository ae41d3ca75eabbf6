//! What others changed of it at Cloudflare.

use super::scene::Scene;
use super::times::moment;
use crate::db::read::{self, DriftRow};
use crate::domain::access::is_policy_of;
use crate::domain::drift::{DriftState, sentence, why_it_waits};
use crate::domain::owned::OwnedKind;
use crate::domain::route::RouteKey;
use crate::domain::story::Section;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most findings that are told.
const MOST: u64 = 20;
/// Most findings about policies that are looked through for those of the route.
const POLICIES: u64 = 500;

/// None if nobody changed anything.
pub(super) async fn section(
    state: &WebState,
    scene: &Scene,
    key: &RouteKey,
) -> Result<Option<Section>, ApiError> {
    let db = &state.master().db;
    let names = [key.hostname.clone(), key.to_string()];
    let mut found = read::drifts_of_names(db, &names, MOST).await.map_err(ApiError::internal)?;
    // What others did to the rule of the whole name is no matter of one of its paths.
    let is_its = |row: &DriftRow| match row.drift.kind {
        OwnedKind::Record => row.drift.name == key.hostname,
        OwnedKind::Rule | OwnedKind::Application => row.drift.name == key.to_string(),
        OwnedKind::Policy | OwnedKind::Tunnel => false,
    };
    found.retain(is_its);
    if let Some(route) = &scene.route {
        let policies = read::policy_drifts(db, POLICIES).await.map_err(ApiError::internal)?;
        let access = &route.route.spec.access;
        found.extend(policies.into_iter().filter(|row| is_policy_of(&row.drift.name, key, access)));
    }
    if found.is_empty() {
        return Ok(None);
    }
    let mut section = Section::new("What others changed");
    for row in found.into_iter().take(usize::try_from(MOST).unwrap_or(usize::MAX)) {
        let drift = &row.drift;
        let (wanted, there) = (drift.wanted.as_str(), drift.found.as_deref());
        let text = match row.state {
            DriftState::Waits => why_it_waits(drift.kind, &drift.name, wanted, there),
            DriftState::Healing => {
                format!("{}; it is being put right", sentence(drift.kind, &drift.name, wanted, there))
            }
            DriftState::Lost => {
                format!("{}; it is left to people", sentence(drift.kind, &drift.name, wanted, there))
            }
            DriftState::Healed => {
                format!("{}; it was put right", sentence(drift.kind, &drift.name, wanted, there))
            }
        };
        section = section.fact(moment(row.found_at), text);
    }
    Ok(Some(section))
}
