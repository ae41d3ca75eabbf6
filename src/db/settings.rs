//! Settings that were changed at run time, and administrators.

use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, PaginatorTrait, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::Db;
use super::entities::{admin, setting};
use super::error::DbError;
use super::times::time;
use super::words::{json, word};
use crate::domain::id::SecretId;
use crate::domain::role::Role;

/// A setting that was changed on the page or over the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: serde_json::Value,
    /// When it was changed.
    pub changed_at: DateTime<Utc>,
    /// Who changed it.
    pub changed_by: String,
}

/// An administrator. The password's hash is the secret named by [`password_secret`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRow {
    /// The name used at sign-in.
    pub name: String,
    /// When the administrator was made.
    pub created_at: DateTime<Utc>,
    /// When the password was last changed.
    pub password_changed_at: Option<DateTime<Utc>>,
    /// Grows with every change of the password; a session of an earlier one is over.
    pub session_version: u32,
    /// What the administrator may do.
    pub role: Role,
}

/// Returns where an administrator's password hash is kept.
pub fn password_secret(admin: &str) -> SecretId {
    SecretId::new(format!("admin-password/{admin}"))
}

/// The setting that names the account whose token a person gave the master.
pub const CLOUDFLARE_ACCOUNT: &str = "cloudflare_account";

/// Returns where the token for Cloudflare is kept that a person gave the master.
pub fn cloudflare_token_secret() -> SecretId {
    SecretId::new("cloudflare-token")
}

pub(super) fn admin_row(row: admin::Model) -> Result<AdminRow, DbError> {
    Ok(AdminRow {
        role: word("administrator", &row.name, &row.role)?,
        name: row.name,
        created_at: time(row.created_at),
        password_changed_at: row.password_changed_at.map(time),
        session_version: u32::try_from(row.session_version).unwrap_or(0),
    })
}

/// Returns a setting that was changed.
pub async fn find_setting(db: &Db, key: &str) -> Result<Option<SettingRow>, DbError> {
    let key = key.to_owned();
    db.read(move |conn| async move {
        setting::Entity::find_by_id(key).one(&conn).await?.map(setting_row).transpose()
    })
    .await
}

/// Returns every setting that was changed, by name.
pub async fn list_settings(db: &Db) -> Result<Vec<SettingRow>, DbError> {
    db.read(move |conn| async move {
        let query = setting::Entity::find().order_by_asc(setting::Column::Key);
        query.all(&conn).await?.into_iter().map(setting_row).collect()
    })
    .await
}

fn setting_row(row: setting::Model) -> Result<SettingRow, DbError> {
    Ok(SettingRow {
        value: json("setting", &row.key, &row.value)?,
        key: row.key,
        changed_at: time(row.changed_at),
        changed_by: row.changed_by,
    })
}

/// Returns an administrator.
pub async fn find_admin(db: &Db, name: &str) -> Result<Option<AdminRow>, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        admin::Entity::find_by_id(name).one(&conn).await?.map(admin_row).transpose()
    })
    .await
}

/// Returns every administrator, by name.
pub async fn list_admins(db: &Db) -> Result<Vec<AdminRow>, DbError> {
    db.read(move |conn| async move {
        let query = admin::Entity::find().order_by_asc(admin::Column::Name);
        query.all(&conn).await?.into_iter().map(admin_row).collect()
    })
    .await
}

/// Returns true once set-up was done.
pub async fn has_admin(db: &Db) -> Result<bool, DbError> {
    db.read(move |conn| async move { Ok(admin::Entity::find().limit(1).count(&conn).await? > 0) }).await
}
