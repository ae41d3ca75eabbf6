//! What: registration tokens with their seats (`registration_tokens`, `registration_token_usage`), what renews the access of
//! RedFlag agents (`refresh_tokens`) and what they say of commands (`update_logs`), and when a replaced refresh token of an
//! agent was used again (`agents.credential_reused_at`). Why: RedFlag's agents register, renew and report here. Previous
//! release: reads none of it. Agents that registered with a token have a key that nobody knows, so they are silent under it;
//! it refuses their dialect and the events of tokens, so `migrate` has to go down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, boolean, integer, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEXES: [(&str, &str, &str, bool); 5] = [
    ("registration_tokens_digest", "registration_tokens", "sha256", true),
    ("registration_token_usage_agent", "registration_token_usage", "agent_id", false),
    ("refresh_tokens_digest", "refresh_tokens", "token_hash", true),
    ("refresh_tokens_agent", "refresh_tokens", "agent_id", false),
    ("update_logs_time", "update_logs", "executed_at", false),
];

const TABLES: [&str; 4] =
    ["registration_tokens", "registration_token_usage", "refresh_tokens", "update_logs"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [registration_tokens(), registration_token_usage(), refresh_tokens(), update_logs()] {
            manager.create_table(table).await?;
        }
        for (name, table, column, is_unique) in INDEXES {
            let mut index = Index::create().name(name).table(table).col(column).to_owned();
            if is_unique {
                index.unique();
            }
            manager.create_index(index).await?;
        }
        let column = big_integer_null("credential_reused_at").take();
        manager.alter_table(Table::alter().table("agents").add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = Table::alter().table("agents").drop_column("credential_reused_at").to_owned();
        manager.alter_table(column).await?;
        for table in TABLES {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn registration_tokens() -> TableCreateStatement {
    Table::create()
        .table("registration_tokens")
        .col(text("id").primary_key())
        .col(text("label"))
        .col(text("sha256"))
        .col(integer("max_seats"))
        .col(integer("seats_used"))
        .col(big_integer("expires_at"))
        .col(big_integer("created_at"))
        .col(text("created_by"))
        .col(big_integer_null("used_at"))
        .col(big_integer_null("revoked_at"))
        .col(text_null("revoked_reason"))
        .col(text("metadata"))
        .to_owned()
}

fn registration_token_usage() -> TableCreateStatement {
    Table::create()
        .table("registration_token_usage")
        .col(text("token_id"))
        .col(text("agent_id"))
        .col(big_integer("used_at"))
        .primary_key(Index::create().col("token_id").col("agent_id"))
        .to_owned()
}

fn refresh_tokens() -> TableCreateStatement {
    Table::create()
        .table("refresh_tokens")
        .col(text("id").primary_key())
        .col(text("agent_id"))
        .col(text("token_hash"))
        .col(big_integer("expires_at"))
        .col(big_integer("created_at"))
        .col(big_integer_null("last_used_at"))
        .col(boolean("revoked"))
        .col(boolean("spent"))
        .col(text("family"))
        .col(integer("generation"))
        .col(text("key_id"))
        .to_owned()
}

fn update_logs() -> TableCreateStatement {
    Table::create()
        .table("update_logs")
        .col(text("agent_id"))
        .col(integer("place"))
        .col(text("id"))
        .col(text_null("command_id"))
        .col(text("action"))
        .col(text("result"))
        .col(text("stdout"))
        .col(text("stderr"))
        .col(integer("exit_code"))
        .col(big_integer("duration_seconds"))
        .col(big_integer("executed_at"))
        .primary_key(Index::create().col("agent_id").col("place"))
        .to_owned()
}
