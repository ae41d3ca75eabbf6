//! Commands, as RedFlag's clients see them.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::actors::master::MasterError;
use crate::db::read::{
    CommandFilter, CommandRow, agent_names, find_command, find_host_plan_of, find_setting, find_updates,
    list_newest_commands,
};
use crate::domain::command::{CommandKind, CommandStatus, Outcome};
use crate::domain::id::CommandId;
use crate::protocol::redflag::params;
use crate::web::auth::{Operator, Viewer};
use crate::web::error::ApiError;
use crate::web::query::{Query, flag, number, number_within};
use crate::web::state::WebState;

/// Most commands of one answer, and how many there are unless the caller says so.
const COMMANDS: (u64, u64) = (500, 50);
/// Most commands that are counted when they are put away.
const MOST_PUT_AWAY: u64 = 100_000;
/// States of commands that can be put away.
const UNDONE: [CommandStatus; 2] = [CommandStatus::Failed, CommandStatus::Expired];
/// Until when commands came to their end that were put away.
const PUT_AWAY: &str = "redflag.commands_archived_until";
/// RedFlag's word for one that was put away.
const ARCHIVED: &str = "archived_failed";

/// How many commands.
#[derive(Debug, Deserialize, IntoParams)]
pub struct RecentQuery {
    /// Most commands, 1 to 500; 50 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// RedFlag's word for where a command stands.
pub fn status(row: &CommandRow) -> &'static str {
    let was_cancelled = row.command.outcome.as_ref().is_some_and(Outcome::is_cancelled);
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
    records.retain(|record| record["status"] != "cancelled" && record["status"] != ARCHIVED);
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
    let until = put_away_until(state).await?;
    let is_put_away = |row: &CommandRow| {
        let ended = matches!(status(row), "failed" | "timed_out").then_some(row.ended_at).flatten();
        ended.zip(until).is_some_and(|(ended, until)| ended <= until)
    };
    let shown = |row: &CommandRow| if is_put_away(row) { ARCHIVED } else { status(row) };
    Ok(rows.iter().map(|row| record(row, name(row), shown(row))).collect())
}

fn record(row: &CommandRow, name: Option<String>, status: &str) -> Value {
    let (command, params) = (&row.command, params(&row.command.kind));
    let said = |field: &str| params.get(field).cloned().unwrap_or_else(|| json!("N/A"));
    json!({
        "id": command.id, "agent_id": row.agent_id, "command_type": command.kind.action(), "params": params,
        "status": status, "source": "manual", "created_at": command.queued_at, "sent_at": command.delivered_at,
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
    let at = time_of(state, row).await?;
    let names = vec![(found.kind, found.update.finding.name.clone())];
    let mut done = state.master().want_updates(&found.agent_id, names, at, by).await?;
    Ok(done.pop().unwrap_or(Err(MasterError::Busy))?)
}

/// Returns for when something was approved that is asked again; none: at once. What was to begin at a time that is over is for a
/// person to decide anew.
async fn time_of(state: &WebState, row: &CommandRow) -> Result<Option<DateTime<Utc>>, ApiError> {
    // What is told to install has its time behind it.
    let CommandKind::DryRunUpdate(_) = row.command.kind else { return Ok(None) };
    let asked = find_host_plan_of(&state.master().db, &row.agent_id, &row.command.id).await;
    let why = match asked.map_err(ApiError::internal)?.map(|asked| asked.not_before) {
        Some(None) => return Ok(None),
        Some(Some(at)) if at > state.master().clock.now() => return Ok(Some(at)),
        Some(Some(at)) => format!("the update was approved for {at}, which is over"),
        None => "for when the update was approved is not kept any more".into(),
    };
    Err(MasterError::CannotApprove(format!("{why}: approve it anew, at once or for another time")).into())
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
        // What was to come of its answer later has no other command yet.
        state.master().call_off(&row.agent_id, &row.command.id, &operator.name).await?;
        return Ok(HttpResponse::Ok().json(json!({ "message": "command cancelled" })));
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

/// Which commands are put away.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ArchiveQuery {
    /// Came to their end so many days ago, or more; 0 to 3,650, and 7 if it is left out.
    #[param(value_type = Option<u64>)]
    older_than_days: Option<String>,
    /// Only those that were asked again; `true` puts away nothing, for a retry is a command of its own here.
    #[param(value_type = Option<bool>)]
    only_retried: Option<String>,
    /// `true`: of any age.
    #[param(value_type = Option<bool>)]
    all_failed: Option<String>,
}

impl ArchiveQuery {
    /// Until when commands came to their end that are put away; none if none are.
    fn until(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, ApiError> {
        let days = number_within("older_than_days", self.older_than_days.as_deref(), 7, 0..=3_650)?;
        let days = TimeDelta::days(i64::try_from(days).unwrap_or(i64::MAX));
        let is_all = flag("all_failed", self.all_failed.as_deref())?;
        let is_none = flag("only_retried", self.only_retried.as_deref())?;
        Ok((!is_none).then(|| if is_all { now } else { now - days }))
    }
}

/// `DELETE /api/v1/commands/failed`: puts commands away that failed or timed out: `active` lists them no more. The record has them
/// all the same, and `recent` calls them `archived_failed`.
#[utoipa::path(delete, path = "/api/v1/commands/failed", tag = "v1", params(ArchiveQuery),
    responses((status = 200), (status = 400), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn archive(
    operator: Operator,
    state: web::Data<WebState>,
    query: Query<ArchiveQuery>,
) -> Result<HttpResponse, ApiError> {
    let before = put_away_until(&state).await?;
    let until = query.0.until(state.master().clock.now())?;
    let mut count = 0;
    if let Some(until) = until.filter(|until| before.is_none_or(|before| *until > before)) {
        let (statuses, ended) = (UNDONE.to_vec(), Some((before, until)));
        let filter = CommandFilter { statuses, ended, ..CommandFilter::default() };
        let rows = list_newest_commands(&state.master().db, &filter, MOST_PUT_AWAY).await;
        count = rows.map_err(ApiError::internal)?.0.iter().filter(|row| status(row) != "cancelled").count();
        if count > 0 {
            state.master().change_setting(PUT_AWAY, json!(until), &operator.name).await?;
        }
    }
    Ok(HttpResponse::Ok()
        .json(json!({ "message": format!("{count} failed commands archived"), "count": count })))
}

/// Returns until when commands came to their end that were put away, if any were.
async fn put_away_until(state: &WebState) -> Result<Option<DateTime<Utc>>, ApiError> {
    let row = find_setting(&state.master().db, PUT_AWAY).await.map_err(ApiError::internal)?;
    Ok(row.and_then(|row| serde_json::from_value(row.value).ok()))
}
