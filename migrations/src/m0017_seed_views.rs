//! What: views with the columns of the schema that RedFlag's architecture documents, under its names with `seed_` before
//! them (`seed_agents`, `seed_updates`, `seed_commands`, `seed_refresh_tokens`, `seed_logs`). Why: reports that people wrote
//! for that schema are read here too. Times are RFC 3339 in UTC. Previous release: knows none of them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let words = Words(manager.get_database_backend());
        for (name, select) in words.views() {
            let statement = format!("CREATE VIEW {name} AS {select}");
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in Words(manager.get_database_backend()).views() {
            manager.get_connection().execute_unprepared(&format!("DROP VIEW {name}")).await?;
        }
        Ok(())
    }
}

/// What the two engines say differently.
struct Words(DbBackend);

impl Words {
    /// A field of a column that holds a JSON object.
    fn field(&self, column: &str, field: &str) -> String {
        match self.0 {
            DbBackend::Postgres => format!("({column}::json ->> '{field}')"),
            _ => format!("json_extract({column}, '$.{field}')"),
        }
    }

    /// A time that is stored in microseconds.
    fn time(&self, column: &str) -> String {
        match self.0 {
            DbBackend::Postgres => format!(
                "to_char(to_timestamp({column} / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
            ),
            _ => format!("strftime('%Y-%m-%dT%H:%M:%SZ', {column} / 1000000, 'unixepoch')"),
        }
    }

    fn views(&self) -> [(&'static str, String); 5] {
        let (os, architecture) = (self.field("h.facts", "os_version"), self.field("h.facts", "architecture"));
        let hostname = self.field("h.facts", "hostname");
        [
            (
                "seed_agents",
                format!(
                    "SELECT a.id AS id, COALESCE({hostname}, a.display_name) AS hostname, {os} AS os, \
                       {architecture} AS architecture, h.facts AS metadata, {} AS created_at, {} AS updated_at \
                     FROM agents a LEFT JOIN hosts h ON h.agent_id = a.id WHERE a.status <> 'removed'",
                    self.time("a.registered_at"),
                    self.time("COALESCE(h.changed_at, a.registered_at)"),
                ),
            ),
            (
                "seed_updates",
                format!(
                    "SELECT id, agent_id, package_name, package_type, current_version, available_version, severity, \
                       metadata, status, {} AS created_at FROM updates",
                    self.time("created_at"),
                ),
            ),
            (
                "seed_commands",
                format!(
                    "SELECT id, agent_id, NULL AS update_id, {} AS command_type, kind AS parameters, status, \
                       {} AS created_at, {} AS completed_at FROM commands",
                    self.field("kind", "action"),
                    self.time("queued_at"),
                    self.time("ended_at"),
                ),
            ),
            (
                "seed_refresh_tokens",
                format!(
                    "SELECT id, agent_id, token_hash, {} AS expires_at, {} AS created_at, {} AS last_used_at, revoked \
                     FROM refresh_tokens",
                    self.time("expires_at"),
                    self.time("created_at"),
                    self.time("last_used_at"),
                ),
            ),
            (
                "seed_logs",
                format!(
                    "SELECT id, agent_id, CASE result WHEN 'success' THEN 'info' WHEN 'partial' THEN 'warning' \
                       ELSE 'error' END AS level, action AS message, stdout AS metadata, {} AS created_at \
                     FROM update_logs",
                    self.time("executed_at"),
                ),
            ),
        ]
    }
}
