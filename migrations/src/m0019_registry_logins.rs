//! What: `registry_logins`, whose account the master has at which registry (derived from events; the passwords are in
//! `secrets`), and an index that finds the hosts that run an image. Why: logins are set on the page, and a push wakes those
//! hosts. Previous release: reads neither; it refuses the events of logins, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEX: &str = "update_containers_by_image";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let logins = Table::create()
            .table("registry_logins")
            .col(text("registry").primary_key())
            .col(text("account"))
            .col(big_integer("set_at"))
            .col(text("set_by"))
            .to_owned();
        manager.create_table(logins).await?;
        let index = Index::create().name(INDEX).table("update_containers").col("package_name").to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(INDEX).table("update_containers").to_owned()).await?;
        manager.drop_table(Table::drop().table("registry_logins").to_owned()).await
    }
}
