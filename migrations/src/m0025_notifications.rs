//! What: `notification_targets`, where people are told what happened (derived from events); beside them what is done with
//! that: how far the record was followed (`notification_place`), what is the case (`notification_conditions`), what waits to
//! be told (`notices`), what is sent (`notification_messages`) and how each target is (`notification_target_states`). Why
//! apart: a rebuild from events must leave the latter alone, or everything would be told again. Previous release: reads none
//! of them; it refuses the events of targets, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, integer, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const BY_TARGET: &str = "notification_messages_target";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let targets = Table::create()
            .table("notification_targets")
            .col(text("id").primary_key())
            .col(text("body"))
            .col(big_integer("made_at"))
            .col(big_integer("set_at"))
            .col(text("set_by"))
            .to_owned();
        let states = Table::create()
            .table("notification_target_states")
            .col(text("target_id").primary_key())
            .col(big_integer_null("last_sent_at"))
            .col(big_integer_null("failing_since"))
            .col(integer("failures"))
            .col(text_null("error"))
            .col(big_integer_null("next_try_at"))
            .col(integer("left_out"))
            .to_owned();
        let place = Table::create()
            .table("notification_place")
            .col(integer("id").primary_key())
            .col(big_integer("seq"))
            .to_owned();
        let conditions = Table::create()
            .table("notification_conditions")
            .col(text("topic"))
            .col(text("subject"))
            .col(text("name"))
            .col(big_integer("since"))
            .primary_key(Index::create().col("topic").col("subject"))
            .to_owned();
        let notices = Table::create()
            .table("notices")
            .col(text("target_id"))
            .col(text("topic"))
            .col(text("subject"))
            .col(text("body"))
            .primary_key(Index::create().col("target_id").col("topic").col("subject"))
            .to_owned();
        let messages = Table::create()
            .table("notification_messages")
            .col(text("id").primary_key())
            .col(text("target_id"))
            .col(text("state"))
            .col(integer("attempts"))
            .col(text("body"))
            .col(text_null("error"))
            .col(big_integer("created_at"))
            .col(big_integer_null("settled_at"))
            .to_owned();
        for table in [targets, states, place, conditions, notices, messages] {
            manager.create_table(table).await?;
        }
        let by_target =
            Index::create().name(BY_TARGET).table("notification_messages").col("target_id").to_owned();
        manager.create_index(by_target).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(BY_TARGET).table("notification_messages").to_owned()).await?;
        for table in [
            "notification_messages",
            "notices",
            "notification_conditions",
            "notification_place",
            "notification_target_states",
            "notification_targets",
        ] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
