//! Secrets: sealed with a key that is not in the database, opened only where they are used.

use std::path::Path;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use secrecy::SecretString;

use super::database::Db;
use super::entities::secret;
use super::error::DbError;
use super::secret_key::{SecretError, SecretKey};
use crate::domain::id::SecretId;

/// Fails if secrets are stored and the file of their key is gone.
pub(super) async fn must_not_miss_key(db: &Db, file: &Path) -> Result<(), DbError> {
    // A file that cannot be looked at is named when it is read.
    if file.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let path = file.to_owned();
    db.read(move |conn| async move {
        let any = secret::Entity::find().select_only().column(secret::Column::KeyId).limit(1);
        match any.into_tuple().one(&conn).await? {
            Some(stored) => Err(SecretError::KeyGone { stored, path }.into()),
            None => Ok(()),
        }
    })
    .await
}

/// Fails if stored secrets were sealed with another key.
pub(super) async fn check_key(db: &Db, key: &SecretKey) -> Result<(), DbError> {
    let (given, place) = (key.id().to_owned(), key.place().to_owned());
    db.read(move |conn| async move {
        let other: Option<String> = secret::Entity::find()
            .select_only()
            .column(secret::Column::KeyId)
            .filter(secret::Column::KeyId.ne(&given))
            .limit(1)
            .into_tuple()
            .one(&conn)
            .await?;
        match other {
            Some(stored) => Err(SecretError::WrongKey { stored, given, place }.into()),
            None => Ok(()),
        }
    })
    .await
}

/// Opens a stored secret.
pub async fn find_secret(db: &Db, id: &SecretId) -> Result<Option<SecretString>, DbError> {
    let key = db.0.key.get().cloned();
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        let Some(row) = secret::Entity::find_by_id(id).one(&conn).await? else {
            return Ok(None);
        };
        let key = key.ok_or(SecretError::NoKey)?;
        Ok(Some(key.open(&row)?))
    })
    .await
}

/// Opens a stored secret; fails with [`DbError::Missing`] if there is none.
pub async fn get_secret(db: &Db, id: &SecretId) -> Result<SecretString, DbError> {
    find_secret(db, id).await?.ok_or_else(|| DbError::Missing { kind: "secret", id: id.to_string() })
}
