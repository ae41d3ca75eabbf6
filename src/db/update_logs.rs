//! What RedFlag agents say of the commands they carried out. Of each agent a bounded number is kept: a new word takes the
//! place of the oldest one.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::database::{Db, limit};
use super::entities::update_log;
use super::error::DbError;
use super::times::{micros, time};
use crate::domain::id::AgentId;

/// Words that are kept of one agent.
pub const KEPT: i32 = 200;

/// One word of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateLogRow {
    /// Whose it is.
    pub agent_id: AgentId,
    /// Which of the agent's places it has.
    pub place: i32,
    /// Its id.
    pub id: String,
    /// The command that it is about.
    pub command_id: Option<String>,
    /// What was done.
    pub action: String,
    /// How it went, in one of a few words.
    pub result: String,
    /// What the program said.
    pub stdout: String,
    /// What it said went wrong.
    pub stderr: String,
    /// How it ended.
    pub exit_code: i32,
    /// How long it took.
    pub duration_seconds: i64,
    /// When the word came, master time.
    pub executed_at: DateTime<Utc>,
}

impl UpdateLogRow {
    pub(super) fn model(&self) -> update_log::Model {
        update_log::Model {
            agent_id: self.agent_id.as_str().into(),
            place: self.place,
            id: self.id.clone(),
            command_id: self.command_id.clone(),
            action: self.action.clone(),
            result: self.result.clone(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            exit_code: self.exit_code,
            duration_seconds: self.duration_seconds,
            executed_at: micros(self.executed_at),
        }
    }

    fn of(row: update_log::Model) -> Self {
        Self {
            agent_id: AgentId::new(row.agent_id),
            place: row.place,
            id: row.id,
            command_id: row.command_id,
            action: row.action,
            result: row.result,
            stdout: row.stdout,
            stderr: row.stderr,
            exit_code: row.exit_code,
            duration_seconds: row.duration_seconds,
            executed_at: time(row.executed_at),
        }
    }
}

/// Which words are wanted.
#[derive(Debug, Clone, Default)]
pub struct UpdateLogFilter {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// About this action only.
    pub action: Option<String>,
    /// With this result only.
    pub result: Option<String>,
    /// Since then only.
    pub since: Option<DateTime<Utc>>,
}

impl UpdateLogFilter {
    fn query(&self) -> Select<update_log::Entity> {
        let mut query = update_log::Entity::find();
        if let Some(agent) = &self.agent {
            query = query.filter(update_log::Column::AgentId.eq(agent.as_str()));
        }
        if let Some(action) = &self.action {
            query = query.filter(update_log::Column::Action.eq(action.as_str()));
        }
        if let Some(result) = &self.result {
            query = query.filter(update_log::Column::Result.eq(result.as_str()));
        }
        if let Some(since) = self.since {
            query = query.filter(update_log::Column::ExecutedAt.gte(micros(since)));
        }
        query
    }
}

/// Returns the newest words, at most `max`, and how many there are.
pub async fn list_update_logs(
    db: &Db,
    filter: &UpdateLogFilter,
    max: u64,
) -> Result<(Vec<UpdateLogRow>, u64), DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let total = filter.query().count(&conn).await?;
        let newest = filter.query().order_by_desc(update_log::Column::ExecutedAt);
        let rows = newest.order_by_desc(update_log::Column::Id).limit(limit(max)).all(&conn).await?;
        Ok((rows.into_iter().map(UpdateLogRow::of).collect(), total))
    })
    .await
}

/// Returns the place that an agent's next word takes: a free one, or that of its oldest word.
pub async fn next_place(db: &Db, agent: &AgentId) -> Result<i32, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let own = || update_log::Entity::find().filter(update_log::Column::AgentId.eq(&agent));
        let taken = own().count(&conn).await?;
        if let Ok(free) = i32::try_from(taken)
            && free < KEPT
        {
            return Ok(free);
        }
        let oldest = own()
            .order_by_asc(update_log::Column::ExecutedAt)
            .order_by_asc(update_log::Column::Id)
            .one(&conn)
            .await?;
        Ok(oldest.map_or(0, |row| row.place))
    })
    .await
}
