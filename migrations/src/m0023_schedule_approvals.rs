//! What: when a yes begins to count, and when something of it is due. Why: an order can wait for its time, also over a restart.
//! Previous release: has no approvals.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::big_integer_null;

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: [(&str, &str); 3] =
    [("approvals", "not_before"), ("approvals", "due_at"), ("host_plans", "not_before")];
const INDEX: &str = "approvals_due";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            let added = Table::alter().table(table).add_column(big_integer_null(column)).to_owned();
            manager.alter_table(added).await?;
        }
        let index = Index::create().name(INDEX).table("approvals").col("due_at").to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(INDEX).table("approvals").to_owned()).await?;
        for (table, column) in COLUMNS {
            let dropped = Table::alter().table(table).drop_column(column).to_owned();
            manager.alter_table(dropped).await?;
        }
        Ok(())
    }
}
