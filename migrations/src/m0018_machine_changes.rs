//! What: what shows that an agent reports from another machine than before (`agents.other_machine`, JSON), and the name of each
//! machine in lower case (`hosts.hostname`). Why: an agent on another machine waits for a person, and the page says why; a
//! RedFlag host that lost its configuration is found again by its name. Previous release: reads neither; to it such an agent
//! is enrolled. It refuses the event, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text_null;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Columns that are new, with their tables.
const COLUMNS: [(&str, &str); 2] = [("agents", "other_machine"), ("hosts", "hostname")];
const INDEX: &str = "hosts_hostname";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            let column = text_null(column).take();
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        let name = match manager.get_database_backend() {
            DbBackend::Postgres => "facts::json ->> 'hostname'",
            _ => "json_extract(facts, '$.hostname')",
        };
        let fill = format!("UPDATE hosts SET hostname = lower({name})");
        manager.get_connection().execute_unprepared(&fill).await?;
        let index = Index::create().name(INDEX).table("hosts").col("hostname").to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(INDEX).table("hosts").to_owned()).await?;
        for (table, column) in COLUMNS {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
