//! What: `plans` (what would be changed, named by its hash), `host_plans` (what hosts worked out for whom), `runs` (what runs on
//! hosts did), `approvals`, `order_keys` and `failed_images` (derived from events; secret halves are in `secrets`). Why: people approve exact
//! plans, and hosts carry them out. Previous release: reads none of them; it refuses the new events, so `migrate` has to go
//! down first.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, boolean, integer_null, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        for (name, table, columns) in INDEXES {
            let mut index = Index::create();
            index.name(*name).table(*table);
            for column in *columns {
                index.col(*column);
            }
            manager.create_index(index.to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["failed_images", "order_keys", "approvals", "runs", "host_plans", "plans"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

const INDEXES: &[(&str, &str, &[&str])] = &[
    ("host_plans_by_request", "host_plans", &["request_id"]),
    ("host_plans_by_plan", "host_plans", &["plan_id"]),
    ("runs_by_start", "runs", &["started_at"]),
    ("runs_by_plan", "runs", &["plan_id"]),
    ("approvals_by_time", "approvals", &["given_at"]),
    ("approvals_by_plan", "approvals", &["plan_id"]),
    ("approvals_open", "approvals", &["status", "expires_at"]),
];

fn tables() -> [TableCreateStatement; 6] {
    let plans = Table::create()
        .table("plans")
        .col(text("id").primary_key())
        .col(text("changes"))
        .col(big_integer("created_at"))
        .to_owned();
    let host_plans = Table::create()
        .table("host_plans")
        .col(text("agent_id"))
        .col(text("request_id"))
        .col(text("command_id"))
        .col(text("ask"))
        .col(text("then"))
        .col(text("asked_by"))
        .col(big_integer("asked_at"))
        .col(text_null("plan_id"))
        .col(text_null("on_host"))
        .col(text_null("dependencies"))
        .col(text_null("problem"))
        .col(text_null("way_out"))
        .col(big_integer_null("made_at"))
        .primary_key(Index::create().col("agent_id").col("request_id"))
        .to_owned();
    let runs = Table::create()
        .table("runs")
        .col(text("agent_id"))
        .col(text("id"))
        .col(text_null("order_id"))
        .col(text("plan_id"))
        .col(text("begun_by"))
        .col(text_null("undoes"))
        .col(big_integer("started_at"))
        .col(big_integer_null("ended_at"))
        .col(text_null("outcome"))
        .col(text_null("reason"))
        .col(text("steps"))
        .col(text_null("step"))
        .col(integer_null("percent"))
        .col(text("words"))
        .col(text("log"))
        .col(big_integer("told_at"))
        .primary_key(Index::create().col("agent_id").col("id"))
        .to_owned();
    let approvals = Table::create()
        .table("approvals")
        .col(text("agent_id"))
        .col(text("id"))
        .col(text("request_id"))
        .col(text("plan_id"))
        .col(big_integer("number"))
        .col(text("given_by"))
        .col(text_null("given_from"))
        .col(big_integer("given_at"))
        .col(big_integer("expires_at"))
        .col(boolean("needs_second"))
        .col(text_null("ordered_by"))
        .col(text_null("command_id"))
        .col(text_null("run_id"))
        .col(text("status"))
        .col(text_null("reason"))
        .col(big_integer_null("ended_at"))
        .primary_key(Index::create().col("agent_id").col("id"))
        .to_owned();
    let order_keys = Table::create()
        .table("order_keys")
        .col(text("fingerprint").primary_key())
        .col(text("public_key"))
        .col(text_null("endorsed"))
        .col(big_integer("place"))
        .col(big_integer("set_at"))
        .col(text("set_by"))
        .to_owned();
    let failed_images = Table::create()
        .table("failed_images")
        .col(text("digest").primary_key())
        .col(text("image"))
        .col(text("agent_id"))
        .col(text("run_id"))
        .col(text("reason"))
        .col(big_integer("failed_at"))
        .col(text_null("let_go_by"))
        .to_owned();
    [plans, host_plans, runs, approvals, order_keys, failed_images]
}
