//! Keys that orders are signed with, derived from events. The secret halves are sealed in `secrets`.

use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, QueryOrder};

use super::database::Db;
use super::entities::order_key;
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::id::SecretId;
use crate::domain::order::{Endorsement, Fingerprint, PublicKey};

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKeyRow {
    /// The half that everybody may know.
    pub public: PublicKey,
    /// The word of the key before it.
    pub endorsed: Option<Endorsement>,
    /// Since when it signs.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
}

/// Returns where the secret half of a key is kept.
pub fn order_key_secret(key: &Fingerprint) -> SecretId {
    SecretId::new(format!("order-key/{key}"))
}

/// Returns all keys, the one that signs now last.
pub async fn list_order_keys(db: &Db) -> Result<Vec<OrderKeyRow>, DbError> {
    db.read(move |conn| async move {
        let query = order_key::Entity::find().order_by_asc(order_key::Column::Place);
        let read = |row: order_key::Model| {
            let unreadable = |reason: &str| DbError::Unreadable {
                kind: "order key",
                id: row.fingerprint.clone(),
                reason: reason.into(),
            };
            let endorsed = row.endorsed.as_deref();
            Ok(OrderKeyRow {
                public: PublicKey::try_from(row.public_key.clone()).map_err(unreadable)?,
                endorsed: endorsed.map(|text| json("order key", &row.fingerprint, text)).transpose()?,
                set_at: time(row.set_at),
                set_by: row.set_by.clone(),
            })
        };
        query.all(&conn).await?.into_iter().map(read).collect()
    })
    .await
}
