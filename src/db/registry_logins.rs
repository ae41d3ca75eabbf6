//! Accounts at registries that people set; the passwords are secrets.

use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, QueryOrder};

use super::database::Db;
use super::entities::registry_login;
use super::error::DbError;
use super::times::time;
use crate::domain::id::SecretId;

/// An account at a registry. Its password is the secret named by [`login_secret`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLoginRow {
    /// Which registry, as it stands in names of images.
    pub registry: String,
    /// Who the master is there.
    pub account: String,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
}

impl From<registry_login::Model> for RegistryLoginRow {
    fn from(row: registry_login::Model) -> Self {
        let set_at = time(row.set_at);
        Self { registry: row.registry, account: row.account, set_at, set_by: row.set_by }
    }
}

/// Returns where the password of a registry's account is kept.
pub fn login_secret(registry: &str) -> SecretId {
    SecretId::new(format!("registry-login/{registry}"))
}

/// Returns the account at a registry, if one was set.
pub async fn find_registry_login(db: &Db, registry: &str) -> Result<Option<RegistryLoginRow>, DbError> {
    let registry = registry.to_owned();
    db.read(move |conn| async move {
        let found = registry_login::Entity::find_by_id(registry).one(&conn).await?;
        Ok(found.map(RegistryLoginRow::from))
    })
    .await
}

/// Returns every account that was set, by registry.
pub async fn list_registry_logins(db: &Db) -> Result<Vec<RegistryLoginRow>, DbError> {
    db.read(move |conn| async move {
        let query = registry_login::Entity::find().order_by_asc(registry_login::Column::Registry);
        Ok(query.all(&conn).await?.into_iter().map(RegistryLoginRow::from).collect())
    })
    .await
}
