//! What the story of a route or a container is told from, found by name.

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::cloudflare::{DnsRecordRow, RouteStatusRow, dns_record};
use super::containers::{ContainerProblem, ContainerProblemRow, ContainerRow};
use super::database::{Db, limit};
use super::entities::{
    access_group, container, container_problem, dns_record, manual_rule, route, route_status,
};
use super::error::DbError;
use super::routes::RouteRow;
use super::update_lists::KEEPS_OUT;
use crate::domain::access::AUTHENTICATED;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::route::RouteKey;

/// Fewest characters of an id by which a container is found; the Engine shows twelve.
const ID_PREFIX: usize = 6;

/// Returns the containers of this name, or of this id or its beginning, at most `max`.
pub async fn containers_called(db: &Db, name: &str, max: u64) -> Result<Vec<ContainerRow>, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        let is_id = name.len() >= ID_PREFIX && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut is_it = container::Column::Name.eq(&name).or(container::Column::Id.eq(&name));
        if is_id {
            is_it = is_it.or(container::Column::Id.starts_with(&name));
        }
        let query = container::Entity::find()
            .filter(is_it)
            .order_by_asc(container::Column::AgentId)
            .order_by_asc(container::Column::Id)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(ContainerRow::of).collect()
    })
    .await
}

/// Returns a container of an agent by its name.
pub async fn find_container(db: &Db, agent: &AgentId, name: &str) -> Result<Option<ContainerRow>, DbError> {
    let (agent, name) = (agent.to_string(), name.to_owned());
    db.read(move |conn| async move {
        let query = container::Entity::find()
            .filter(container::Column::AgentId.eq(agent))
            .filter(container::Column::Name.eq(name))
            .order_by_asc(container::Column::Id);
        query.one(&conn).await?.map(ContainerRow::of).transpose()
    })
    .await
}

/// Returns a container of an agent by its id.
pub async fn get_container(
    db: &Db,
    agent: &AgentId,
    id: &ContainerId,
) -> Result<Option<ContainerRow>, DbError> {
    let key = (agent.to_string(), id.to_string());
    db.read(move |conn| async move {
        container::Entity::find_by_id(key).one(&conn).await?.map(ContainerRow::of).transpose()
    })
    .await
}

/// Returns what of a container's labels cannot be carried out, in their order.
pub async fn problems_of_container(
    db: &Db,
    agent: &AgentId,
    id: &ContainerId,
) -> Result<Vec<ContainerProblem>, DbError> {
    let (agent, id) = (agent.to_string(), id.to_string());
    db.read(move |conn| async move {
        let query = container_problem::Entity::find()
            .filter(container_problem::Column::AgentId.eq(agent))
            .filter(container_problem::Column::ContainerId.eq(id))
            .order_by_asc(container_problem::Column::Position);
        Ok(query.all(&conn).await?.into_iter().map(|row| ContainerProblemRow::from(row).problem).collect())
    })
    .await
}

/// Returns the containers whose labels ask for this route, or for this name in another way, as far as that was refused.
pub async fn askers_of(db: &Db, agent: &AgentId, key: &RouteKey) -> Result<Vec<ContainerId>, DbError> {
    let (agent, name) = (agent.to_string(), key.to_string());
    db.read(move |conn| async move {
        let query = container_problem::Entity::find()
            .select_only()
            .column(container_problem::Column::ContainerId)
            .filter(container_problem::Column::AgentId.eq(agent))
            .filter(container_problem::Column::Value.eq(name));
        let ids: Vec<String> = query.into_tuple().all(&conn).await?;
        Ok(ids.into_iter().map(ContainerId::new).collect())
    })
    .await
}

/// Returns the claimed routes of a hostname, by path.
pub async fn routes_of_hostname(db: &Db, hostname: &str) -> Result<Vec<RouteRow>, DbError> {
    let hostname = hostname.to_owned();
    db.read(move |conn| async move {
        let query = route::Entity::find()
            .filter(route::Column::Hostname.eq(hostname))
            .order_by_asc(route::Column::Path);
        query.all(&conn).await?.into_iter().map(RouteRow::of).collect()
    })
    .await
}

/// Returns the claimed routes that containers of this name hold, or held until they were gone, at most `max`.
pub async fn routes_of_container(db: &Db, name: &str, max: u64) -> Result<Vec<RouteRow>, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        let query = route::Entity::find()
            .filter(route::Column::ContainerName.eq(name))
            .order_by_asc(route::Column::Hostname)
            .order_by_asc(route::Column::Path)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(RouteRow::of).collect()
    })
    .await
}

/// Returns what was said of the routes of a hostname, those that were refused too, by path and agent.
pub async fn statuses_of_hostname(db: &Db, hostname: &str) -> Result<Vec<RouteStatusRow>, DbError> {
    let hostname = hostname.to_owned();
    db.read(move |conn| async move {
        let query = route_status::Entity::find()
            .filter(route_status::Column::Hostname.eq(hostname))
            .order_by_asc(route_status::Column::Path)
            .order_by_asc(route_status::Column::AgentId);
        Ok(query.all(&conn).await?.into_iter().map(RouteStatusRow::of).collect())
    })
    .await
}

/// Returns our DNS records of a name; there may be one in each of several zones.
pub async fn records_of_name(db: &Db, name: &str) -> Result<Vec<DnsRecordRow>, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        let query = dns_record::Entity::find()
            .filter(dns_record::Column::Name.eq(name))
            .order_by_asc(dns_record::Column::ZoneId);
        Ok(query.all(&conn).await?.into_iter().map(dns_record).collect())
    })
    .await
}

/// Returns hostnames of routes and names of containers, at most `max` of each.
pub async fn known_names(db: &Db, max: u64) -> Result<Vec<String>, DbError> {
    db.read(move |conn| async move {
        let said = route_status::Entity::find()
            .select_only()
            .column(route_status::Column::Hostname)
            .distinct()
            .limit(limit(max));
        let claimed =
            route::Entity::find().select_only().column(route::Column::Hostname).distinct().limit(limit(max));
        let containers = container::Entity::find()
            .select_only()
            .column(container::Column::Name)
            .distinct()
            .limit(limit(max));
        let mut names: Vec<String> = said.into_tuple().all(&conn).await?;
        names.extend(claimed.into_tuple::<String>().all(&conn).await?);
        names.extend(containers.into_tuple::<String>().all(&conn).await?);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    })
    .await
}

/// How a route is stored that asks for policies of groups, whoever these let in.
const OF_GROUPS: &str = "\"access\":{\"kind\":\"groups\"";

/// How the owner of the account is named: by the group that is always there, and in policies.
const OWNER: [&str; 2] = [AUTHENTICATED, "account_owner"];

/// True if a route asks for the owner of the account, or may do so by a group.
pub async fn asks_owner(db: &Db) -> Result<bool, DbError> {
    db.read(move |conn| async move {
        for word in OWNER {
            let routes = route::Entity::find().select_only().column(route::Column::Hostname);
            let routes = routes.filter(route::Column::Service.contains(word)).limit(1);
            let rules = manual_rule::Entity::find().select_only().column(manual_rule::Column::Hostname);
            let rules = rules.filter(manual_rule::Column::Service.contains(word)).limit(1);
            let groups = access_group::Entity::find().select_only().column(access_group::Column::Id);
            let groups = groups.filter(access_group::Column::Body.contains(word)).limit(1);
            let is_in = routes.into_tuple::<String>().one(&conn).await?.is_some()
                || rules.into_tuple::<String>().one(&conn).await?.is_some()
                || groups.into_tuple::<String>().one(&conn).await?.is_some();
            if is_in {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

/// True if labels of any route ask for something of Access.
pub async fn asks_protection(db: &Db) -> Result<bool, DbError> {
    db.read(move |conn| async move {
        let asks = route::Entity::find()
            .select_only()
            .column(route::Column::Hostname)
            .filter(route::Column::Service.like(KEEPS_OUT).or(route::Column::Service.contains(OF_GROUPS)))
            .limit(1);
        let found: Option<String> = asks.into_tuple().one(&conn).await?;
        Ok(found.is_some())
    })
    .await
}
