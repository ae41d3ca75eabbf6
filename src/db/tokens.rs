//! Registration tokens: digests and labels, never the tokens.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::database::{Db, limit};
use super::entities::{registration_token, registration_token_usage};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::id::{AgentId, TokenId};
use crate::domain::token::TokenState;

/// A registration token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub label: String,
    /// How many hosts may register with it.
    pub max_seats: u32,
    /// How many did.
    pub seats_used: u32,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When its first seat was taken.
    pub used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why.
    pub revoked_reason: Option<String>,
    /// What a person noted beside it.
    pub metadata: BTreeMap<String, Value>,
}

impl TokenRow {
    fn of(row: registration_token::Model) -> Result<Self, DbError> {
        Ok(Self {
            metadata: json("registration token", &row.id, &row.metadata)?,
            id: TokenId::new(row.id),
            label: row.label,
            max_seats: u32::try_from(row.max_seats).unwrap_or(1),
            seats_used: u32::try_from(row.seats_used).unwrap_or(u32::MAX),
            expires_at: time(row.expires_at),
            created_at: time(row.created_at),
            created_by: row.created_by,
            used_at: row.used_at.map(time),
            revoked_at: row.revoked_at.map(time),
            revoked_reason: row.revoked_reason,
        })
    }

    /// Says where it stands at `now`.
    pub fn state(&self, now: DateTime<Utc>) -> TokenState {
        TokenState::of(self.revoked_at.is_some(), (self.seats_used, self.max_seats), self.expires_at, now)
    }

    /// True if a host may come with it at `now`: for a seat, or, where none is left, back to its own.
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        match self.state(now) {
            TokenState::Active => true,
            TokenState::Used => now < self.expires_at,
            TokenState::Expired | TokenState::Revoked => false,
        }
    }
}

/// Returns a token.
pub async fn find_token(db: &Db, id: &TokenId) -> Result<Option<TokenRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        registration_token::Entity::find_by_id(id).one(&conn).await?.map(TokenRow::of).transpose()
    })
    .await
}

/// Returns the token of this digest (64 hex digits).
pub async fn find_token_by_digest(db: &Db, sha256: &str) -> Result<Option<TokenRow>, DbError> {
    let sha256 = sha256.to_owned();
    db.read(move |conn| async move {
        let query = registration_token::Entity::find().filter(registration_token::Column::Sha256.eq(sha256));
        query.one(&conn).await?.map(TokenRow::of).transpose()
    })
    .await
}

/// Returns tokens, the newest first, at most `max`.
pub async fn list_tokens(db: &Db, max: u64) -> Result<Vec<TokenRow>, DbError> {
    db.read(move |conn| async move {
        let query = registration_token::Entity::find()
            .order_by_desc(registration_token::Column::CreatedAt)
            .order_by_desc(registration_token::Column::Id)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(TokenRow::of).collect()
    })
    .await
}

/// Returns the agents that registered with a token, in the order of their ids.
pub async fn list_token_users(db: &Db, token: &TokenId) -> Result<Vec<AgentId>, DbError> {
    let token = token.as_str().to_owned();
    db.read(move |conn| async move {
        let query = registration_token_usage::Entity::find()
            .filter(registration_token_usage::Column::TokenId.eq(token))
            .order_by_asc(registration_token_usage::Column::AgentId);
        Ok(query.all(&conn).await?.into_iter().map(|row| AgentId::new(row.agent_id)).collect())
    })
    .await
}
