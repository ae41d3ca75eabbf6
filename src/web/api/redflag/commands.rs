//! Commands, as RedFlag's clients see them.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::actors::master::MasterError;
use crate::db::read::{
    CommandFilter, CommandRow, agent_names, find_command, find_updates, list_newest_commands,
};
use crate::domain::command::{CommandKind, CommandStatus};
use crate::domain::id::CommandId;
use crate::protocol::redflag::params;
use crate::web::auth::{Operator, Viewer};
use crate::web::error::ApiError;
use crate::web::query::{Query, number};
use crate::web::state::WebState;

/// Most commands of one answer, and how many there are unless the caller says so.
const COMMANDS: (u64, u64) = (500, 50);
/// What a command that a person took back says of its end.
const CANCELLED: &str = "cancelled by ";

/// How many commands.
#[derive(Debug, Deserialize, IntoParams)]
pub struct RecentQuery {
    /// Most commands, 1 to 500; 50 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// RedFlag's word for where a command stands.
pub fn status(row: &CommandRow) -> &'static str {
    let was_cancelled = row.command.outcome.as_ref().is_some_and(|end| end.message.starts_with(CANCELLED));
    match row.command.status {
        CommandStatus::Queued => "pending",
        CommandStatus::Delivered | CommandStatus::Acknowledged => "sent",
        CommandStatus::Succeeded => "completed",
        CommandStatus::Failed if was_cancelled => "cancelled",
        CommandStatus::Failed => "failed",
        CommandStatus::Expired => "timed_out",
    }
}

/// `GET /api/v1/commands/active`: what is not at its end, or ended badly.
#[utoipa::path(get, path = "/api/v1/commands/active", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn active(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    use CommandStatus::{Acknowledged, Delivered, Expired, Failed, Queued};
    let statuses = vec![Queued, Delivered, Acknowledged, Failed, Expired];
    let filter = CommandFilter { statuses, ..CommandFilter::default() };
    let mut records = records(&state, &filter, COMMANDS.0).await?;
    records.retain(|record| record["status"] != "cancelled");
    Ok(HttpResponse::Ok().json(json!({ "count": records.len(), "commands": records })))
}

/// `GET /api/v1/commands/recent`: the newest ones.
#[utoipa::path(get, path = "/api/v1/commands/recent", tag = "v1", params(RecentQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn recent(
    _: Viewer,
    state: web::Data<WebState>,
    query: Query<RecentQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = number("limit", query.0.limit.as_deref(), COMMANDS.1, 1..=COMMANDS.0)?;
    let records = records(&state, &CommandFilter::default(), limit).await?;
    Ok(HttpResponse::Ok().json(json!({ "count": records.len(), "commands": records, "limit": limit })))
}

async fn records(state: &WebState, filter: &CommandFilter, max: u64) -> Result<Vec<Value>, ApiError> {
    let db = &state.master().db;
    let (rows, _) = list_newest_commands(db, filter, max).await.map_err(ApiError::internal)?;
    let agents: Vec<_> = rows.iter().map(|row| row.agent_id.clone()).collect();
    let names = agent_names(db, &agents).await.map_err(ApiError::internal)?;
    let name = |row: &CommandRow| names.get(&row.agent_id).cloned();
    Ok(rows.iter().map(|row| record(row, name(row))).collect())
}

fn record(row: &CommandRow, name: Option<String>) -> Value {
    let (command, params) = (&row.command, params(&row.command.kind));
    let said = |field: &str| params.get(field).cloned().unwrap_or_else(|| json!("N/A"));
    json!({
        "id": command.id, "agent_id": row.agent_id, "command_type": command.kind.action(), "params": params,
        "status": status(row), "source": "manual", "created_at": command.queued_at, "sent_at": command.delivered_at,
        "completed_at": command.outcome.as_ref().and_then(|end| end.finished_at),
        "result": command.outcome.as_ref().map(|end| json!({ "success": end.succeeded, "message": end.message })),
        "agent_hostname": name, "package_name": said("package_name"), "package_type": said("package_type"),
        "retried_from_id": null,
        "is_retry": false, "has_been_retried": false, "retry_count": 0,
    })
}

/// Returns a command; one of another family than updates is not for this API to change.
async fn own(state: &WebState, id: &str) -> Result<CommandRow, ApiError> {
    let unknown = || ApiError::from(MasterError::CommandNotFound(CommandId::new(id)));
    let parsed = CommandId::parse(id).map_err(|_| ApiError::NotFound)?;
    let row = find_command(&state.master().db, &parsed).await.map_err(ApiError::internal)?;
    let row = row.ok_or_else(unknown)?;
    match row.command.kind {
        CommandKind::StartTunnel { .. } | CommandKind::RestartTunnel { .. } | CommandKind::StopTunnel => {
            Err(ApiError::Invalid("this command is about a tunnel; see the agent's page".into()))
        }
        _ => Ok(row),
    }
}

/// `POST /api/v1/commands/{id}/retry`: asks again for what did not work.
#[utoipa::path(post, path = "/api/v1/commands/{id}/retry", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn retry(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = own(&state, &id).await?;
    if !matches!(status(&row), "failed" | "timed_out" | "cancelled") {
        return Err(ApiError::Invalid(
            "only a command that failed, timed out or was cancelled is asked again".into(),
        ));
    }
    let again = again(&state, &row, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "command retry created", "command_id": row.command.id, "new_id": again,
    })))
}

async fn again(state: &WebState, row: &CommandRow, by: &str) -> Result<CommandId, ApiError> {
    let update = match &row.command.kind {
        CommandKind::ScanUpdates => return Ok(state.master().scan_now(&row.agent_id, by).await?.id),
        CommandKind::DryRunUpdate(update) | CommandKind::ConfirmDependencies { update, .. } => update,
        _ => {
            return Err(ApiError::Invalid(
                "a plan or an order is not asked again: approve the update once more, for what its host would change now"
                    .into(),
            ));
        }
    };
    let found = find_updates(&state.master().db, std::slice::from_ref(&update.update_id)).await;
    let found = found.map_err(ApiError::internal)?.into_iter().next();
    let found =
        found.ok_or_else(|| ApiError::Missing("the update of this command is not known any more".into()))?;
    Ok(state.master().want_update(&found, false, by).await?)
}

/// `POST /api/v1/commands/{id}/cancel`: takes back what is not at its end; what was handed over may be done all the same.
#[utoipa::path(post, path = "/api/v1/commands/{id}/cancel", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404)),
    security(("admin_token" = [])))]
pub async fn cancel(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = own(&state, &id).await?;
    if !row.command.status.is_open() {
        return Err(ApiError::Invalid("the command is at its end already".into()));
    }
    if let CommandKind::CarryOutPlan { approval, .. } = &row.command.kind {
        // A host that has the order carries it out: what cannot be stopped is not said to be.
        let back = state.master().withdraw_approval(approval, &operator.name).await?;
        return match back.left.into_iter().find(|(agent, _)| *agent == row.agent_id) {
            Some((_, why)) => Err(why.into()),
            None => Ok(HttpResponse::Ok().json(json!({ "message": "command cancelled" }))),
        };
    }
    state.master().give_up(&row.agent_id, &row.command.id, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "command cancelled" })))
}

/// `DELETE /api/v1/commands/failed`: not built yet: history is kept, and there is no archive beside it.
#[utoipa::path(delete, path = "/api/v1/commands/failed", tag = "v1",
    responses((status = 401), (status = 403), (status = 409)), security(("admin_token" = [])))]
pub async fn archive(_: Operator) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotBuiltYet("archiving commands"))
}
