//! What: `updates` (a row a host, kind and name, with the columns of the seed's schema and what they are found by),
//! `update_containers` (which containers run an image), `update_decisions` (derived from events), `scans` (how each scanner
//! of a host came out) and `hosts` (the machine behind an agent). Why: pending updates are kept and decided about.
//! Previous release: knows none of them; an agent that it removes leaves its rows, which nobody shows.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, boolean_null, integer, text, text_null,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(updates()).await?;
        manager.create_table(update_containers()).await?;
        manager.create_table(update_decisions()).await?;
        manager.create_table(scans()).await?;
        manager.create_table(hosts()).await?;
        let index = |name: &str, table: &str, columns: &[&str]| {
            let mut index = Index::create();
            index.name(name).table(Alias::new(table));
            for column in columns {
                index.col(Alias::new(*column));
            }
            index.to_owned()
        };
        manager.create_index(index("updates_by_id", "updates", &["id"]).unique().to_owned()).await?;
        manager.create_index(index("updates_by_name", "updates", &["package_type", "package_name"])).await?;
        manager.create_index(index("updates_by_status", "updates", &["status"])).await?;
        let due = "CREATE INDEX updates_by_due ON updates (due_at) WHERE due_at IS NOT NULL";
        manager.get_connection().execute_unprepared(due).await?;
        let columns = ["agent_id", "container_id"];
        manager.create_index(index("update_containers_by_container", "update_containers", &columns)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["hosts", "scans", "update_decisions", "update_containers", "updates"] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        Ok(())
    }
}

fn updates() -> TableCreateStatement {
    Table::create()
        .table("updates")
        .col(text("agent_id"))
        .col(text("package_type"))
        .col(text("package_name"))
        .col(text("id"))
        .col(text_null("title"))
        .col(text_null("current_version"))
        .col(text_null("available_version"))
        .col(text("severity"))
        .col(boolean_null("is_security"))
        .col(text("standing"))
        .col(text("status"))
        .col(text("metadata"))
        .col(big_integer("created_at"))
        .col(big_integer("changed_at"))
        .col(big_integer_null("due_at"))
        .primary_key(Index::create().col("agent_id").col("package_type").col("package_name"))
        .to_owned()
}

fn update_containers() -> TableCreateStatement {
    Table::create()
        .table("update_containers")
        .col(text("agent_id"))
        .col(text("package_name"))
        .col(text("container_id"))
        .primary_key(Index::create().col("agent_id").col("package_name").col("container_id"))
        .to_owned()
}

fn update_decisions() -> TableCreateStatement {
    Table::create()
        .table("update_decisions")
        .col(text("agent_id"))
        .col(text("package_type"))
        .col(text("package_name"))
        .col(text("decision"))
        .col(text("decided_by"))
        .col(big_integer("decided_at"))
        .primary_key(Index::create().col("agent_id").col("package_type").col("package_name"))
        .to_owned()
}

fn scans() -> TableCreateStatement {
    Table::create()
        .table("scans")
        .col(text("agent_id"))
        .col(text("package_type"))
        .col(boolean("ok"))
        .col(big_integer_null("as_of"))
        .col(text_null("problem"))
        .col(text_null("way_out"))
        .col(boolean("is_complete"))
        .col(text("digest"))
        .col(integer("found"))
        .col(integer("pending"))
        .col(big_integer("checked_at"))
        .primary_key(Index::create().col("agent_id").col("package_type"))
        .to_owned()
}

fn hosts() -> TableCreateStatement {
    Table::create()
        .table("hosts")
        .col(text("agent_id").primary_key())
        .col(text("facts"))
        .col(text_null("machine_id"))
        .col(boolean("reboot_wanted"))
        .col(big_integer("changed_at"))
        .to_owned()
}
