//! What people withdrew for good: an import does not bring it back.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::database::{AT_ONCE, Db};
use super::entities::removal;
use super::error::DbError;
use super::times::time;
use crate::domain::removal::Withdrawn;

/// Something that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalRow {
    /// Its id among those of its kind.
    pub id: String,
    /// When.
    pub removed_at: DateTime<Utc>,
    /// By whom.
    pub removed_by: String,
}

/// Returns those of these that were withdrawn, and not made again since.
pub async fn withdrawn_among(db: &Db, kind: Withdrawn, ids: &[String]) -> Result<Vec<RemovalRow>, DbError> {
    let ids = ids.to_vec();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in ids.chunks(AT_ONCE) {
            let query = removal::Entity::find()
                .filter(removal::Column::Kind.eq(kind.as_str()))
                .filter(removal::Column::Id.is_in(chunk));
            found.extend(query.all(&conn).await?.into_iter().map(|row| RemovalRow {
                id: row.id,
                removed_at: time(row.removed_at),
                removed_by: row.removed_by,
            }));
        }
        Ok(found)
    })
    .await
}
