//! What pages and the API show, read in one go. Nothing here writes.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
};
use serde::{Deserialize, Serialize};

use super::entities::{agent, command, container, container_problem, route, route_status, tunnel_observed};
use super::error::DbError;
use crate::domain::agent::AgentStatus;
use crate::domain::route::RouteKey;

pub use super::agents::{AgentRow, find_agent, find_limits, get_agent, list_agents};
pub use super::cloudflare::{
    AppliedRule, DnsRecordRow, RouteStatusRow, TunnelConnectorsRow, TunnelStatusRow, find_tunnel_connectors,
    find_tunnel_status, list_applied_rules, list_dns_records, list_route_status, list_tunnel_connectors,
    list_tunnel_status,
};
pub use super::commands::{
    CommandRow, find_command, list_commands, list_open_commands, open_commands_by_agent,
};
pub use super::containers::{
    ContainerProblem, ContainerProblemRow, ContainerRow, KeptNetworks, containers_by_agent,
    list_container_problems, list_containers, names_with_problems, networks_behind_routes,
};
pub use super::database::{ALL, Db};
pub use super::events::{EventFilter, EventRow, list_events};
pub use super::keys::{KeyRow, find_key, list_keys};
pub use super::routes::{RouteRow, find_claim, find_route, list_agent_routes, list_routes};
pub use super::sessions::find_signed_in;
pub use super::settings::{
    AdminRow, SettingRow, find_admin, find_setting, has_admin, list_admins, list_settings,
};
pub use super::tunnels::{TunnelObservedRow, TunnelRow, find_tunnel, find_tunnel_observed, list_tunnels};

/// Counts for the line of truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Agents by status, removed ones left out.
    pub agents: BTreeMap<String, u64>,
    /// Agents that were noted as offline.
    pub agents_offline: u64,
    /// Routes by state.
    pub routes: BTreeMap<String, u64>,
    /// Routes that wait for a person because too much would go at once.
    pub routes_held: u64,
    /// Routes by what Cloudflare made of them.
    pub route_status: BTreeMap<String, u64>,
    /// Labels that cannot be carried out.
    pub container_problems: u64,
    /// Commands that are not at their end.
    pub open_commands: u64,
}

/// Returns the counts of everything that the overview shows.
pub async fn counts(db: &Db) -> Result<Counts, DbError> {
    db.read(move |conn| async move {
        let live = agent::Column::Status.ne(AgentStatus::Removed.as_str());
        let is_open = command::Column::DueAt.is_not_null();
        Ok(Counts {
            agents: count_by(&conn, agent::Entity::find().filter(live), agent::Column::Status).await?,
            agents_offline: agent::Entity::find()
                .filter(agent::Column::OfflineSince.is_not_null())
                .count(&conn)
                .await?,
            routes: count_by(&conn, route::Entity::find(), route::Column::State).await?,
            routes_held: route::Entity::find().filter(route::Column::Held.eq(true)).count(&conn).await?,
            route_status: count_by(&conn, route_status::Entity::find(), route_status::Column::State).await?,
            container_problems: container_problem::Entity::find().count(&conn).await?,
            open_commands: command::Entity::find().filter(is_open).count(&conn).await?,
        })
    })
    .await
}

async fn count_by<E, C>(
    conn: &DatabaseConnection,
    query: sea_orm::Select<E>,
    word: C,
) -> Result<BTreeMap<String, u64>, DbError>
where
    E: EntityTrait<Column = C>,
    C: ColumnTrait,
{
    let rows: Vec<(String, i64)> = query
        .select_only()
        .column(word)
        .column_as(word.count(), "rows")
        .group_by(word)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|(word, rows)| (word, u64::try_from(rows).unwrap_or(0))).collect())
}

/// An agent with what is shown beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// The agent.
    #[serde(flatten)]
    pub agent: AgentRow,
    /// How it sees its tunnel.
    pub tunnel: Option<TunnelObservedRow>,
    /// Number of its containers.
    pub containers: u64,
    /// Number of its routes.
    pub routes: u64,
    /// Number of its commands that are not at their end.
    pub open_commands: u64,
}

/// Returns agents as [`list_agents`] does, with their tunnels and counts.
pub async fn agent_views(
    db: &Db,
    after: Option<&crate::domain::id::AgentId>,
    max: u64,
) -> Result<Vec<AgentView>, DbError> {
    let agents = list_agents(db, after, max).await?;
    let (Some(first), Some(last)) = (agents.first(), agents.last()) else {
        return Ok(Vec::new());
    };
    let (first, last) = (first.id.to_string(), last.id.to_string());
    db.read(move |conn| async move {
        let range = tunnel_observed::Column::AgentId.between(&first, &last);
        let mut tunnels = HashMap::new();
        for row in tunnel_observed::Entity::find().filter(range).all(&conn).await? {
            tunnels.insert(row.agent_id.clone(), TunnelObservedRow::of(row)?);
        }
        let range = container::Column::AgentId.between(&first, &last);
        let containers =
            count_by(&conn, container::Entity::find().filter(range), container::Column::AgentId).await?;
        let range = route::Column::AgentId.between(&first, &last);
        let routes = count_by(&conn, route::Entity::find().filter(range), route::Column::AgentId).await?;
        let range = command::Column::AgentId.between(&first, &last);
        let is_open = command::Entity::find().filter(range).filter(command::Column::DueAt.is_not_null());
        let commands = count_by(&conn, is_open, command::Column::AgentId).await?;
        let count = |of: &BTreeMap<String, u64>, id: &str| of.get(id).copied().unwrap_or(0);
        let view = |agent: AgentRow| AgentView {
            tunnel: tunnels.remove(agent.id.as_str()),
            containers: count(&containers, agent.id.as_str()),
            routes: count(&routes, agent.id.as_str()),
            open_commands: count(&commands, agent.id.as_str()),
            agent,
        };
        Ok(agents.into_iter().map(view).collect())
    })
    .await
}

/// Returns one agent as [`agent_views`] shows it, removed ones too.
pub async fn find_agent_view(db: &Db, id: &crate::domain::id::AgentId) -> Result<Option<AgentView>, DbError> {
    let Some(agent) = find_agent(db, id).await? else { return Ok(None) };
    let id = id.to_string();
    db.read(move |conn| async move {
        let tunnel = tunnel_observed::Entity::find_by_id(&id).one(&conn).await?;
        let is_open = command::Entity::find().filter(command::Column::DueAt.is_not_null());
        Ok(Some(AgentView {
            agent,
            tunnel: tunnel.map(TunnelObservedRow::of).transpose()?,
            containers: container::Entity::find()
                .filter(container::Column::AgentId.eq(&id))
                .count(&conn)
                .await?,
            routes: route::Entity::find().filter(route::Column::AgentId.eq(&id)).count(&conn).await?,
            open_commands: is_open.filter(command::Column::AgentId.eq(&id)).count(&conn).await?,
        }))
    })
    .await
}

/// A route with what Cloudflare made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The route.
    #[serde(flatten)]
    pub route: RouteRow,
    /// What Cloudflare made of it; none before the first look.
    pub status: Option<RouteStatusRow>,
}

/// Returns routes as [`list_routes`] does, each with its status.
pub async fn route_views(db: &Db, after: Option<&RouteKey>, max: u64) -> Result<Vec<RouteView>, DbError> {
    let routes = list_routes(db, after, max).await?;
    let (Some(first), Some(last)) = (routes.first(), routes.last()) else {
        return Ok(Vec::new());
    };
    let (first, last) = (first.route.spec.key.hostname.clone(), last.route.spec.key.hostname.clone());
    db.read(move |conn| async move {
        let range = Condition::all().add(route_status::Column::Hostname.between(first, last));
        let mut states = HashMap::new();
        for row in route_status::Entity::find().filter(range).all(&conn).await? {
            states.insert((row.agent_id.clone(), row.hostname.clone(), row.path.clone()), row);
        }
        let view = |row: RouteRow| {
            let key = &row.route.spec.key;
            let id = (row.route.agent_id.to_string(), key.hostname.clone(), key.path.clone());
            RouteView { status: states.remove(&id).map(RouteStatusRow::of), route: row }
        };
        Ok(routes.into_iter().map(view).collect())
    })
    .await
}
