//! Routes that are published and may lead nowhere, with the reason.

use std::collections::HashMap;

use crate::db::read::{AgentRow, TunnelObservedRow};
use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;
use crate::domain::networks::{Connector, Doubt, doubt};
use crate::domain::route::{Route, RouteKey, RouteState};

/// What there is to doubt. Decided anew for each answer: it is nothing that anybody wrote down.
pub struct Doubts(HashMap<(AgentId, RouteKey), Doubt>);

impl Doubts {
    /// Looks at the routes of agents, each with its last word about its tunnel.
    pub fn about<'a>(
        routes: impl Iterator<Item = &'a Route>,
        agents: impl Iterator<Item = (&'a AgentRow, Option<&'a TunnelObservedRow>)>,
    ) -> Self {
        let connectors: HashMap<&AgentId, Connector<'_>> =
            agents.map(|(agent, seen)| (&agent.id, connector(agent, seen))).collect();
        let doubted = routes.filter(|route| route.state == RouteState::Active).filter_map(|route| {
            let connector = connectors.get(&route.agent_id).copied().unwrap_or(Connector::Unknown);
            let found = doubt(&route.spec.service, connector)?;
            Some(((route.agent_id.clone(), route.spec.key.clone()), found))
        });
        Self(doubted.collect())
    }

    /// Returns what is doubtful about a route.
    pub fn of(&self, route: &Route) -> Option<&Doubt> {
        self.0.get(&(route.agent_id.clone(), route.spec.key.clone()))
    }
}

fn connector<'a>(agent: &AgentRow, seen: Option<&'a TunnelObservedRow>) -> Connector<'a> {
    match seen.and_then(|seen| seen.report.networks.as_ref()) {
        Some(networks) => Connector::On(networks),
        None if agent.dialect.as_deref().map(Dialect::of) == Some(Dialect::V2) => Connector::Untold,
        None => Connector::Unknown,
    }
}
