//! What: how far a person's yes goes, the plan that the person looked at, and when another one was ordered in its place. Why: a
//! yes can reach what is like the plan that was shown. Previous release: has no approvals.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: [&str; 3] = ["mode", "approved_plan", "reissued_at"];
const INDEX: &str = "approvals_by_approved_plan";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let [mode, plan, at] = COLUMNS;
        let columns = [text(mode).default("exact").take(), text_null(plan), big_integer_null(at)];
        // One at a time: SQLite adds no two columns at once.
        for column in columns {
            manager.alter_table(Table::alter().table("approvals").add_column(column).to_owned()).await?;
        }
        let index = Index::create().name(INDEX).table("approvals").col(plan).to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(INDEX).table("approvals").to_owned()).await?;
        for column in COLUMNS {
            manager.alter_table(Table::alter().table("approvals").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
