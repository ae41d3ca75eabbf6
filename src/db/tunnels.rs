//! Tunnels: who has them, and how their agents see them.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::{owned_tunnel, tunnel, tunnel_observed};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::id::{AccountId, AgentId, SecretId, TunnelId};
use crate::domain::tunnel::TunnelReport;

/// A tunnel that an agent has or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRow {
    /// Its id.
    pub id: TunnelId,
    /// Its account.
    pub account_id: AccountId,
    /// Its name.
    pub name: String,
    /// Who has it; none after the agent was removed or got another one.
    pub agent_id: Option<AgentId>,
    /// Where its token is kept.
    pub secret_id: SecretId,
    /// When an agent last got it.
    pub enrolled_at: DateTime<Utc>,
    /// When a person agreed to the foreign rules in it.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Who agreed.
    pub confirmed_by: Option<String>,
    /// Who gets it once its connector was seen.
    pub joining: Option<AgentId>,
    /// Who moved from it to another one: its names leave it one by one.
    pub left_by: Option<AgentId>,
    /// True if it was not there before we enrolled an agent with it.
    pub made: bool,
    /// True if its agent was removed.
    pub removed: bool,
}

/// A tunnel that we made, or are making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedTunnelRow {
    /// Its account.
    pub account_id: AccountId,
    /// Its name.
    pub name: String,
    /// Its id; none while the call that makes it is under way.
    pub tunnel_id: Option<TunnelId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// False from before a call that makes or deletes it until its outcome is known.
    pub is_settled: bool,
}

/// Returns the row of a tunnel that we made, or are making.
pub async fn find_owned_tunnel(
    db: &Db,
    account: &AccountId,
    name: &str,
) -> Result<Option<OwnedTunnelRow>, DbError> {
    let key = (account.as_str().to_owned(), name.to_owned());
    db.read(move |conn| async move {
        let row = owned_tunnel::Entity::find_by_id(key).one(&conn).await?;
        Ok(row.map(|row| OwnedTunnelRow {
            account_id: AccountId::new(row.account_id),
            name: row.name,
            tunnel_id: row.tunnel_id.map(TunnelId::new),
            created_at: time(row.created_at),
            is_settled: row.settled,
        }))
    })
    .await
}

impl TunnelRow {
    /// True if it goes once it is empty and nobody is connected: we made it, and its agent was removed.
    pub fn is_to_go(&self) -> bool {
        self.made && self.removed && self.agent_id.is_none() && self.joining.is_none()
    }
}

impl From<tunnel::Model> for TunnelRow {
    fn from(row: tunnel::Model) -> Self {
        Self {
            id: TunnelId::new(row.id),
            account_id: AccountId::new(row.account_id),
            name: row.name,
            agent_id: row.agent_id.map(AgentId::new),
            secret_id: SecretId::new(row.secret_id),
            enrolled_at: time(row.enrolled_at),
            confirmed_at: row.confirmed_at.map(time),
            confirmed_by: row.confirmed_by,
            joining: row.joining.map(AgentId::new),
            left_by: row.left_by.map(AgentId::new),
            made: row.made,
            removed: row.removed,
        }
    }
}

/// How an agent sees its tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelObservedRow {
    /// The agent.
    pub agent_id: AgentId,
    /// What it says.
    pub report: TunnelReport,
    /// When it first said so.
    pub changed_at: DateTime<Utc>,
}

impl TunnelObservedRow {
    pub(super) fn of(row: tunnel_observed::Model) -> Result<Self, DbError> {
        Ok(Self {
            report: json("tunnel report of agent", &row.agent_id, &row.report)?,
            agent_id: AgentId::new(row.agent_id),
            changed_at: time(row.changed_at),
        })
    }
}

/// Returns a tunnel.
pub async fn find_tunnel(db: &Db, id: &TunnelId) -> Result<Option<TunnelRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(
        move |conn| async move { Ok(tunnel::Entity::find_by_id(id).one(&conn).await?.map(TunnelRow::from)) },
    )
    .await
}

/// Returns a tunnel; fails with [`DbError::Missing`] if there is none.
pub async fn get_tunnel(db: &Db, id: &TunnelId) -> Result<TunnelRow, DbError> {
    find_tunnel(db, id).await?.ok_or_else(|| DbError::Missing { kind: "tunnel", id: id.to_string() })
}

/// Returns tunnels after `after` by id, those without an agent too, at most `max`.
pub async fn list_tunnels(db: &Db, after: Option<&TunnelId>, max: u64) -> Result<Vec<TunnelRow>, DbError> {
    let after = after.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = tunnel::Entity::find().order_by_asc(tunnel::Column::Id).limit(limit(max));
        if let Some(after) = after {
            query = query.filter(tunnel::Column::Id.gt(after));
        }
        Ok(query.all(&conn).await?.into_iter().map(TunnelRow::from).collect())
    })
    .await
}

/// Returns how an agent sees its tunnel.
pub async fn find_tunnel_observed(db: &Db, agent: &AgentId) -> Result<Option<TunnelObservedRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        tunnel_observed::Entity::find_by_id(agent).one(&conn).await?.map(TunnelObservedRow::of).transpose()
    })
    .await
}
