//! What the scheduler waits for: ends of grace periods, leases, expiries and of what was put off, and times for which orders were
//! scheduled.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::database::{Db, limit};
use super::entities::{agent, approval, command, host_plan, route, update};
use super::error::DbError;
use super::times::{micros, time};
use crate::domain::agent::AgentStatus;
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
    /// The time of a yes has come, or is over.
    Approval,
    /// The time has come at which a RedFlag agent installs what it was asked about.
    Question,
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
        // Those of an agent that was removed are nobody's any more.
        let approvals: Vec<(String, i64)> = approval::Entity::find()
            .select_only()
            .column(approval::Column::AgentId)
            .column_as(approval::Column::DueAt.min(), "at")
            .filter(approval::Column::DueAt.lte(now))
            .filter(approval::Column::AgentId.in_subquery(listed_agents()))
            .group_by(approval::Column::AgentId)
            .limit(limit(max))
            .into_tuple()
            .all(&conn)
            .await?;
        let questions: Vec<(String, i64)> = host_plan::Entity::find()
            .select_only()
            .column(host_plan::Column::AgentId)
            .column_as(host_plan::Column::NotBefore.min(), "at")
            .filter(host_plan::Column::NotBefore.lte(now))
            .filter(host_plan::Column::Dependencies.is_not_null())
            .filter(host_plan::Column::AgentId.in_subquery(listed_agents()))
            .group_by(host_plan::Column::AgentId)
            .limit(limit(max))
            .into_tuple()
            .all(&conn)
            .await?;
        let all = [
            (DueKind::Route, routes),
            (DueKind::Command, commands),
            (DueKind::Update, updates),
            (DueKind::Approval, approvals),
            (DueKind::Question, questions),
        ];
        Ok(all.into_iter().flat_map(|(kind, rows)| rows.into_iter().map(move |row| due(kind, row))).collect())
    })
    .await
}

fn listed_agents() -> SelectStatement {
    Query::select()
        .column(agent::Column::Id)
        .from(agent::Entity)
        .and_where(agent::Column::Status.ne(AgentStatus::Removed.as_str()))
        .to_owned()
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
        let approval: Option<Option<i64>> = approval::Entity::find()
            .select_only()
            .column_as(approval::Column::DueAt.min(), "at")
            .filter(approval::Column::DueAt.gt(now))
            .into_tuple()
            .one(&conn)
            .await?;
        let question: Option<Option<i64>> = host_plan::Entity::find()
            .select_only()
            .column_as(host_plan::Column::NotBefore.min(), "at")
            .filter(host_plan::Column::NotBefore.gt(now))
            .filter(host_plan::Column::Dependencies.is_not_null())
            .into_tuple()
            .one(&conn)
            .await?;
        let all = [route, command, update, approval, question];
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
