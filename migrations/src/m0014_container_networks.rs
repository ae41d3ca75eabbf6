//! What: the networks of a container, with the names that it goes by there (`containers.networks`, JSON, null where they
//! are not known). Why: a route whose connector is on none of them leads nowhere, and a person is to be told. Previous
//! release: neither reads nor writes it; a container that it writes has none until it is reported differently.

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
        let column = text_null("networks").take();
        manager.alter_table(Table::alter().table("containers").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("containers").drop_column("networks").to_owned()).await
    }
}
