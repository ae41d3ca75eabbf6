//! What: `access_groups`, who may reach what is published (derived from events), and what is ours of Cloudflare Access
//! (`access_policies`, `access_applications`), which is written before the call that makes it. Why apart: a rebuild from
//! events must leave the latter alone. Previous release: reads none of them; it refuses the events of groups, so
//! `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const BY_TUNNEL: &str = "access_applications_tunnel";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let groups = Table::create()
            .table("access_groups")
            .col(text("id").primary_key())
            .col(text("body"))
            .col(big_integer("set_at"))
            .col(text("set_by"))
            .to_owned();
        let policies = Table::create()
            .table("access_policies")
            .col(text("account_id"))
            .col(text("name"))
            .col(text_null("policy_id"))
            .col(text("body"))
            .col(big_integer("created_at"))
            .col(boolean("settled"))
            .primary_key(Index::create().col("account_id").col("name"))
            .to_owned();
        let applications = Table::create()
            .table("access_applications")
            .col(text("account_id"))
            .col(text("domain"))
            .col(text_null("application_id"))
            .col(text_null("aud"))
            .col(text("tunnel_id"))
            .col(text("body"))
            .col(big_integer("created_at"))
            .col(boolean("settled"))
            .primary_key(Index::create().col("account_id").col("domain"))
            .to_owned();
        for table in [groups, policies, applications] {
            manager.create_table(table).await?;
        }
        let by_tunnel =
            Index::create().name(BY_TUNNEL).table("access_applications").col("tunnel_id").to_owned();
        manager.create_index(by_tunnel).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(BY_TUNNEL).table("access_applications").to_owned()).await?;
        for table in ["access_applications", "access_policies", "access_groups"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
