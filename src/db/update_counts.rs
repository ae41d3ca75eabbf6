//! How many updates there are, for lists in pages and for sums.

use sea_orm::{ColumnTrait, PaginatorTrait, QuerySelect};

use super::database::Db;
use super::entities::update;
use super::error::DbError;
use super::update_lists::{UpdateFilter, filtered, updates_in_force};
use super::words::word;
use crate::domain::update::{Kind, Severity};

/// Updates in one state, of one severity and one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateCount {
    /// The word of the state.
    pub status: String,
    /// How bad they are.
    pub severity: Severity,
    /// What they are.
    pub kind: Kind,
    /// How many there are.
    pub count: u64,
}

/// Returns how many updates a list has in all.
pub async fn count_updates(db: &Db, filter: &UpdateFilter) -> Result<u64, DbError> {
    let query = filtered(filter);
    db.read(move |conn| async move { Ok(query.count(&conn).await?) }).await
}

/// Returns how many updates there are, by state, severity and kind.
pub async fn update_counts(db: &Db) -> Result<Vec<UpdateCount>, DbError> {
    db.read(move |conn| async move {
        let query = updates_in_force()
            .select_only()
            .column(update::Column::Status)
            .column(update::Column::Severity)
            .column(update::Column::PackageType)
            .column_as(update::Column::Id.count(), "rows")
            .group_by(update::Column::Status)
            .group_by(update::Column::Severity)
            .group_by(update::Column::PackageType);
        let rows: Vec<(String, String, String, i64)> = query.into_tuple().all(&conn).await?;
        let read = |(status, severity, kind, rows): (String, String, String, i64)| {
            Ok(UpdateCount {
                severity: word("update", &status, &severity)?,
                kind: word("update", &status, &kind)?,
                status,
                count: u64::try_from(rows).unwrap_or(0),
            })
        };
        rows.into_iter().map(read).collect()
    })
    .await
}
