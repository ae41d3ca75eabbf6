//! What: `manual_rules`, routes that people made (derived from events). Why a table of its own: they belong to no agent and no
//! container, and never run out. Previous release: reads none of it; it refuses the events of such rules, so `migrate` has
//! to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

const BY_TUNNEL: &str = "manual_rules_tunnel";
/// A name that changes hands is looked for in all tunnels.
const BY_NAME: &str = "applied_rules_hostname";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rules = Table::create()
            .table("manual_rules")
            .col(text("hostname"))
            .col(text("path"))
            .col(text("tunnel_id"))
            .col(text("service"))
            .col(big_integer("set_at"))
            .col(text("set_by"))
            .primary_key(Index::create().col("hostname").col("path"))
            .to_owned();
        manager.create_table(rules).await?;
        let by_tunnel = Index::create().name(BY_TUNNEL).table("manual_rules").col("tunnel_id").to_owned();
        manager.create_index(by_tunnel).await?;
        let by_name = Index::create().name(BY_NAME).table("applied_rules").col("hostname").to_owned();
        manager.create_index(by_name).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(BY_NAME).table("applied_rules").to_owned()).await?;
        manager.drop_index(Index::drop().name(BY_TUNNEL).table("manual_rules").to_owned()).await?;
        manager.drop_table(Table::drop().table("manual_rules").to_owned()).await
    }
}
