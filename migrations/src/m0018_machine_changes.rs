//! What: what shows that an agent reports from another machine than before (`agents.other_machine`, JSON). Why: such an agent
//! waits for a person, and the page says why. Previous release: reads neither the column nor the event; to it the agent is
//! enrolled. It refuses the event, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text_null;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = text_null("other_machine").take();
        manager.alter_table(Table::alter().table("agents").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("agents").drop_column("other_machine").to_owned()).await
    }
}
