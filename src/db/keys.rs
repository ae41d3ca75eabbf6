//! Agent keys: digests and owners, never the keys.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::agent_key;
use super::error::DbError;
use super::times::time;
use super::words::{json, word};
use crate::domain::agent::KeyStatus;
use crate::domain::id::{AgentId, KeyId};

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Its id.
    pub id: KeyId,
    /// Whom it was made for.
    pub owner: String,
    /// Hex SHA-256 of the key; kept out of answers and pages.
    #[serde(skip_serializing, default)]
    pub sha256: String,
    /// Whether it opens anything.
    pub status: KeyStatus,
    /// The agent that registered with it or was given it.
    pub bound_agent_id: Option<AgentId>,
    /// The key it replaced.
    pub rolled_from: Option<KeyId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Hostnames that its agent may claim; none: any.
    pub hostname_patterns: Vec<String>,
    /// How many agents may be enrolled with it.
    pub seats: u32,
}

impl KeyRow {
    fn of(row: agent_key::Model) -> Result<Self, DbError> {
        Ok(Self {
            status: word("key", &row.id, &row.status)?,
            hostname_patterns: json("key", &row.id, &row.hostname_patterns)?,
            seats: u32::try_from(row.seats).unwrap_or(1),
            id: KeyId::new(row.id),
            owner: row.owner,
            sha256: row.sha256,
            bound_agent_id: row.agent_id.map(AgentId::new),
            rolled_from: row.rolled_from.map(KeyId::new),
            created_at: time(row.created_at),
            revoked_at: row.revoked_at.map(time),
        })
    }
}

/// Returns a key.
pub async fn find_key(db: &Db, id: &KeyId) -> Result<Option<KeyRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        agent_key::Entity::find_by_id(id).one(&conn).await?.map(KeyRow::of).transpose()
    })
    .await
}

/// Returns a key; fails with [`DbError::Missing`] if there is none.
pub async fn get_key(db: &Db, id: &KeyId) -> Result<KeyRow, DbError> {
    find_key(db, id).await?.ok_or_else(|| DbError::Missing { kind: "key", id: id.to_string() })
}

/// Returns the key of this digest (64 hex digits).
pub async fn find_key_by_digest(db: &Db, sha256: &str) -> Result<Option<KeyRow>, DbError> {
    let sha256 = sha256.to_owned();
    db.read(move |conn| async move {
        let query = agent_key::Entity::find().filter(agent_key::Column::Sha256.eq(sha256));
        query.one(&conn).await?.map(KeyRow::of).transpose()
    })
    .await
}

/// Returns the keys that were ever bound to an agent, revoked ones too.
pub async fn list_agent_keys(db: &Db, agent: &AgentId) -> Result<Vec<KeyRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = agent_key::Entity::find()
            .filter(agent_key::Column::AgentId.eq(agent))
            .order_by_asc(agent_key::Column::Id);
        query.all(&conn).await?.into_iter().map(KeyRow::of).collect()
    })
    .await
}

/// Returns keys, newest first, at most `max`.
pub async fn list_keys(db: &Db, max: u64) -> Result<Vec<KeyRow>, DbError> {
    db.read(move |conn| async move {
        let query = agent_key::Entity::find()
            .order_by_desc(agent_key::Column::CreatedAt)
            .order_by_asc(agent_key::Column::Id)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(KeyRow::of).collect()
    })
    .await
}

/// Returns keys by id, after `after`, at most `max`.
pub async fn keys_after(db: &Db, after: Option<&KeyId>, max: u64) -> Result<Vec<KeyRow>, DbError> {
    let after = after.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = agent_key::Entity::find().order_by_asc(agent_key::Column::Id).limit(limit(max));
        if let Some(after) = after {
            query = query.filter(agent_key::Column::Id.gt(after));
        }
        query.all(&conn).await?.into_iter().map(KeyRow::of).collect()
    })
    .await
}

/// Returns every key: what the master loads at start.
pub async fn load_keys(db: &Db) -> Result<Vec<KeyRow>, DbError> {
    db.read(move |conn| async move {
        agent_key::Entity::find().all(&conn).await?.into_iter().map(KeyRow::of).collect()
    })
    .await
}
