//! Browsers that are signed in. A cookie only names its session; whether that is open stands here.

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;

use super::database::Db;
use super::entities::{admin, session};
use super::error::DbError;
use super::settings::{AdminRow, admin_row};

/// Most sessions of one administrator; the oldest end when more are opened.
pub const MOST_SESSIONS: usize = 64;

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// What its cookie names: random, and known to nobody else.
    pub id: String,
    /// Who signed in.
    pub admin: String,
    /// [`AdminRow::session_version`] at that time.
    pub version: u32,
    /// When.
    pub opened_at: DateTime<Utc>,
}

/// Returns whose session this is; none if it was ended, or its administrator is gone or has another password.
pub async fn find_signed_in(db: &Db, id: &str) -> Result<Option<AdminRow>, DbError> {
    let id = id.to_owned();
    db.read(move |conn| async move {
        let Some(session) = session::Entity::find_by_id(id).one(&conn).await? else { return Ok(None) };
        let admin = admin::Entity::find_by_id(&session.admin).one(&conn).await?;
        admin.filter(|admin| admin.session_version == session.version).map(admin_row).transpose()
    })
    .await
}
