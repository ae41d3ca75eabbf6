//! `/api/v1/...` as RedFlag's agents call it.
//!
//! What they say ends in the words that every other agent's does: findings by kind, the machine, how a command went.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::v2::no_store;
use crate::actors::master::{Dialect, MasterError, RegisterInput, Slot};
use crate::db::read::{UpdateLogRow, find_agent, find_command, find_host, scans_of};
use crate::domain::command::{CommandKind, Outcome};
use crate::domain::id::CommandId;
use crate::domain::report::Report;
use crate::domain::update::{Findings, Kind};
use crate::protocol::redflag::{
    Log, LogResult, Said, ScanReport, decode_check_in, decode_dependencies, decode_facts, decode_log,
    decode_renewal, decode_report, params, scan_log,
};
use crate::web::api::agents::agent_id;
use crate::web::auth::{Anyone, Leaving, RedFlagAgent, registration_token, token_refused};
use crate::web::body::{JsonBytes, Lenient, ReportBytes, SMALL};
use crate::web::check_ins::LONGEST_RAPID;
use crate::web::error::ApiError;
use crate::web::rated::{CheckIns, Newcomer, Public, Reports, Within};
use crate::web::state::WebState;

/// How often agents are told to check in, in seconds.
pub const CHECK_IN_SECONDS: u64 = 300;
/// Most commands of one answer.
const MOST_COMMANDS: usize = 10;
/// How long an agent that was handed a command is asked to check in often.
const RAPID_AFTER_COMMANDS: TimeDelta = TimeDelta::minutes(10);
/// Longest body that is read on the spot.
const ON_THE_SPOT: usize = 64 << 10;

/// `POST /api/v1/agents/register`: a host becomes an agent with a registration token, in the header or the body.
#[utoipa::path(post, path = "/api/v1/agents/register", tag = "agent v1", request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 415), (status = 429)), security(()))]
pub async fn register(
    Newcomer(in_header): Newcomer,
    req: HttpRequest,
    state: web::Data<WebState>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let said = Said::read(&body.0)?;
    let token = match in_header {
        Some(token) => token,
        None => {
            let in_body = said.token()?.ok_or(MasterError::TokenRefused)?;
            registration_token(&req, in_body).await?
        }
    };
    let asked = said.registration()?;
    let input = RegisterInput {
        agent_id: None,
        display_name: None,
        hostname: Some(asked.hostname),
        version: Some(asked.agent_version),
        peer: state.source(&req),
        native: false,
    };
    let joined = state.master().join(token, input, Dialect::RedFlag).await;
    let joined = joined.map_err(|error| token_refused(&req, error.into()))?;
    let host = Box::new(asked.facts.onto(None));
    if let Err(error) = state.master().report(&joined.agent_id, vec![Report::Host { host }]).await {
        // It says it again within the hour.
        tracing::warn!(agent.id = %joined.agent_id, %error, "the machine of a new agent could not be written down");
    }
    let access =
        state.access_tokens().for_agent(&joined.agent_id, &joined.key_id, state.master().clock.now());
    let refresh = joined.refresh_token.as_ref().map(|token| token.expose_secret());
    Ok(no_store(HttpResponse::Ok().json(json!({
        "agent_id": joined.agent_id, "token": access, "refresh_token": refresh,
        "config": { "check_in_interval": CHECK_IN_SECONDS, "server_url": state.host(&req) },
    }))))
}

/// `POST /api/v1/agents/renew`: access for another day. With `"rotate": true` the answer carries the next refresh token.
#[utoipa::path(post, path = "/api/v1/agents/renew", tag = "agent v1", request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 415), (status = 429)), security(()))]
pub async fn renew(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    _limit: Within<Public>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let asked = decode_renewal(&body.0)?;
    let renewed = state.master().renew(&asked.agent_id, asked.refresh_token, asked.rotates).await;
    let renewed = renewed.map_err(|error| token_refused(&req, error.into()))?;
    let now = state.master().clock.now();
    let access = state.access_tokens().for_agent(&asked.agent_id, &renewed.key_id, now);
    let mut answer = json!({ "token": access });
    if let Some(next) = &renewed.refresh_token {
        answer["refresh_token"] = json!(next.expose_secret());
    }
    Ok(no_store(HttpResponse::Ok().json(answer)))
}

/// `GET /api/v1/agents/{id}/commands`: the agent checks in, with or without a body, and is handed what waits.
#[utoipa::path(get, path = "/api/v1/agents/{id}/commands", tag = "agent v1", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 429)),
    security(("redflag_access" = [])))]
pub async fn commands(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<CheckIns>,
    body: Lenient<Map<String, Value>>,
) -> Result<HttpResponse, ApiError> {
    let (id, now) = (agent.slot.id(), state.master().clock.now());
    let said = decode_check_in(&body.0);
    if let Some(version) = &said.version {
        state.master().note_version(id, version).await?;
    }
    let directory = &state.master().directory;
    state.check_ins().tidy(directory.len(), |agent| directory.slot(agent).is_some());
    if !said.metrics.is_empty() {
        state.check_ins().measured(id, said.metrics, now);
    }
    if said.rapid_until.is_some() {
        state.check_ins().set_rapid(id, said.rapid_until.map(|until| until.min(now + LONGEST_RAPID)));
    }
    if state.check_ins().found_nothing(id) {
        nothing_found(&state, &agent.slot).await?;
    }
    let leased = state.master().lease_commands(id, MOST_COMMANDS, Dialect::RedFlag).await?;
    let forms = leased
        .iter()
        .map(|one| json!({ "id": one.command.id, "type": one.command.kind.action(), "params": params(&one.command.kind) }));
    let mut answer = json!({ "commands": forms.collect::<Vec<_>>() });
    let until = match leased.is_empty() {
        true => state.check_ins().rapid(id, now),
        false => Some(now + RAPID_AFTER_COMMANDS),
    };
    if let Some(until) = until {
        answer["rapid_polling"] = json!({ "enabled": true, "until": until });
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// `HEAD` of the same: takes nothing from the queue.
pub async fn commands_head(_agent: RedFlagAgent) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").finish()
}

/// The last scan succeeded, named no scanner, and nothing was reported of it: nothing is pending of all that was.
async fn nothing_found(state: &WebState, slot: &Slot) -> Result<(), ApiError> {
    let scans = scans_of(&state.master().db, slot.id()).await.map_err(ApiError::internal)?;
    let empty = scans.into_keys().map(|kind| Report::Findings { findings: Findings::new(kind, Vec::new()) });
    state.master().report(slot.id(), empty.collect::<Vec<_>>()).await?;
    Ok(())
}

/// `POST /api/v1/agents/{id}/updates`: what a scan found.
#[utoipa::path(post, path = "/api/v1/agents/{id}/updates", tag = "agent v1", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 413),
        (status = 415), (status = 429), (status = 503)), security(("redflag_access" = [])))]
pub async fn updates(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<Reports>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let read = read_report(body, &state).await;
    if let Err(error) = &read
        && error.is_about_the_request()
    {
        agent.slot.report_flawed(format!(
            "Its last report was refused, so what is shown here may be old: {error}."
        ));
    }
    let report = read?;
    let (id, count, unreadable) = (agent.slot.id(), report.count, report.unreadable);
    let problem = report.problem;
    state.check_ins().reported(id);
    let items = report.findings.into_iter().map(|findings| Report::Findings { findings });
    state.master().report(id, items.collect::<Vec<_>>()).await?;
    match problem {
        Some(problem) => agent.slot.report_flawed(problem),
        None => agent.slot.list_taken(),
    }
    Ok(HttpResponse::Ok().json(json!({
        "message": "update events recorded", "count": count, "command_id": report.command_id.unwrap_or_default(),
        "unreadable": unreadable,
    })))
}

async fn read_report(body: Result<ReportBytes, ApiError>, state: &WebState) -> Result<ScanReport, ApiError> {
    let (bytes, now) = (body?.0, state.master().clock.now());
    if bytes.len() <= ON_THE_SPOT {
        return Ok(decode_report(&bytes, now)?);
    }
    let read = web::block(move || decode_report(&bytes, now)).await.map_err(ApiError::internal)?;
    Ok(read?)
}

/// `POST /api/v1/agents/{id}/logs`: how a command went.
#[utoipa::path(post, path = "/api/v1/agents/{id}/logs", tag = "agent v1", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 415), (status = 429), (status = 503)), security(("redflag_access" = [])))]
pub async fn logs(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<Reports>,
    body: ReportBytes,
) -> Result<HttpResponse, ApiError> {
    let log = decode_log(&body.0)?;
    let command = own_command(&agent.slot, &state, &log).await?;
    let known = command.as_ref().map(|(_, kind)| kind.action().to_owned());
    let action = log.action.clone().or(known).unwrap_or_else(|| "unknown".into());
    keep(&agent.slot, &state, &log, action.clone()).await?;
    if let (Some((id, _)), Some(outcome)) = (&command, outcome(&log)) {
        state.master().finish(agent.slot.id(), id, outcome).await?;
    }
    if action == CommandKind::ScanUpdates.action() {
        take_scan_log(&agent.slot, &state, &log).await?;
    }
    Ok(HttpResponse::Ok().json(json!({ "message": "log recorded" })))
}

/// Returns the command that a log names; fails if it is not the agent's.
async fn own_command(
    slot: &Slot,
    state: &WebState,
    log: &Log,
) -> Result<Option<(CommandId, CommandKind)>, ApiError> {
    let Some(id) = log.command_id.as_deref().and_then(|id| CommandId::parse(id).ok()) else {
        return Ok(None);
    };
    let row = find_command(&state.master().db, &id).await.map_err(ApiError::internal)?;
    match row.filter(|row| row.agent_id == *slot.id()) {
        Some(row) => Ok(Some((id, row.command.kind))),
        None => Err(MasterError::CommandNotFound(id).into()),
    }
}

fn outcome(log: &Log) -> Option<Outcome> {
    let succeeded = match log.result {
        LogResult::Success => true,
        LogResult::Failed | LogResult::Partial => false,
        LogResult::Unknown => return None,
    };
    let said = if succeeded || log.stderr.trim().is_empty() { &log.stdout } else { &log.stderr };
    let message = match log.exit_code {
        0 => said.trim().to_owned(),
        code => format!("exit code {code}: {}", said.trim()),
    };
    Some(Outcome { succeeded, message: message.chars().take(2_000).collect(), finished_at: None })
}

async fn keep(slot: &Slot, state: &WebState, log: &Log, action: String) -> Result<(), ApiError> {
    let row = UpdateLogRow {
        agent_id: slot.id().clone(),
        place: 0,
        id: state.master().chance.uuid().to_string(),
        command_id: log.command_id.as_ref().map(|id| id.chars().take(64).collect()),
        action,
        result: log.result.as_str().into(),
        stdout: log.stdout.clone(),
        stderr: log.stderr.clone(),
        exit_code: log.exit_code,
        duration_seconds: log.duration_seconds,
        executed_at: state.master().clock.now(),
    };
    Ok(state.master().keep_log(row).await?)
}

/// A scanner that found nothing is named in the log alone, and so is one that failed.
async fn take_scan_log(slot: &Slot, state: &WebState, log: &Log) -> Result<(), ApiError> {
    let read = scan_log(log);
    if read.is_silent_success {
        state.check_ins().scanned_silently(slot.id(), log.command_id.as_deref().unwrap_or_default());
    }
    let items = read.findings.into_iter().map(|findings| Report::Findings { findings });
    state.master().report(slot.id(), items.collect::<Vec<_>>()).await?;
    Ok(())
}

/// `POST /api/v1/agents/{id}/dependencies`: what a dry run says a package brings along. If that is nothing, and a person said
/// yes to the package, it is installed; else it is kept in the history, and a person decides.
#[utoipa::path(post, path = "/api/v1/agents/{id}/dependencies", tag = "agent v1", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 415),
        (status = 429)), security(("redflag_access" = [])))]
pub async fn dependencies(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<Reports>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let said = decode_dependencies(&body.0)?;
    let log = Log {
        command_id: None,
        action: None,
        result: LogResult::Success,
        stdout: format!("{} {}: {}", said.package_type, said.package_name, said.dependencies.join(", ")),
        stderr: String::new(),
        exit_code: 0,
        duration_seconds: 0,
    };
    keep(&agent.slot, &state, &log, "dry_run".into()).await?;
    let Ok(kind) = said.package_type.parse::<Kind>() else {
        return Err(ApiError::Invalid("field `package_type` is not allowed: send a kind of package".into()));
    };
    let (master, count) = (state.master(), said.dependencies.len());
    let taken = master.take_dependencies(agent.slot.id(), kind, said.package_name, said.dependencies).await;
    let command = match taken {
        Ok(command) => command,
        // It is not known here any more: what comes along is in the history all the same.
        Err(MasterError::CannotApprove(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(HttpResponse::Ok().json(match command {
        Some(command) => json!({
            "message": "no dependencies found - installation command created automatically", "command_id": command,
        }),
        None => json!({ "message": "dependencies reported and status updated", "count": count }),
    }))
}

/// `POST /api/v1/agents/{id}/system-info`: what the machine is.
#[utoipa::path(post, path = "/api/v1/agents/{id}/system-info", tag = "agent v1", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 415),
        (status = 429)), security(("redflag_access" = [])))]
pub async fn system_info(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<Reports>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let facts = decode_facts(&body.0)?;
    let before = find_host(&state.master().db, agent.slot.id()).await.map_err(ApiError::internal)?;
    let host = Box::new(facts.onto(before.map(|row| row.host)));
    state.master().report(agent.slot.id(), vec![Report::Host { host }]).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "system info updated successfully" })))
}

/// How long an agent checks in often.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RapidBody {
    duration_minutes: Option<i64>,
    enabled: Option<bool>,
}

/// `POST /api/v1/agents/{id}/rapid-mode`: the agent says that it checks in often for a while, or no more.
#[utoipa::path(post, path = "/api/v1/agents/{id}/rapid-mode", tag = "agent v1", params(("id" = String, Path)),
    request_body = RapidBody, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 415),
        (status = 429)), security(("redflag_access" = [])))]
pub async fn rapid_mode(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    _limit: Within<Reports>,
    body: crate::web::body::Json<RapidBody>,
) -> Result<HttpResponse, ApiError> {
    let minutes = body.0.duration_minutes.filter(|minutes| (1..=60).contains(minutes));
    let minutes =
        minutes.ok_or_else(|| ApiError::Invalid("`duration_minutes` is a number from 1 to 60".into()))?;
    let is_enabled = body.0.enabled.unwrap_or(false);
    let until = is_enabled.then(|| state.master().clock.now() + TimeDelta::minutes(minutes));
    state.check_ins().set_rapid(agent.slot.id(), until);
    let word = if is_enabled { "enabled" } else { "disabled" };
    Ok(HttpResponse::Ok().json(json!({
        "message": format!("rapid polling mode {word}"), "enabled": is_enabled, "duration_minutes": minutes,
        "rapid_polling_until": until,
    })))
}

/// `DELETE /api/v1/agents/{id}`: takes the agent off the list; by itself, or by an administrator.
#[utoipa::path(delete, path = "/api/v1/agents/{id}", tag = "agent v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404)),
    security(("redflag_access" = []), ("admin_token" = [])))]
pub async fn unregister(
    who: Leaving,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    let by = match &who {
        Leaving::Agent(agent) => format!("agent:{}", agent.slot.id()),
        Leaving::Admin(admin) => admin.name.clone(),
    };
    let row = find_agent(&state.master().db, &id).await.map_err(ApiError::internal)?;
    state.master().remove(&id, &by).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "agent unregistered successfully", "agent_id": id, "hostname": row.map(|row| row.display_name),
    })))
}

/// `GET /api/v1/commands`: the same as the check-in, on the path that RedFlag's documents name.
#[utoipa::path(get, path = "/api/v1/commands", tag = "agent v1",
    responses((status = 200), (status = 400), (status = 401), (status = 429)), security(("redflag_access" = [])))]
pub async fn own_commands(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    limit: Within<CheckIns>,
    body: Lenient<Map<String, Value>>,
) -> Result<HttpResponse, ApiError> {
    commands(agent, state, limit, body).await
}

/// `POST /api/v1/updates`: the same as the scan report, on the path that RedFlag's documents name.
#[utoipa::path(post, path = "/api/v1/updates", tag = "agent v1", request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 413), (status = 415), (status = 429),
        (status = 503)), security(("redflag_access" = [])))]
pub async fn own_updates(
    agent: RedFlagAgent,
    state: web::Data<WebState>,
    limit: Within<Reports>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    updates(agent, state, limit, body).await
}
