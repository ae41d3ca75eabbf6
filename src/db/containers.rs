//! Containers as agents report them, and the labels on them that cannot be carried out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{AT_ONCE, Db, limit};
use super::entities::{container, container_problem, route};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::container::Container;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::networks::Networks;

/// A container of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRow {
    /// Whose it is.
    pub agent_id: AgentId,
    /// What is known of it.
    #[serde(flatten)]
    pub container: Container,
    /// When it was first seen like this.
    pub changed_at: DateTime<Utc>,
}

impl ContainerRow {
    pub(super) fn of(row: container::Model) -> Result<Self, DbError> {
        Ok(Self {
            container: Container {
                labels: json("container", &row.id, &row.labels)?,
                networks: row.networks.map(|text| json("container", &row.id, &text)).transpose()?,
                id: ContainerId::new(row.id),
                name: row.name,
                image: row.image,
                status: row.status,
            },
            agent_id: AgentId::new(row.agent_id),
            changed_at: time(row.changed_at),
        })
    }
}

/// A label that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProblem {
    /// The label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A problem with the container it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProblemRow {
    /// Whose container.
    pub agent_id: AgentId,
    /// Which container.
    pub container_id: ContainerId,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: ContainerProblem,
}

impl From<container_problem::Model> for ContainerProblemRow {
    fn from(row: container_problem::Model) -> Self {
        Self {
            agent_id: AgentId::new(row.agent_id),
            container_id: ContainerId::new(row.container_id),
            problem: ContainerProblem { label: row.label, value: row.value, reason: row.reason },
        }
    }
}

/// Returns an agent's containers by id.
pub async fn list_containers(db: &Db, agent: &AgentId) -> Result<Vec<ContainerRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = container::Entity::find()
            .filter(container::Column::AgentId.eq(agent))
            .order_by_asc(container::Column::Id);
        query.all(&conn).await?.into_iter().map(ContainerRow::of).collect()
    })
    .await
}

/// Returns the containers of these agents, each by id.
pub async fn containers_of(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<ContainerRow>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<ContainerRow>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = container::Entity::find()
                .filter(container::Column::AgentId.is_in(chunk))
                .order_by_asc(container::Column::Id);
            for row in query.all(&conn).await? {
                let row = ContainerRow::of(row)?;
                found.entry(row.agent_id.clone()).or_default().push(row);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the networks of the containers that hold routes of an agent; those that are not known are left out.
pub async fn networks_behind_routes(
    db: &Db,
    agent: &AgentId,
) -> Result<HashMap<ContainerId, Networks>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let holders = Query::select().column(route::Column::ContainerId).from(route::Entity).to_owned();
        let query = container::Entity::find()
            .select_only()
            .columns([container::Column::Id, container::Column::Networks])
            .filter(container::Column::AgentId.eq(agent))
            .filter(container::Column::Networks.is_not_null())
            .filter(container::Column::Id.in_subquery(holders));
        let rows: Vec<(String, String)> = query.into_tuple().all(&conn).await?;
        let read = |(id, text): (String, String)| {
            let networks = json("container", &id, &text)?;
            Ok((ContainerId::new(id), networks))
        };
        rows.into_iter().map(read).collect()
    })
    .await
}

/// Returns the label problems of one agent, or of all, at most `max`.
pub async fn list_container_problems(
    db: &Db,
    agent: Option<&AgentId>,
    max: u64,
) -> Result<Vec<ContainerProblemRow>, DbError> {
    let agent = agent.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = container_problem::Entity::find()
            .order_by_asc(container_problem::Column::AgentId)
            .order_by_asc(container_problem::Column::ContainerId)
            .order_by_asc(container_problem::Column::Position)
            .limit(limit(max));
        if let Some(agent) = agent {
            query = query.filter(container_problem::Column::AgentId.eq(agent));
        }
        Ok(query.all(&conn).await?.into_iter().map(ContainerProblemRow::from).collect())
    })
    .await
}
