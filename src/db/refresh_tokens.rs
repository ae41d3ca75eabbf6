//! What renews the access of agents: digests, never the tokens.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::database::{AT_ONCE, Db};
use super::entities::refresh_token;
use super::error::DbError;
use super::times::{micros, time};
use crate::domain::id::{AgentId, KeyId};
use crate::domain::refresh::{RefreshToken, Standing};

/// A token, as it is kept.
pub type RefreshTokenRow = RefreshToken;

impl RefreshToken {
    pub(super) fn model(&self) -> refresh_token::Model {
        refresh_token::Model {
            id: self.id.clone(),
            agent_id: self.agent_id.as_str().into(),
            token_hash: self.sha256.clone(),
            expires_at: micros(self.expires_at),
            created_at: micros(self.created_at),
            last_used_at: self.last_used_at.map(micros),
            revoked: self.standing == Standing::Revoked,
            spent: self.standing == Standing::Spent,
            family: self.family.clone(),
            generation: i32::try_from(self.generation).unwrap_or(i32::MAX),
            key_id: self.key_id.as_str().into(),
        }
    }

    fn of(row: refresh_token::Model) -> Self {
        let standing = match (row.revoked, row.spent) {
            (true, _) => Standing::Revoked,
            (false, true) => Standing::Spent,
            (false, false) => Standing::Live,
        };
        Self {
            id: row.id,
            agent_id: AgentId::new(row.agent_id),
            key_id: KeyId::new(row.key_id),
            sha256: row.token_hash,
            family: row.family,
            generation: u32::try_from(row.generation).unwrap_or(0),
            standing,
            created_at: time(row.created_at),
            last_used_at: row.last_used_at.map(time),
            expires_at: time(row.expires_at),
        }
    }
}

/// Returns the tokens of these agents, in no order.
pub async fn refresh_tokens_of(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<RefreshTokenRow>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<RefreshTokenRow>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = refresh_token::Entity::find().filter(refresh_token::Column::AgentId.is_in(chunk));
            for row in query.all(&conn).await? {
                let token = RefreshToken::of(row);
                found.entry(token.agent_id.clone()).or_default().push(token);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the tokens of an agent, the newest first.
pub async fn list_refresh_tokens(db: &Db, agent: &AgentId) -> Result<Vec<RefreshTokenRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = refresh_token::Entity::find()
            .filter(refresh_token::Column::AgentId.eq(agent))
            .order_by_desc(refresh_token::Column::CreatedAt)
            .order_by_asc(refresh_token::Column::Id);
        Ok(query.all(&conn).await?.into_iter().map(RefreshToken::of).collect())
    })
    .await
}
