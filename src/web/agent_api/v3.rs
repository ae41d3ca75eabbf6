//! `/api/v3/agents/...`: numbered batches up, leased commands down. Needs the session that registering gave.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::intake::{noted, read_apart};
use super::v2::no_store;
use crate::actors::master::{AgentStatus, Dialect};
use crate::domain::id::CommandId;
use crate::domain::report::Report;
use crate::protocol::body;
use crate::protocol::v3::{
    self, COMMANDS_LIMIT, ImagesResponse, PlanTold, ReportsResponse, RunTold, WAIT_LIMIT_SECS, command_form,
    decode_asks, decode_reports, decode_result,
};
use crate::web::auth::NativeAgent;
use crate::web::body::{JsonBytes, ReportBytes, SMALL};
use crate::web::error::ApiError;
use crate::web::query::{Query, number};
use crate::web::state::WebState;

/// Commands that a poll takes unless it says how many.
const COMMANDS_BY_DEFAULT: u64 = 10;

/// How long a poll waits and what it takes.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Poll {
    /// Seconds to wait for a command, at most 50.
    #[param(value_type = Option<u64>)]
    wait: Option<String>,
    /// Most commands to take, 1 to 100; 10 if it is left out.
    #[param(value_type = Option<u64>)]
    max: Option<String>,
}

/// `POST /api/v3/agents/{id}/reports`: takes in a batch; one that was seen before changes nothing.
#[utoipa::path(post, path = "/api/v3/agents/{id}/reports", tag = "agent v3", params(("id" = String, Path)),
    request_body = Object, responses((status = 202, description = "`{\"next_seq\": n}`, and in `wants` the scanners whose findings are to be sent"), (status = 400),
        (status = 401), (status = 403), (status = 404), (status = 409, description = "`session_unknown`"),
        (status = 413), (status = 415), (status = 503)), security(("agent_key" = [])))]
pub async fn reports(
    agent: NativeAgent,
    state: web::Data<WebState>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let taken = take_batch(&agent, &state, body).await;
    let next_seq = noted(&agent.slot, taken)?;
    let wants = agent.slot.wanted_findings().iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Accepted().json(ReportsResponse { next_seq, wants }))
}

/// Takes in a batch; says whether a list of containers was part of it.
async fn take_batch(
    agent: &NativeAgent,
    state: &WebState,
    body: Result<ReportBytes, ApiError>,
) -> Result<(u64, bool), ApiError> {
    let batch = read_apart(body?.0, decode_reports).await?;
    if !agent.slot.has_session(&batch.session) {
        return Err(ApiError::SessionUnknown);
    }
    let has_list = batch.items.iter().any(|item| matches!(item, Report::Snapshot { .. }));
    Ok((state.master().report(agent.slot.id(), batch).await?, has_list))
}

/// `GET /api/v3/agents/{id}/commands`: waits for a command and leases it; an empty list ends the wait.
#[utoipa::path(get, path = "/api/v3/agents/{id}/commands", tag = "agent v3", params(("id" = String, Path), Poll),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("agent_key" = [])))]
pub async fn commands(
    agent: NativeAgent,
    state: web::Data<WebState>,
    poll: Query<Poll>,
) -> Result<HttpResponse, ApiError> {
    let wait = Duration::from_secs(number("wait", poll.0.wait.as_deref(), 0, 0..=WAIT_LIMIT_SECS)?);
    let most = 1..=COMMANDS_LIMIT as u64;
    let max = number("max", poll.0.max.as_deref(), COMMANDS_BY_DEFAULT, most)? as usize;
    let until = tokio::time::Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let woken = tokio::select! {
            woken = agent.slot.wait_for_command(&agent.key.key_id, left) => woken,
            // A server that stops answers its parked polls, so that nobody waits for a dead connection.
            () = state.stopping().cancelled() => false,
        };
        if !woken {
            return Ok(HttpResponse::Ok().json(v3::commands(Vec::new())));
        }
        agent.still_speaks()?;
        let leased = state.master().lease_commands(agent.slot.id(), max, Dialect::Native).await?;
        // Meanwhile that may have changed: then they stay with us, and are handed over again.
        agent.still_speaks()?;
        if !leased.is_empty() || left.is_zero() {
            return Ok(no_store(HttpResponse::Ok().json(v3::commands(forms(&leased)))));
        }
        // Another poll of the same agent was faster. The queue count follows; do not spin until it does.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn forms(
    leased: &[crate::actors::master::DeliveredCommand],
) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let form = |one: &crate::actors::master::DeliveredCommand| {
        let issued_at = one.command.delivered_at.unwrap_or(one.command.queued_at);
        let lease = one.command.lease_until.map_or(0, |until| (until - issued_at).num_seconds().max(0));
        command_form(&one.command, one.token.as_ref(), one.order.as_ref(), issued_at, lease.unsigned_abs())
    };
    leased.iter().map(form).collect()
}

/// `HEAD` of the same: takes nothing from the queue.
pub async fn commands_head(_agent: NativeAgent) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").finish()
}

/// `POST /api/v3/agents/{id}/commands/{command_id}/ack`: the agent has the command.
#[utoipa::path(post, path = "/api/v3/agents/{id}/commands/{command_id}/ack", tag = "agent v3",
    params(("id" = String, Path), ("command_id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("agent_key" = [])))]
pub async fn acknowledge(
    agent: NativeAgent,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    state.master().acknowledge(agent.slot.id(), &command_id(&path.1)?).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `POST /api/v3/agents/{id}/commands/{command_id}/result`: the command came to its end.
#[utoipa::path(post, path = "/api/v3/agents/{id}/commands/{command_id}/result", tag = "agent v3",
    params(("id" = String, Path), ("command_id" = String, Path)), request_body = Object,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("agent_key" = [])))]
pub async fn result(
    agent: NativeAgent,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let outcome = decode_result(&body.0)?;
    state.master().finish(agent.slot.id(), &command_id(&path.1)?, outcome).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `POST /api/v3/agents/{id}/images`: what tags hold, asked of registries once for the whole fleet.
#[utoipa::path(post, path = "/api/v3/agents/{id}/images", tag = "agent v3", params(("id" = String, Path)),
    request_body = Object, responses((status = 200, description = "`{\"answers\": [...]}`"), (status = 400),
        (status = 401), (status = 403), (status = 404), (status = 413), (status = 415)),
    security(("agent_key" = [])))]
pub async fn images(
    agent: NativeAgent,
    state: web::Data<WebState>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let asks = read_apart(body.0, decode_asks).await?;
    Ok(HttpResponse::Ok().json(ImagesResponse { answers: state.master().look_up(&agent.slot, asks).await }))
}

fn command_id(text: &str) -> Result<CommandId, ApiError> {
    Ok(v3::command_id("command_id", text)?)
}

/// `POST /api/v3/agents/{id}/plans`: what the host worked out for a command, or why it could not.
#[utoipa::path(post, path = "/api/v3/agents/{id}/plans", tag = "agent v3", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 413), (status = 415), (status = 503)), security(("agent_key" = [])))]
pub async fn plans(
    agent: NativeAgent,
    state: web::Data<WebState>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let told = read_apart(body?.0, body::parse_as::<PlanTold>).await?;
    state.master().take_plan(agent.slot.id(), told).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `POST /api/v3/agents/{id}/runs`: a run on the host ended. One that was told before changes nothing.
#[utoipa::path(post, path = "/api/v3/agents/{id}/runs", tag = "agent v3", params(("id" = String, Path)),
    request_body = Object, responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 413), (status = 415), (status = 503)), security(("agent_key" = [])))]
pub async fn runs(
    agent: NativeAgent,
    state: web::Data<WebState>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let told = read_apart(body?.0, body::parse_as::<RunTold>).await?;
    // Of a host that no person said yes to, nothing is kept that takes room.
    if agent.slot.status() == AgentStatus::Enrolled {
        state.master().take_run(agent.slot.id(), told).await?;
    }
    Ok(HttpResponse::Ok().json(json!({})))
}
