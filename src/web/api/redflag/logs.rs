//! History: what was asked of agents, and what RedFlag's agents said of it.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::commands::status;
use super::{PageOf, filled};
use crate::db::read::{
    CommandFilter, CommandRow, UpdateLogFilter, UpdateLogRow, agent_names, list_newest_commands,
    list_update_logs,
};
use crate::domain::command::CommandStatus;
use crate::domain::id::AgentId;
use crate::web::auth::Viewer;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Which lines, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
pub struct LogsQuery {
    /// Of this agent only.
    agent_id: Option<String>,
    /// About this action only, such as `scan_updates`.
    action: Option<String>,
    /// `success`, `failed` or `partial`.
    result: Option<String>,
    /// Since this time only (RFC 3339).
    since: Option<String>,
    /// Which page, from 1.
    #[param(value_type = Option<u64>)]
    page: Option<String>,
    /// Lines of a page, 1 to 1,000; 100 if it is left out.
    #[param(value_type = Option<u64>)]
    page_size: Option<String>,
}

impl LogsQuery {
    fn since(&self) -> Result<Option<DateTime<Utc>>, ApiError> {
        let Some(text) = filled(&self.since) else { return Ok(None) };
        let parsed = DateTime::parse_from_rfc3339(&text);
        parsed.map(|at| Some(at.to_utc())).map_err(|_| {
            ApiError::Invalid(
                "query parameter `since` is not allowed: send a time such as `2026-01-31T12:00:00Z`".into(),
            )
        })
    }

    fn of_commands(&self, since: Option<DateTime<Utc>>) -> Option<CommandFilter> {
        let statuses = match filled(&self.result).as_deref() {
            None => Vec::new(),
            Some("success" | "completed") => vec![CommandStatus::Succeeded],
            Some("failed" | "failure") => vec![CommandStatus::Failed, CommandStatus::Expired],
            Some(_) => return None,
        };
        let (agent, action) = (filled(&self.agent_id).map(AgentId::new), filled(&self.action));
        Some(CommandFilter { agent, statuses, action, since, ended: None })
    }

    fn of_logs(&self, since: Option<DateTime<Utc>>) -> UpdateLogFilter {
        let result = filled(&self.result).map(|word| match word.as_str() {
            "completed" => "success".to_owned(),
            "failure" => "failed".to_owned(),
            _ => word,
        });
        let (agent, action) = (filled(&self.agent_id).map(AgentId::new), filled(&self.action));
        UpdateLogFilter { agent, action, result, since }
    }
}

/// `GET /api/v1/logs`: commands and what was said of them, the newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "v1", params(LogsQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    query: Query<LogsQuery>,
) -> Result<HttpResponse, ApiError> {
    let asked = query.0;
    let page = PageOf::read(asked.page.as_deref(), ("page_size", asked.page_size.as_deref()), 100)?;
    let since = asked.since()?;
    let db = &state.master().db;
    let (logs, of_logs) =
        list_update_logs(db, &asked.of_logs(since), page.reach()).await.map_err(ApiError::internal)?;
    let (commands, of_commands) = match asked.of_commands(since) {
        Some(filter) => list_newest_commands(db, &filter, page.reach()).await.map_err(ApiError::internal)?,
        None => (Vec::new(), 0),
    };
    let mut lines: Vec<(DateTime<Utc>, AgentId, Value)> = logs.iter().map(log_line).collect();
    lines.extend(commands.iter().map(command_line));
    lines.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let lines = page.cut(lines);
    let agents: Vec<AgentId> = lines.iter().map(|(_, agent, _)| agent.clone()).collect();
    let names = agent_names(db, &agents).await.map_err(ApiError::internal)?;
    let named = lines.into_iter().map(|(_, agent, mut line)| {
        line["hostname"] = json!(names.get(&agent));
        line
    });
    Ok(HttpResponse::Ok().json(json!({
        "logs": named.collect::<Vec<_>>(), "total": of_logs + of_commands, "page": page.page, "page_size": page.size,
    })))
}

fn log_line(row: &UpdateLogRow) -> (DateTime<Utc>, AgentId, Value) {
    let line = json!({
        "id": row.id, "agent_id": row.agent_id, "type": "log", "action": row.action, "status": row.result,
        "result": row.result, "package_name": "", "package_type": "", "stdout": row.stdout, "stderr": row.stderr,
        "exit_code": row.exit_code, "duration_seconds": row.duration_seconds, "created_at": row.executed_at,
    });
    (row.executed_at, row.agent_id.clone(), line)
}

fn command_line(row: &CommandRow) -> (DateTime<Utc>, AgentId, Value) {
    let command = &row.command;
    let line = json!({
        "id": command.id, "agent_id": row.agent_id, "type": "command", "action": command.kind.action(),
        "status": status(row), "result": command.outcome.as_ref().map(|end| end.message.as_str()).unwrap_or_default(),
        "package_name": "System Operation", "package_type": "system", "stdout": "", "stderr": "", "exit_code": 0,
        "duration_seconds": 0, "created_at": command.queued_at,
    });
    (command.queued_at, row.agent_id.clone(), line)
}
