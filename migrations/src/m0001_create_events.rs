//! What: `events`, the append-only record of decisions, and `streams`, the newest version and hash of each
//! stream. Why the second: finding a stream's head must cost the same however long the stream is, and a record
//! that lost its last rows no longer agrees with it. Previous release: none.

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
                    .table("events")
                    .col(big_integer("seq").primary_key())
                    .col(text("stream"))
                    .col(big_integer("version"))
                    .col(text("type"))
                    .col(text("payload"))
                    .col(text("actor"))
                    .col(big_integer("at"))
                    .col(blob("prev_hash"))
                    .col(blob("hash"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("events_stream_version")
                    .table("events")
                    .col("stream")
                    .col("version")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("streams")
                    .col(text("stream").primary_key())
                    .col(big_integer("version"))
                    .col(blob("hash"))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("streams").to_owned()).await?;
        manager.drop_table(Table::drop().table("events").to_owned()).await
    }
}
