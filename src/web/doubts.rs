//! Routes that are published and may lead nowhere, with the reason. Decided anew for each answer: it is nothing that
//! anybody wrote down.

use std::collections::BTreeSet;

use crate::db::read::{AgentRow, TunnelObservedRow};
use crate::domain::delivery::Dialect;
use crate::domain::networks::{Connector, Doubt, Networks, Target, doubt};
use crate::domain::route::{Route, RouteState};

/// What is known of the networks that an agent's connector is on.
pub enum ConnectorPlace {
    /// These, by the word of its agent.
    On(BTreeSet<String>),
    /// Its agent speaks DockFlare's dialect, which has no word for them.
    Untold,
    /// Nobody knows.
    Unknown,
}

impl ConnectorPlace {
    /// Takes an agent's last word about its tunnel.
    pub fn of(agent: &AgentRow, seen: Option<&TunnelObservedRow>) -> Self {
        match seen.and_then(|seen| seen.report.networks.as_ref()) {
            Some(networks) => Self::On(networks.clone()),
            None if agent.dialect.as_deref().map(Dialect::of) == Some(Dialect::V2) => Self::Untold,
            None => Self::Unknown,
        }
    }
}

/// Says why a route may lead nowhere; `networks` are those of the container behind it, if they are known.
pub fn doubt_of(route: &Route, networks: Option<&Networks>, connector: &ConnectorPlace) -> Option<Doubt> {
    if route.state != RouteState::Active {
        return None;
    }
    let connector = match connector {
        ConnectorPlace::On(networks) => Connector::On(networks),
        ConnectorPlace::Untold => Connector::Untold,
        ConnectorPlace::Unknown => Connector::Unknown,
    };
    let target = networks.map(|networks| Target { name: &route.container_name, networks });
    doubt(&route.spec.service, target, connector)
}
