//! Claimed routes and hostnames.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{ALL, AT_ONCE, Db, limit};
use super::entities::{claim, route};
use super::error::DbError;
use super::manual_rules::list_rules;
use super::times::time;
use super::words::json;
use crate::domain::id::{AgentId, ContainerId, GroupId};
use crate::domain::mirror::Holder;
use crate::domain::route::{Route, RouteKey, RouteState};

/// A route with the times of its claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// When it last changed by decision.
    pub changed_at: DateTime<Utc>,
}

/// Word of a route whose container runs.
pub(super) const ACTIVE: &str = "active";
/// Word of a route whose container is gone.
pub(super) const PENDING_DELETION: &str = "pending_deletion";

impl RouteRow {
    pub(super) fn of(row: route::Model) -> Result<Self, DbError> {
        let id = || format!("{}{}", row.hostname, row.path);
        let state = match (row.state.as_str(), row.due_at) {
            (ACTIVE, _) => RouteState::Active,
            (PENDING_DELETION, Some(due_at)) => {
                RouteState::PendingDeletion { due_at: time(due_at), held: row.held, explained: row.explained }
            }
            (state, _) => {
                let reason = format!("state `{state}` is not known or lacks its time");
                return Err(DbError::Unreadable { kind: "route", id: id(), reason });
            }
        };
        Ok(Self {
            route: Route {
                spec: json("route", &id(), &row.service)?,
                state,
                agent_id: AgentId::new(row.agent_id),
                container_name: row.container_name,
                container_id: ContainerId::new(row.container_id),
            },
            claimed_at: time(row.claimed_at),
            changed_at: time(row.changed_at),
        })
    }
}

/// Returns a route.
pub async fn find_route(db: &Db, key: &RouteKey) -> Result<Option<RouteRow>, DbError> {
    let key = (key.hostname.clone(), key.path.clone());
    db.read(move |conn| async move {
        route::Entity::find_by_id(key).one(&conn).await?.map(RouteRow::of).transpose()
    })
    .await
}

/// Returns whose each of these hostnames is, and since when nobody there asks for it, with all routes of the names. Free
/// ones are left out.
pub async fn list_holders(
    db: &Db,
    hostnames: &[String],
) -> Result<BTreeMap<String, (Holder, Vec<RouteKey>)>, DbError> {
    let hostnames = hostnames.to_vec();
    db.read(move |conn| async move {
        let query = route::Entity::find().filter(route::Column::Hostname.is_in(hostnames));
        let mut held = BTreeMap::<String, (Holder, Vec<RouteKey>)>::new();
        for row in query.all(&conn).await? {
            let row = RouteRow::of(row)?;
            // A route that waits for its removal last changed when that was decided.
            let since = (row.route.state != RouteState::Active).then_some(row.changed_at);
            let key = row.route.spec.key;
            let new = || (Holder { agent: row.route.agent_id, given_up_at: since }, Vec::new());
            let (holder, keys) = held.entry(key.hostname.clone()).or_insert_with(new);
            holder.given_up_at = holder.given_up_at.zip(since).map(|(one, other)| Ord::max(one, other));
            keys.push(key);
        }
        Ok(held)
    })
    .await
}

/// Returns an agent's routes in the order of their keys.
pub async fn list_agent_routes(db: &Db, agent: &AgentId) -> Result<Vec<Route>, DbError> {
    let mut found = routes_of_agents(db, std::slice::from_ref(agent)).await?;
    Ok(found.remove(agent).unwrap_or_default())
}

/// Returns the routes of these agents, each in the order of their keys.
pub async fn routes_of_agents(db: &Db, agents: &[AgentId]) -> Result<HashMap<AgentId, Vec<Route>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<Route>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = route::Entity::find()
                .filter(route::Column::AgentId.is_in(chunk))
                .order_by_asc(route::Column::Hostname)
                .order_by_asc(route::Column::Path);
            for row in query.all(&conn).await? {
                let route = RouteRow::of(row)?.route;
                found.entry(route.agent_id.clone()).or_default().push(route);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns routes after `after` in the order of their keys, at most `max`.
pub async fn list_routes(db: &Db, after: Option<&RouteKey>, max: u64) -> Result<Vec<RouteRow>, DbError> {
    let after = after.cloned();
    db.read(move |conn| async move {
        let mut query = route::Entity::find()
            .order_by_asc(route::Column::Hostname)
            .order_by_asc(route::Column::Path)
            .limit(limit(max));
        if let Some(after) = after {
            let same_name =
                route::Column::Hostname.eq(&after.hostname).and(route::Column::Path.gt(&after.path));
            query = query.filter(route::Column::Hostname.gt(&after.hostname).or(same_name));
        }
        query.all(&conn).await?.into_iter().map(RouteRow::of).collect()
    })
    .await
}

/// Returns the routes, and the rules of people, that name a group of Access, in the order of their keys. All are read for it.
pub async fn routes_asking_for_group(db: &Db, group: &GroupId) -> Result<Vec<RouteKey>, DbError> {
    let rules = list_rules(db, None, ALL).await?.into_iter().map(|row| row.rule.spec);
    let routes = list_routes(db, None, ALL).await?.into_iter().map(|row| row.route.spec);
    let asking = routes.chain(rules).filter(|spec| spec.access.asks_for(group));
    let mut keys: Vec<RouteKey> = asking.map(|spec| spec.key).collect();
    keys.sort();
    Ok(keys)
}

/// Returns the agent that holds a hostname; none if it is free, or has a rule that a person made.
pub async fn find_claim(db: &Db, hostname: &str) -> Result<Option<AgentId>, DbError> {
    let hostname = hostname.to_owned();
    db.read(move |conn| async move {
        let row = claim::Entity::find_by_id(hostname).one(&conn).await?;
        Ok(row.map(|row| AgentId::new(row.agent_id)))
    })
    .await
}

/// Returns who holds each of these hostnames; free ones are left out. At most 1,000 hostnames are looked up.
pub async fn list_claims(db: &Db, hostnames: &[String]) -> Result<Vec<(String, AgentId)>, DbError> {
    let hostnames: Vec<String> = hostnames.iter().take(1_000).cloned().collect();
    db.read(move |conn| async move {
        let rows = claim::Entity::find().filter(claim::Column::Hostname.is_in(hostnames)).all(&conn).await?;
        Ok(rows.into_iter().map(|row| (row.hostname, AgentId::new(row.agent_id))).collect())
    })
    .await
}
