//! What: how many agents may be enrolled with a key (`seats`), the key of another agent that one shares
//! (`shared_key_id`), and indexes for finding agents by either key, keys by agent, and the tunnel that an agent is to
//! join. Why: two hosts with one key are two agents, and none of these may cost more the more agents there are.
//! Previous release: knows one agent per key. It reads these rows, and refuses the second agent when it registers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEXES: [(&str, &str, &str); 4] = [
    ("agents_by_key", "agents", "key_id"),
    ("agents_by_shared_key", "agents", "shared_key_id"),
    ("agent_keys_agent", "agent_keys", "agent_id"),
    ("tunnels_joining", "tunnels", "joining"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let seats = integer("seats").default(1).take();
        manager.alter_table(Table::alter().table("agent_keys").add_column(seats).to_owned()).await?;
        let shared = text_null("shared_key_id").take();
        manager.alter_table(Table::alter().table("agents").add_column(shared).to_owned()).await?;
        manager.drop_index(Index::drop().name("agents_key").table("agents").to_owned()).await?;
        for (name, table, column) in INDEXES {
            manager.create_index(Index::create().name(name).table(table).col(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, table, _) in INDEXES {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        let unique = Index::create().name("agents_key").table("agents").col("key_id").unique().to_owned();
        manager.create_index(unique).await?;
        for (table, column) in [("agents", "shared_key_id"), ("agent_keys", "seats")] {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
