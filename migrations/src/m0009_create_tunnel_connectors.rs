//! What: `tunnel_connectors`, who serves each tunnel as Cloudflare lists it, and since when a tunnel's configuration has
//! its version. Why: a route that is published serves only if a connector is connected and took the configuration.
//! Previous release: reads neither; rows that it writes leave the time open, and nothing is said of a connector then.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, text};

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
                    .table("tunnel_connectors")
                    .col(text("tunnel_id").primary_key())
                    .col(text("connectors"))
                    .col(big_integer("listed_at"))
                    .col(big_integer_null("written_again"))
                    .to_owned(),
            )
            .await?;
        let column = big_integer_null("version_since");
        manager.alter_table(Table::alter().table("tunnel_status").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = "version_since";
        manager.alter_table(Table::alter().table("tunnel_status").drop_column(column).to_owned()).await?;
        manager.drop_table(Table::drop().table("tunnel_connectors").to_owned()).await
    }
}
