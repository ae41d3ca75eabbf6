//! Connectors of tunnels as pages show them: which there are, where they are connected, and whether a newer one is known.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::error::ApiError;
use crate::db::read::{Db, UpdateFilter, UpdateOrder, all_statuses, list_updates};
use crate::domain::connector::{Connector, Listed};
use crate::domain::id::AgentId;
use crate::domain::text::spell_out;
use crate::domain::update::{Finding, Kind};

/// What the images of connectors are called.
const IMAGE: &str = "cloudflared";
/// Most images that are read.
const MOST: u64 = 2_000;
/// Characters of an id by which people tell connectors apart.
const SHORT: usize = 8;

/// A connector, in words.
pub struct ConnectorWords {
    /// The beginning of its id.
    pub id: String,
    /// Its version, where it is connected, and with which configuration.
    pub detail: String,
    /// True if requests can reach it.
    pub is_connected: bool,
}

/// Returns the connectors of a list, the connected ones first.
pub fn in_words(listed: &Listed) -> Vec<ConnectorWords> {
    let mut connectors: Vec<&Connector> = listed.connectors.iter().collect();
    connectors.sort_by(|one, other| (other.is_connected(), &one.id).cmp(&(one.is_connected(), &other.id)));
    connectors.into_iter().map(words).collect()
}

fn words(connector: &Connector) -> ConnectorWords {
    let places: Vec<String> =
        connector.places.iter().map(|(place, number)| format!("{} {number}", spell_out(place))).collect();
    let connections = match (connector.connections, places.is_empty()) {
        (0, _) => "no connection".to_owned(),
        (1, true) => "1 connection".to_owned(),
        (number, true) => format!("{number} connections"),
        (1, false) => format!("1 connection, in {}", places.join(", ")),
        (number, false) => format!("{number} connections, in {}", places.join(", ")),
    };
    let parts = [
        Some(connector.version.as_deref().map_or_else(
            || "version not known".to_owned(),
            |version| format!("cloudflared {}", spell_out(version)),
        )),
        Some(connections),
        connector.config_version.map(|version| format!("configuration {version}")),
        connector
            .run_at
            .map(|at: DateTime<Utc>| format!("started {}", at.to_rfc3339_opts(SecondsFormat::Secs, true))),
    ];
    ConnectorWords {
        id: spell_out(&connector.id).chars().take(SHORT).collect(),
        detail: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        is_connected: connector.is_connected(),
    }
}

/// Returns what the last scans found of the images of connectors, by host; of all hosts if none is named.
pub async fn scanned(db: &Db, agent: Option<&AgentId>) -> Result<HashMap<AgentId, Finding>, ApiError> {
    let filter = UpdateFilter {
        agent: agent.cloned(),
        kind: Some(Kind::DockerImage),
        search: Some(IMAGE.to_owned()),
        statuses: all_statuses(),
        ..UpdateFilter::default()
    };
    let found = list_updates(db, &filter, UpdateOrder::Name, 0, MOST).await.map_err(ApiError::internal)?;
    let mut findings = HashMap::<AgentId, Finding>::new();
    for view in found {
        let finding = view.row.update.finding;
        // A host may run two for a moment; what is pending tells more.
        let known = findings.get(&view.row.agent_id);
        if known.is_none_or(|known| !known.is_pending()) {
            findings.insert(view.row.agent_id, finding);
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn connectors_are_told_with_their_data_centres() {
        let connector = |id: &str, places: &[(&str, usize)], version: Option<&str>| Connector {
            id: id.into(),
            config_version: Some(7),
            connections: places.iter().map(|(_, number)| number).sum(),
            places: places
                .iter()
                .map(|(place, number)| ((*place).to_owned(), *number))
                .collect::<BTreeMap<_, _>>(),
            version: version.map(str::to_owned),
            run_at: None,
        };
        let connectors = vec![
            connector("0-lingers", &[], None),
            connector("b0123456789", &[("fra01", 2), ("ams01", 2)], Some("2026.8.2")),
            connector("a0123456789", &[("fra01", 1)], Some("2026.8.2")),
        ];
        let told = in_words(&Listed { connectors, at: DateTime::UNIX_EPOCH });
        let told: Vec<_> =
            told.iter().map(|one| (one.id.as_str(), one.detail.as_str(), one.is_connected)).collect();
        assert_eq!(
            told,
            [
                ("a0123456", "cloudflared 2026.8.2 · 1 connection, in fra01 1 · configuration 7", true),
                (
                    "b0123456",
                    "cloudflared 2026.8.2 · 4 connections, in ams01 2, fra01 2 · configuration 7",
                    true
                ),
                ("0-linger", "version not known · no connection · configuration 7", false),
            ]
        );
    }
}
