//! What: the tables that are derived from `events` and can be refilled from them: agents, agent_keys, commands,
//! routes, claims, tunnels, admins, settings. Why: reads must not replay history. Two uniqueness rules are the
//! database's to keep: one agent per key, one agent per hostname. Previous release: none.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, boolean, integer, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: [&str; 8] =
    ["agents", "agent_keys", "commands", "routes", "claims", "tunnels", "admins", "settings"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [agents(), agent_keys(), commands(), routes(), claims(), tunnels(), admins(), settings()]
        {
            manager.create_table(table).await?;
        }
        for index in [
            index("agents_key", "agents", &["key_id"]).unique().take(),
            index("agent_keys_sha256", "agent_keys", &["sha256"]).unique().take(),
            index("commands_agent", "commands", &["agent_id", "queued_seq"]),
            index("commands_due", "commands", &["due_at"]),
            index("routes_agent", "routes", &["agent_id"]),
            index("routes_due", "routes", &["due_at"]),
            index("claims_agent", "claims", &["agent_id"]),
            index("tunnels_agent", "tunnels", &["agent_id"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn index(name: &'static str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

fn agents() -> TableCreateStatement {
    Table::create()
        .table("agents")
        .col(text("id").primary_key())
        .col(text("display_name"))
        .col(boolean("custom_name"))
        .col(text_null("version"))
        .col(text("status"))
        .col(text_null("key_id"))
        .col(text("key_owner"))
        .col(text_null("account_id"))
        .col(text_null("tunnel_id"))
        .col(text_null("tunnel_name"))
        .col(text_null("secret_id"))
        .col(big_integer("registered_at"))
        .col(big_integer_null("enrolled_at"))
        .col(big_integer_null("revoked_at"))
        .col(big_integer_null("removed_at"))
        .col(big_integer_null("offline_since"))
        .to_owned()
}

fn agent_keys() -> TableCreateStatement {
    Table::create()
        .table("agent_keys")
        .col(text("id").primary_key())
        .col(text("owner"))
        .col(text("sha256"))
        .col(text("status"))
        .col(text_null("agent_id"))
        .col(text_null("rolled_from"))
        .col(big_integer("created_at"))
        .col(big_integer_null("revoked_at"))
        .to_owned()
}

fn commands() -> TableCreateStatement {
    Table::create()
        .table("commands")
        .col(text("id").primary_key())
        .col(text("agent_id"))
        .col(big_integer("queued_seq"))
        .col(text("kind"))
        .col(text("status"))
        .col(integer("attempt"))
        .col(big_integer("queued_at"))
        .col(big_integer_null("delivered_at"))
        .col(big_integer_null("lease_until"))
        .col(big_integer("expires_at"))
        .col(big_integer_null("due_at"))
        .col(text_null("outcome"))
        .col(big_integer_null("ended_at"))
        .to_owned()
}

fn routes() -> TableCreateStatement {
    Table::create()
        .table("routes")
        .col(text("hostname"))
        .col(text("path"))
        .col(text("agent_id"))
        .col(text("container_name"))
        .col(text("container_id"))
        .col(text("service"))
        .col(text("state"))
        .col(big_integer_null("due_at"))
        .col(boolean("held"))
        .col(big_integer("claimed_at"))
        .col(big_integer("changed_at"))
        .primary_key(Index::create().col("hostname").col("path"))
        .to_owned()
}

fn claims() -> TableCreateStatement {
    Table::create()
        .table("claims")
        .col(text("hostname").primary_key())
        .col(text("agent_id"))
        .col(big_integer("claimed_at"))
        .to_owned()
}

fn tunnels() -> TableCreateStatement {
    Table::create()
        .table("tunnels")
        .col(text("id").primary_key())
        .col(text("account_id"))
        .col(text("name"))
        .col(text_null("agent_id"))
        .col(text("secret_id"))
        .col(big_integer("enrolled_at"))
        .col(big_integer_null("confirmed_at"))
        .col(text_null("confirmed_by"))
        .to_owned()
}

fn admins() -> TableCreateStatement {
    Table::create()
        .table("admins")
        .col(text("name").primary_key())
        .col(big_integer("created_at"))
        .col(big_integer_null("password_changed_at"))
        .col(integer("session_version"))
        .to_owned()
}

fn settings() -> TableCreateStatement {
    Table::create()
        .table("settings")
        .col(text("key").primary_key())
        .col(text("value"))
        .col(big_integer("changed_at"))
        .col(text("changed_by"))
        .to_owned()
}
