//! What: which agent moves from one tunnel to another, whom a tunnel was left by, which tunnels we made ourselves and which
//! of those may go. Why: names move once the new connector is seen, and only a tunnel of our making is deleted.
//! Previous release: reads none of it; a move that is under way when it starts is finished at once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{boolean, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TEXTS: [(&str, &str); 3] = [("agents", "moving_from"), ("tunnels", "joining"), ("tunnels", "left_by")];
const FLAGS: [&str; 2] = ["made", "removed"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in TEXTS {
            let column = text_null(column);
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        for column in FLAGS {
            let column = boolean(column).default(false).take();
            manager.alter_table(Table::alter().table("tunnels").add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in TEXTS.into_iter().chain(FLAGS.map(|column| ("tunnels", column))) {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
