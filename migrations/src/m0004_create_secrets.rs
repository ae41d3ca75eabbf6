//! What: `secrets`, sealed with a key that is not in the database. Why: tunnel tokens, API tokens and password
//! hashes are in no other table, so that a copy of the database opens nothing. Previous release: none.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("secrets")
                    .col(text("id").primary_key())
                    .col(text("purpose"))
                    .col(text("key_id"))
                    .col(blob("nonce"))
                    .col(blob("ciphertext"))
                    .col(big_integer("changed_at"))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("secrets").to_owned()).await
    }
}
