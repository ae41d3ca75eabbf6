//! What: the hostname patterns that agents and keys are limited to, as a JSON list. Why: a key that is handed to
//! somebody else's host must not open every name of the zone. Previous release: reads neither column; rows that it
//! writes permit any name.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: [&str; 2] = ["agents", "agent_keys"];
const COLUMN: &str = "hostname_patterns";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let column = text(COLUMN).default("[]").take();
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager.alter_table(Table::alter().table(table).drop_column(COLUMN).to_owned()).await?;
        }
        Ok(())
    }
}
