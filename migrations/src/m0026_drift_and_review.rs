//! What: `drifts`, what others changed of ours at Cloudflare, `reviewed_routes`, what a person said yes to while changes are
//! reviewed, and `owned_tunnels`, tunnels that we made, written before the call that makes them. Why apart from events: they are
//! what was seen and what is in force, and a rebuild must leave them alone; the events beside them are the history. Previous
//! release: reads none of them; it refuses the events, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drifts = Table::create()
            .table("drifts")
            .col(text("account_id"))
            .col(text("kind"))
            .col(text("name"))
            .col(text("tunnel_id"))
            .col(text("wanted"))
            .col(text_null("found"))
            .col(big_integer("found_at"))
            .col(text("state"))
            .primary_key(Index::create().col("account_id").col("kind").col("name"))
            .to_owned();
        let reviewed = Table::create()
            .table("reviewed_routes")
            .col(text("agent_id"))
            .col(text("hostname"))
            .col(text("path"))
            .col(text("service"))
            .primary_key(Index::create().col("agent_id").col("hostname").col("path"))
            .to_owned();
        let tunnels = Table::create()
            .table("owned_tunnels")
            .col(text("account_id"))
            .col(text("name"))
            .col(text_null("tunnel_id"))
            .col(big_integer("created_at"))
            .col(boolean("settled"))
            .primary_key(Index::create().col("account_id").col("name"))
            .to_owned();
        for table in [drifts, reviewed, tunnels] {
            manager.create_table(table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["owned_tunnels", "reviewed_routes", "drifts"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
