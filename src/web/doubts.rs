//! Routes that are published and may lead nowhere, with the reason.

use std::collections::HashMap;

use super::error::ApiError;
use crate::db::read::{self, AgentRow, Db, KeptNetworks, TunnelObservedRow};
use crate::domain::delivery::Dialect;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::networks::{Connector, Doubt, Networks, Target, doubt};
use crate::domain::route::{Route, RouteKey, RouteState};

/// What there is to doubt. Decided anew for each answer: it is nothing that anybody wrote down.
pub struct Doubts(HashMap<(AgentId, RouteKey), Doubt>);

impl Doubts {
    /// Looks at the routes of one agent.
    pub async fn of_one(
        db: &Db,
        routes: &[Route],
        agent: &AgentRow,
        seen: Option<&TunnelObservedRow>,
    ) -> Result<Self, ApiError> {
        let networks = read::networks_behind_routes(db, Some(&agent.id)).await.map_err(ApiError::internal)?;
        Self::found(&networks, routes.iter(), [(agent, seen)].into_iter())
    }

    /// Looks at the routes of all agents, each with its last word about its tunnel.
    pub async fn of_all<'a>(
        db: &Db,
        routes: impl Iterator<Item = &'a Route>,
        agents: impl Iterator<Item = (&'a AgentRow, Option<&'a TunnelObservedRow>)>,
    ) -> Result<Self, ApiError> {
        let networks = read::networks_behind_routes(db, None).await.map_err(ApiError::internal)?;
        Self::found(&networks, routes, agents)
    }

    fn found<'a>(
        networks: &HashMap<(AgentId, ContainerId), KeptNetworks>,
        routes: impl Iterator<Item = &'a Route>,
        agents: impl Iterator<Item = (&'a AgentRow, Option<&'a TunnelObservedRow>)>,
    ) -> Result<Self, ApiError> {
        let connectors: HashMap<&AgentId, Connector<'_>> =
            agents.map(|(agent, seen)| (&agent.id, connector(agent, seen))).collect();
        let mut found = HashMap::new();
        for route in routes.filter(|route| route.state == RouteState::Active) {
            let connector = connectors.get(&route.agent_id).copied().unwrap_or(Connector::Unknown);
            // Of a connector whose networks nobody knows there is nothing to compare with.
            let kept = matches!(connector, Connector::On(_))
                .then(|| networks.get(&(route.agent_id.clone(), route.container_id.clone())));
            let own: Option<Networks> =
                kept.flatten().map(KeptNetworks::read).transpose().map_err(ApiError::internal)?;
            let target = own.as_ref().map(|networks| Target { name: &route.container_name, networks });
            if let Some(doubt) = doubt(&route.spec.service, target, connector) {
                found.insert((route.agent_id.clone(), route.spec.key.clone()), doubt);
            }
        }
        Ok(Self(found))
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
