//! Commands as their events left them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::{Deserialize, Serialize};

use super::database::{AT_ONCE, Db, limit};
use super::entities::command;
use super::error::DbError;
use super::times::{micros, time};
use super::words::{json, word};
use crate::domain::command::{Command, CommandStatus};
use crate::domain::id::{AgentId, CommandId};

/// A command and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRow {
    /// The agent it is for.
    pub agent_id: AgentId,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
    /// When it came to its end, master time.
    pub ended_at: Option<DateTime<Utc>>,
}

impl CommandRow {
    fn of(row: command::Model) -> Result<Self, DbError> {
        let outcome = row.outcome.as_deref().map(|text| json("command", &row.id, text)).transpose()?;
        Ok(Self {
            command: Command {
                kind: json("command", &row.id, &row.kind)?,
                status: word("command", &row.id, &row.status)?,
                id: CommandId::new(row.id),
                attempt: u32::try_from(row.attempt).unwrap_or(0),
                queued_at: time(row.queued_at),
                delivered_at: row.delivered_at.map(time),
                lease_until: row.lease_until.map(time),
                expires_at: time(row.expires_at),
                outcome,
            },
            agent_id: AgentId::new(row.agent_id),
            ended_at: row.ended_at.map(time),
        })
    }
}

/// Words of the states in which a command still has something to wait for.
pub(super) const OPEN: [&str; 3] = ["queued", "delivered", "acknowledged"];

/// Returns a command.
pub async fn find_command(db: &Db, id: &CommandId) -> Result<Option<CommandRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        command::Entity::find_by_id(id).one(&conn).await?.map(CommandRow::of).transpose()
    })
    .await
}

/// Returns a command; fails with [`DbError::Missing`] if there is none.
pub async fn get_command(db: &Db, id: &CommandId) -> Result<CommandRow, DbError> {
    find_command(db, id).await?.ok_or_else(|| DbError::Missing { kind: "command", id: id.to_string() })
}

/// Returns an agent's commands that are not at their end, in the order they were queued.
pub async fn list_open_commands(db: &Db, agent: &AgentId) -> Result<Vec<Command>, DbError> {
    list(db, open_of(agent)).await
}

fn open_of(agent: &AgentId) -> Select<command::Entity> {
    of_agent(agent)
        // Open commands are the ones with a due time; their own index keeps ended ones out of the scan.
        .filter(command::Column::DueAt.is_not_null())
        .filter(command::Column::Status.is_in(OPEN))
        .order_by_asc(command::Column::QueuedSeq)
}

/// Returns the open commands of these agents, as [`list_open_commands`] does.
pub async fn open_commands_of(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Command>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<Command>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = command::Entity::find()
                .filter(command::Column::AgentId.is_in(chunk))
                // Open commands are the ones with a due time; that index keeps ended ones out of the scan.
                .filter(command::Column::DueAt.is_not_null())
                .filter(command::Column::Status.is_in(OPEN))
                .order_by_asc(command::Column::QueuedSeq);
            for row in query.all(&conn).await? {
                let row = CommandRow::of(row)?;
                found.entry(row.agent_id).or_default().push(row.command);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns an agent's commands, newest first, at most `max`.
pub async fn list_commands(db: &Db, agent: &AgentId, max: u64) -> Result<Vec<Command>, DbError> {
    list(db, of_agent(agent).order_by_desc(command::Column::QueuedSeq).limit(limit(max))).await
}

fn of_agent(agent: &AgentId) -> Select<command::Entity> {
    command::Entity::find().filter(command::Column::AgentId.eq(agent.as_str()))
}

async fn list(db: &Db, query: Select<command::Entity>) -> Result<Vec<Command>, DbError> {
    db.read(move |conn| async move {
        query.all(&conn).await?.into_iter().map(|row| CommandRow::of(row).map(|row| row.command)).collect()
    })
    .await
}

/// Which commands are wanted.
#[derive(Debug, Clone, Default)]
pub struct CommandFilter {
    /// Of this agent only.
    pub agent: Option<AgentId>,
    /// In one of these states only; none: any.
    pub statuses: Vec<CommandStatus>,
    /// Of this action only.
    pub action: Option<String>,
    /// Queued since then only.
    pub since: Option<DateTime<Utc>>,
    /// Only those that came to their end after the first of these times, if there is one, and until the second.
    pub ended: Option<(Option<DateTime<Utc>>, DateTime<Utc>)>,
}

impl CommandFilter {
    fn query(&self) -> Select<command::Entity> {
        let mut query = command::Entity::find();
        if let Some(agent) = &self.agent {
            query = query.filter(command::Column::AgentId.eq(agent.as_str()));
        }
        if !self.statuses.is_empty() {
            let words = self.statuses.iter().map(|status| status.as_str());
            query = query.filter(command::Column::Status.is_in(words));
        }
        if let Some(action) = &self.action {
            // It is the first field of what is stored, and its words need no escaping.
            let word: String = action.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').collect();
            query = query.filter(command::Column::Kind.starts_with(format!("{{\"action\":\"{word}\"")));
        }
        if let Some(since) = self.since {
            query = query.filter(command::Column::QueuedAt.gte(micros(since)));
        }
        if let Some((after, until)) = self.ended {
            query = query.filter(command::Column::EndedAt.lte(micros(until)));
            if let Some(after) = after {
                query = query.filter(command::Column::EndedAt.gt(micros(after)));
            }
        }
        query
    }
}

/// Returns the newest commands of all agents, at most `max`, and how many there are.
pub async fn list_newest_commands(
    db: &Db,
    filter: &CommandFilter,
    max: u64,
) -> Result<(Vec<CommandRow>, u64), DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let total = filter.query().count(&conn).await?;
        let newest = filter.query().order_by_desc(command::Column::QueuedSeq).limit(limit(max));
        let rows: Result<Vec<_>, _> = newest.all(&conn).await?.into_iter().map(CommandRow::of).collect();
        Ok((rows?, total))
    })
    .await
}

/// Returns the agents that have a command which is not at its end: whose polls are looked at after a restart.
pub async fn list_agents_with_open_commands(db: &Db) -> Result<Vec<AgentId>, DbError> {
    db.read(move |conn| async move {
        let ids: Vec<String> = command::Entity::find()
            .select_only()
            .column(command::Column::AgentId)
            .distinct()
            .filter(command::Column::DueAt.is_not_null())
            .into_tuple()
            .all(&conn)
            .await?;
        Ok(ids.into_iter().map(AgentId::new).collect())
    })
    .await
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, DbBackend, QueryTrait};

    use super::*;
    use crate::io::Io;

    #[tokio::test]
    async fn open_commands_are_found_without_reading_the_ones_that_ended() {
        let db = Db::in_memory(Io::current()).await.unwrap();
        let mut statement = open_of(&AgentId::new("a")).build(DbBackend::Sqlite);
        statement.sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        let plan =
            db.read(move |conn| async move { Ok(conn.query_all_raw(statement).await?) }).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        assert!(plan.iter().any(|step| step.contains("commands_open")), "{plan:?}");
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "already in order: {plan:?}");
    }
}
