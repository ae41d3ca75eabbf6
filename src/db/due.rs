//! What the scheduler waits for: ends of grace periods, leases, expiries and of what was put off.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::database::{Db, limit};
use super::entities::{command, route, update};
use super::error::DbError;
use super::times::{micros, time};
use crate::domain::id::AgentId;

/// What of an agent is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueKind {
    /// A grace period ended.
    Route,
    /// A lease or a life ended.
    Command,
    /// The time is over until which an update was put off.
    Update,
}

/// Something of an agent that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Whose owner has to be woken.
    pub agent_id: AgentId,
    /// Which of its actors.
    pub kind: DueKind,
    /// Since when, the earliest of that agent and kind.
    pub at: DateTime<Utc>,
}

/// Returns what is due at `now`, one row per agent and kind, at most `max` of each kind. Held routes are not due.
pub async fn list_due(db: &Db, now: DateTime<Utc>, max: u64) -> Result<Vec<Due>, DbError> {
    let now = micros(now);
    db.read(move |conn| async move {
        let routes: Vec<(String, i64)> = route::Entity::find()
            .select_only()
            .column(route::Column::AgentId)
            .column_as(route::Column::DueAt.min(), "at")
            .filter(route::Column::DueAt.lte(now))
            .filter(route::Column::Held.eq(false))
            .group_by(route::Column::AgentId)
            .limit(limit(max))
            .into_tuple()
            .all(&conn)
            .await?;
        let commands: Vec<(String, i64)> = command::Entity::find()
            .select_only()
            .column(command::Column::AgentId)
            .column_as(command::Column::DueAt.min(), "at")
            .filter(command::Column::DueAt.lte(now))
            .group_by(command::Column::AgentId)
            .limit(limit(max))
            .into_tuple()
            .all(&conn)
            .await?;
        let updates: Vec<(String, i64)> = update::Entity::find()
            .select_only()
            .column(update::Column::AgentId)
            .column_as(update::Column::DueAt.min(), "at")
            .filter(update::Column::DueAt.lte(now))
            .group_by(update::Column::AgentId)
            .limit(limit(max))
            .into_tuple()
            .all(&conn)
            .await?;
        let routes = routes.into_iter().map(|row| due(DueKind::Route, row));
        let commands = commands.into_iter().map(|row| due(DueKind::Command, row));
        Ok(routes.chain(commands).chain(updates.into_iter().map(|row| due(DueKind::Update, row))).collect())
    })
    .await
}

fn due(kind: DueKind, (agent, at): (String, i64)) -> Due {
    Due { agent_id: AgentId::new(agent), kind, at: time(at) }
}

/// Returns when the next thing after `now` is due; none if nothing waits.
pub async fn next_due_after(db: &Db, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, DbError> {
    let now = micros(now);
    db.read(move |conn| async move {
        let route: Option<Option<i64>> = route::Entity::find()
            .select_only()
            .column_as(route::Column::DueAt.min(), "at")
            .filter(route::Column::DueAt.gt(now))
            .filter(route::Column::Held.eq(false))
            .into_tuple()
            .one(&conn)
            .await?;
        let command: Option<Option<i64>> = command::Entity::find()
            .select_only()
            .column_as(command::Column::DueAt.min(), "at")
            .filter(command::Column::DueAt.gt(now))
            .into_tuple()
            .one(&conn)
            .await?;
        let update: Option<Option<i64>> = update::Entity::find()
            .select_only()
            .column_as(update::Column::DueAt.min(), "at")
            .filter(update::Column::DueAt.gt(now))
            .into_tuple()
            .one(&conn)
            .await?;
        let all = [route, command, update];
        Ok(all.into_iter().flatten().flatten().min().map(time))
    })
    .await
}

/// Returns the agents that have grace periods running: what has to move when the clock leaps.
pub async fn list_agents_with_pending_routes(db: &Db) -> Result<Vec<AgentId>, DbError> {
    list_agents_with_lost_routes(db, false).await
}

/// Returns the agents that have routes which the removal guard holds.
pub async fn list_agents_with_held_routes(db: &Db) -> Result<Vec<AgentId>, DbError> {
    list_agents_with_lost_routes(db, true).await
}

async fn list_agents_with_lost_routes(db: &Db, held: bool) -> Result<Vec<AgentId>, DbError> {
    db.read(move |conn| async move {
        let ids: Vec<String> = route::Entity::find()
            .select_only()
            .column(route::Column::AgentId)
            .distinct()
            .filter(route::Column::DueAt.is_not_null())
            .filter(route::Column::Held.eq(held))
            .into_tuple()
            .all(&conn)
            .await?;
        Ok(ids.into_iter().map(AgentId::new).collect())
    })
    .await
}
