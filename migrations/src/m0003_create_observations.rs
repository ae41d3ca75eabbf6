//! What: what was seen of the world, written by difference and lost without harm: containers and their label
//! problems, tunnels as agents and Cloudflare show them, the state of each route at Cloudflare, when an agent was
//! last heard. Also what is ours at Cloudflare (`applied_rules`, `dns_records`), which is written before the call
//! that makes it. Why apart from the projections: a rebuild from events must leave them alone. Previous release: none.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, integer, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: [&str; 8] = [
    "agent_observed",
    "containers",
    "container_problems",
    "tunnel_observed",
    "applied_rules",
    "dns_records",
    "route_status",
    "tunnel_status",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in of_agents().into_iter().chain(of_cloudflare()) {
            manager.create_table(table).await?;
        }
        let by_tunnel =
            Index::create().name("dns_records_tunnel").table("dns_records").col("tunnel_id").to_owned();
        manager.create_index(by_tunnel).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn of_agents() -> [TableCreateStatement; 4] {
    [
        Table::create()
            .table("agent_observed")
            .col(text("agent_id").primary_key())
            .col(big_integer_null("last_seen_at"))
            .col(text_null("hostname"))
            .col(text_null("peer"))
            .col(text_null("dialect"))
            .col(text_null("problem"))
            .to_owned(),
        Table::create()
            .table("containers")
            .col(text("agent_id"))
            .col(text("id"))
            .col(text("name"))
            .col(text_null("image"))
            .col(text_null("status"))
            .col(text("labels"))
            .col(big_integer("changed_at"))
            .primary_key(Index::create().col("agent_id").col("id"))
            .to_owned(),
        Table::create()
            .table("container_problems")
            .col(text("agent_id"))
            .col(text("container_id"))
            .col(integer("position"))
            .col(text("label"))
            .col(text("value"))
            .col(text("reason"))
            .primary_key(Index::create().col("agent_id").col("container_id").col("position"))
            .to_owned(),
        Table::create()
            .table("tunnel_observed")
            .col(text("agent_id").primary_key())
            .col(text("report"))
            .col(big_integer("changed_at"))
            .to_owned(),
    ]
}

fn of_cloudflare() -> [TableCreateStatement; 4] {
    [
        Table::create()
            .table("applied_rules")
            .col(text("tunnel_id"))
            .col(text("hostname"))
            .col(text("path"))
            .col(text("rule"))
            .primary_key(Index::create().col("tunnel_id").col("hostname").col("path"))
            .to_owned(),
        Table::create()
            .table("dns_records")
            .col(text("zone_id"))
            .col(text("name"))
            .col(text_null("record_id"))
            .col(text("tunnel_id"))
            .col(text("content"))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("zone_id").col("name"))
            .to_owned(),
        Table::create()
            .table("route_status")
            .col(text("agent_id"))
            .col(text("hostname"))
            .col(text("path"))
            .col(text("state"))
            .col(text_null("reason"))
            .col(text_null("answer"))
            .col(big_integer("updated_at"))
            .primary_key(Index::create().col("agent_id").col("hostname").col("path"))
            .to_owned(),
        Table::create()
            .table("tunnel_status")
            .col(text("tunnel_id").primary_key())
            .col(text("state"))
            .col(text_null("reason"))
            .col(text_null("answer"))
            .col(big_integer_null("config_version"))
            .col(text("foreign_rules"))
            .col(big_integer("updated_at"))
            .to_owned(),
    ]
}
