//! What pages and the API show, read in one go. Nothing here writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ColumnTrait, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::{Deserialize, Serialize};

use super::cloudflare::{NOBODYS, refused};
use super::database::{AT_ONCE, limit};
use super::entities::{
    agent, command, container, container_problem, manual_rule, route, route_status, tunnel_observed,
};
pub use super::error::DbError;
use super::words::json;
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::networks::Networks;
use crate::domain::route::RouteKey;

pub use super::access::{
    AccessApplicationRow, AccessGroupRow, AccessPolicyRow, find_application, find_group, list_groups,
    policies_of,
};
pub use super::agents::{AgentRow, agent_names, find_agent, find_limits, get_agent, list_agents};
pub use super::approvals::{ApprovalFilter, ApprovalRow, find_approval_of, list_approvals};
pub use super::cloudflare::{
    AppliedRule, DnsRecordRow, RouteStatusRow, TunnelConnectorsRow, TunnelStatusRow, count_owned,
    find_tunnel_connectors, find_tunnel_status, list_applied_rules, list_dns_records, list_route_status,
    route_status_of, tunnel_connectors_of, tunnel_status_after, tunnel_status_of,
};
pub use super::commands::{
    CommandFilter, CommandRow, find_command, list_commands, list_newest_commands, list_open_commands,
    open_commands_of,
};
pub use super::containers::{
    ContainerProblem, ContainerProblemRow, ContainerRow, containers_of, list_container_problems,
    list_containers, networks_behind_routes,
};
pub use super::database::{ALL, Db};
pub use super::drifts::{DriftRow, drifts_of_names, policy_drifts};
pub use super::events::{
    EventFilter, EventRow, FoundEvents, find_earlier, find_event, find_events, last_seq, list_events,
};
pub use super::failed_images::{HeldImageRow, held_among, list_held_images};
pub use super::keys::{KeyRow, find_key, keys_after, list_keys};
pub use super::manual_rules::{
    Claimant, ManualRuleRow, count_rules, find_claimant, find_rule, list_rules, rules_of_names,
    status_of_rules,
};
pub use super::notifications::{
    MessageRow, MessageState, TargetRow, TargetStateRow, count_waiting, find_target, list_messages,
    list_target_states, list_targets,
};
pub use super::order_keys::{OrderKeyRow, list_order_keys};
pub use super::plans::{
    HostPlanAnswer, HostPlanRow, find_host_plan_of, find_plan, host_plans_of, plans_by_id, scheduled_plans,
};
pub use super::refresh_tokens::{RefreshTokenRow, refresh_tokens_of};
pub use super::registry_logins::{RegistryLoginRow, list_registry_logins};
pub use super::removals::{RemovalRow, withdrawn_among};
pub use super::routes::{RouteRow, find_claim, find_route, list_agent_routes, list_routes, routes_of_agents};
pub use super::runs::{RunFilter, RunPage, RunRow, StepDone, find_run, list_runs, run_that_took_back};
pub use super::search::{
    FoundAgent, search_agents, search_containers, search_refused, search_routes, search_rules, search_tunnels,
};
pub use super::sessions::find_signed_in;
pub use super::settings::{
    AdminRow, SettingRow, find_admin, find_setting, has_admin, list_admins, list_settings,
};
pub use super::story::{
    askers_of, asks_owner, asks_protection, containers_called, find_container, get_container, known_names,
    problems_of_container, records_of_name, routes_of_container, routes_of_hostname, statuses_of_hostname,
};
pub use super::tokens::{TokenRow, find_token, list_token_users, list_tokens};
pub use super::tunnels::{TunnelObservedRow, TunnelRow, find_tunnel, find_tunnel_observed, list_tunnels};
pub use super::update_counts::{UpdateCount, count_updates, update_counts};
pub use super::update_lists::{
    UpdateFilter, UpdateGroup, UpdateOrder, UpdateTotals, UpdateView, all_statuses, hosts_in_trouble,
    hosts_to_reboot, is_status, list_update_groups, list_updates, routes_behind, scans_of_agents,
    update_totals,
};
pub use super::update_logs::{UpdateLogFilter, UpdateLogRow, list_update_logs};
pub use super::updates::{HostRow, ScanRow, UpdateRow, find_host, find_updates, hosts_of, scans_of};

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
pub async fn agent_views(db: &Db, after: Option<&AgentId>, max: u64) -> Result<Vec<AgentView>, DbError> {
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
pub async fn find_agent_view(db: &Db, id: &AgentId) -> Result<Option<AgentView>, DbError> {
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
    /// The networks of the container behind it, if they are known.
    #[serde(skip)]
    pub networks: Option<Networks>,
}

/// Returns routes as [`list_routes`] does, each with its status.
pub async fn route_views(db: &Db, after: Option<&RouteKey>, max: u64) -> Result<Vec<RouteView>, DbError> {
    let routes = list_routes(db, after, max).await?;
    let (Some(first), Some(last)) = (routes.first(), routes.last()) else {
        return Ok(Vec::new());
    };
    let (first, last) = (first.route.spec.key.hostname.clone(), last.route.spec.key.hostname.clone());
    db.read(move |conn| async move {
        let agents: BTreeSet<&str> = routes.iter().map(|row| row.route.agent_id.as_str()).collect();
        let agents: Vec<&str> = agents.into_iter().collect();
        let mut states = HashMap::new();
        // By agent, too: that is what the rows are found by.
        for chunk in agents.chunks(AT_ONCE) {
            let query = route_status::Entity::find()
                .filter(route_status::Column::AgentId.is_in(chunk.iter().copied()))
                .filter(route_status::Column::Hostname.between(&first, &last));
            for row in query.all(&conn).await? {
                states.insert((row.agent_id.clone(), row.hostname.clone(), row.path.clone()), row);
            }
        }
        let networks = networks_of(&conn, &routes).await?;
        let view = |row: RouteRow| {
            let key = &row.route.spec.key;
            let id = (row.route.agent_id.to_string(), key.hostname.clone(), key.path.clone());
            let container = (row.route.agent_id.clone(), row.route.container_id.clone());
            let networks = networks.get(&container).cloned();
            RouteView { status: states.remove(&id).map(RouteStatusRow::of), networks, route: row }
        };
        Ok(routes.into_iter().map(view).collect())
    })
    .await
}

/// The networks of the containers behind these routes; those that are not known are left out.
async fn networks_of(
    conn: &DatabaseConnection,
    routes: &[RouteRow],
) -> Result<HashMap<(AgentId, ContainerId), Networks>, DbError> {
    let mut networks = HashMap::new();
    for chunk in routes.chunks(AT_ONCE) {
        let agents: BTreeSet<&str> = chunk.iter().map(|row| row.route.agent_id.as_str()).collect();
        let rows: Vec<(String, String, String)> = container::Entity::find()
            .select_only()
            .columns([container::Column::AgentId, container::Column::Id, container::Column::Networks])
            .filter(container::Column::Networks.is_not_null())
            .filter(container::Column::AgentId.is_in(agents))
            .filter(container::Column::Id.is_in(chunk.iter().map(|row| row.route.container_id.as_str())))
            .into_tuple()
            .all(conn)
            .await?;
        for (agent, id, text) in rows {
            let read = json("container", &id, &text)?;
            networks.insert((AgentId::new(agent), ContainerId::new(id)), read);
        }
    }
    Ok(networks)
}

/// What was asked for and not granted: a state without a claimed route of that agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedView {
    /// What is said of it.
    pub status: RouteStatusRow,
    /// Who asks for it.
    pub agent_id: AgentId,
    /// The container that asks for it, if its label has the name as it is written.
    pub container: Option<String>,
    /// True if another agent, or a rule that a person made, has that very route.
    pub is_held: bool,
}

/// Returns what was refused, by hostname, path and agent, after `after`, at most `max`.
pub async fn refused_views(
    db: &Db,
    after: Option<&(RouteKey, AgentId)>,
    max: u64,
) -> Result<Vec<RefusedView>, DbError> {
    let after = after.cloned();
    db.read(move |conn| async move {
        let mut query = route_status::Entity::find()
            .filter(refused())
            .order_by_asc(route_status::Column::Hostname)
            .order_by_asc(route_status::Column::Path)
            .order_by_asc(route_status::Column::AgentId)
            .limit(limit(max));
        if let Some((key, agent)) = after {
            let (hostname, path) = (route_status::Column::Hostname, route_status::Column::Path);
            let same_name = hostname.eq(&key.hostname);
            let later_agent = path.eq(&key.path).and(route_status::Column::AgentId.gt(agent.as_str()));
            let later = path.gt(&key.path).or(later_agent);
            query = query.filter(hostname.gt(&key.hostname).or(same_name.and(later)));
        }
        let rows: Vec<_> = query.all(&conn).await?.into_iter().map(RouteStatusRow::of).collect();
        let askers = askers(&conn, &rows).await?;
        let held = held(&conn, &rows).await?;
        let view = |status: RouteStatusRow| RefusedView {
            container: askers.get(&(agent_of(&status), status.key.to_string())).cloned(),
            is_held: held.contains(&status.key),
            agent_id: AgentId::new(agent_of(&status)),
            status,
        };
        Ok(rows.into_iter().map(view).collect())
    })
    .await
}

/// The agent that a row is about, as it is stored.
fn agent_of(row: &RouteStatusRow) -> String {
    row.agent_id.as_ref().map_or(NOBODYS, AgentId::as_str).to_owned()
}

/// Which of these routes somebody has.
async fn held(conn: &DatabaseConnection, rows: &[RouteStatusRow]) -> Result<HashSet<RouteKey>, DbError> {
    let mut held = HashSet::new();
    let hostnames: Vec<&str> = rows.iter().map(|row| row.key.hostname.as_str()).collect();
    for chunk in hostnames.chunks(AT_ONCE) {
        let query = route::Entity::find().filter(route::Column::Hostname.is_in(chunk.iter().copied()));
        let keys: Vec<(String, String)> = query
            .select_only()
            .columns([route::Column::Hostname, route::Column::Path])
            .into_tuple()
            .all(conn)
            .await?;
        let query = manual_rule::Entity::find()
            .filter(manual_rule::Column::Hostname.is_in(chunk.iter().copied()))
            .select_only()
            .columns([manual_rule::Column::Hostname, manual_rule::Column::Path]);
        let ruled: Vec<(String, String)> = query.into_tuple().all(conn).await?;
        let keys = keys.into_iter().chain(ruled);
        held.extend(keys.map(|(hostname, path)| RouteKey { hostname, path }));
    }
    Ok(held)
}

/// The containers whose labels ask for these routes, by agent and route as it is written.
async fn askers(
    conn: &DatabaseConnection,
    rows: &[RouteStatusRow],
) -> Result<HashMap<(String, String), String>, DbError> {
    let mut askers = HashMap::new();
    for chunk in rows.chunks(AT_ONCE) {
        let names = chunk.iter().map(|row| row.key.to_string());
        let agents = chunk.iter().map(agent_of);
        let problems = container_problem::Entity::find()
            .filter(container_problem::Column::Value.is_in(names))
            .filter(container_problem::Column::AgentId.is_in(agents))
            .all(conn)
            .await?;
        let containers = names_of(conn, &problems).await?;
        for problem in problems {
            let container = ContainerProblemView::name(&containers, &problem);
            askers.insert((problem.agent_id, problem.value), container);
        }
    }
    Ok(askers)
}

/// The names of the containers that have these problems, by agent and container.
async fn names_of(
    conn: &DatabaseConnection,
    problems: &[container_problem::Model],
) -> Result<HashMap<(String, String), String>, DbError> {
    let mut names = HashMap::new();
    for chunk in problems.chunks(AT_ONCE) {
        let rows: Vec<(String, String, String)> = container::Entity::find()
            .select_only()
            .columns([container::Column::AgentId, container::Column::Id, container::Column::Name])
            .filter(container::Column::AgentId.is_in(chunk.iter().map(|row| row.agent_id.as_str())))
            .filter(container::Column::Id.is_in(chunk.iter().map(|row| row.container_id.as_str())))
            .into_tuple()
            .all(conn)
            .await?;
        names.extend(rows.into_iter().map(|(agent, id, name)| ((agent, id), name)));
    }
    Ok(names)
}

/// A label that cannot be carried out, with what is shown beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerProblemView {
    /// The problem.
    pub row: ContainerProblemRow,
    /// What a person calls the container.
    pub container: String,
    /// True if it asks for a name that is told of as a refused route already.
    pub is_refused_route: bool,
    /// Its place among those of its container.
    pub position: i32,
}

impl ContainerProblemView {
    fn name(names: &HashMap<(String, String), String>, problem: &container_problem::Model) -> String {
        let short = || problem.container_id.chars().take(12).collect();
        let key = (problem.agent_id.clone(), problem.container_id.clone());
        names.get(&key).cloned().unwrap_or_else(short)
    }

    /// Returns its place in the list.
    pub fn place(&self) -> (AgentId, ContainerId, i32) {
        (self.row.agent_id.clone(), self.row.container_id.clone(), self.position)
    }
}

/// Returns labels that cannot be carried out, by agent, container and position, after `after`, at most `max`.
pub async fn container_problem_views(
    db: &Db,
    after: Option<&(AgentId, ContainerId, i32)>,
    max: u64,
) -> Result<Vec<ContainerProblemView>, DbError> {
    let after = after.cloned();
    db.read(move |conn| async move {
        use container_problem::Column;
        let mut query = container_problem::Entity::find()
            .order_by_asc(Column::AgentId)
            .order_by_asc(Column::ContainerId)
            .order_by_asc(Column::Position)
            .limit(limit(max));
        if let Some((agent, container, position)) = after {
            let (agent, container) = (agent.as_str(), container.as_str());
            let same_container = Column::ContainerId.eq(container).and(Column::Position.gt(position));
            let later = Column::ContainerId.gt(container).or(same_container);
            query = query.filter(Column::AgentId.gt(agent).or(Column::AgentId.eq(agent).and(later)));
        }
        let rows = query.all(&conn).await?;
        let names = names_of(&conn, &rows).await?;
        let refused = refused_names(&conn, &rows).await?;
        let view = |row: container_problem::Model| ContainerProblemView {
            container: ContainerProblemView::name(&names, &row),
            is_refused_route: refused.contains(&(row.agent_id.clone(), row.value.clone())),
            position: row.position,
            row: row.into(),
        };
        Ok(rows.into_iter().map(view).collect())
    })
    .await
}

/// The refused routes of the agents that have these problems, by agent and route as it is written.
async fn refused_names(
    conn: &DatabaseConnection,
    problems: &[container_problem::Model],
) -> Result<HashSet<(String, String)>, DbError> {
    let (Some(first), Some(last)) = (problems.first(), problems.last()) else { return Ok(HashSet::new()) };
    let rows: Vec<(String, String, String)> = route_status::Entity::find()
        .select_only()
        .columns([route_status::Column::AgentId, route_status::Column::Hostname, route_status::Column::Path])
        .filter(route_status::Column::AgentId.between(&first.agent_id, &last.agent_id))
        .filter(refused())
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(agent, hostname, path)| (agent, RouteKey { hostname, path }.to_string()))
        .collect())
}
