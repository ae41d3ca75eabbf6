//! What: whether the Engine said itself that a route's container ended. Why: what somebody stopped by hand goes without a
//! question, and what is only missing from a list does not. Previous release: does not read the column; losses that it
//! writes count as not explained.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::boolean;

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMN: &str = "explained";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = boolean(COLUMN).default(false).take();
        manager.alter_table(Table::alter().table("routes").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("routes").drop_column(COLUMN).to_owned()).await
    }
}
