//! Images that failed on a host: they are held on all hosts until a person lets them go.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::database::{AT_ONCE, Db, limit};
use super::entities::failed_image;
use super::error::DbError;
use super::times::time;
use crate::domain::id::AgentId;
use crate::domain::update::{FailedImage, RunId};

/// Most that are listed.
const MOST: u64 = 1_000;

/// An image that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldImageRow {
    /// What failed.
    pub image: FailedImage,
    /// On whose host.
    pub agent_id: AgentId,
    /// In which run.
    pub run_id: Option<RunId>,
    /// When, by the master's clock.
    pub failed_at: DateTime<Utc>,
}

impl HeldImageRow {
    fn of(row: failed_image::Model) -> Self {
        Self {
            run_id: RunId::parse(&row.run_id),
            image: FailedImage { digest: row.digest, image: row.image, reason: row.reason },
            agent_id: AgentId::new(row.agent_id),
            failed_at: time(row.failed_at),
        }
    }
}

/// Returns those of these digests that are held.
pub async fn held_among(db: &Db, digests: &[String]) -> Result<Vec<HeldImageRow>, DbError> {
    let digests = digests.to_vec();
    db.read(move |conn| async move {
        let mut held = Vec::new();
        for chunk in digests.chunks(AT_ONCE) {
            let query = failed_image::Entity::find()
                .filter(failed_image::Column::Digest.is_in(chunk))
                .filter(failed_image::Column::LetGoBy.is_null());
            held.extend(query.all(&conn).await?.into_iter().map(HeldImageRow::of));
        }
        Ok(held)
    })
    .await
}

/// Returns the images that are held, the newest first; at most 1,000.
pub async fn list_held_images(db: &Db) -> Result<Vec<HeldImageRow>, DbError> {
    db.read(move |conn| async move {
        let query = failed_image::Entity::find()
            .filter(failed_image::Column::LetGoBy.is_null())
            .order_by_desc(failed_image::Column::FailedAt)
            .limit(limit(MOST));
        Ok(query.all(&conn).await?.into_iter().map(HeldImageRow::of).collect())
    })
    .await
}
