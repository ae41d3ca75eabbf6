//! What: the role of an administrator. Why: a session may do what its administrator may. Previous release: does not read
//! the column; administrators that it makes have every right, as before.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text;

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMN: &str = "role";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = text(COLUMN).default("admin").take();
        manager.alter_table(Table::alter().table("admins").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("admins").drop_column(COLUMN).to_owned()).await
    }
}
