//! `/api/v3/agents/...`: numbered batches up, leased commands down. Needs the session that registering gave.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::v2::no_store;
use crate::actors::master::Dialect;
use crate::domain::id::CommandId;
use crate::protocol::body::BodyError;
use crate::protocol::v3::{
    self, COMMANDS_LIMIT, ReportsResponse, WAIT_LIMIT_SECS, command_form, decode_reports, decode_result,
};
use crate::web::auth::NativeAgent;
use crate::web::body::{JsonBytes, LARGE, SMALL};
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// How long a poll waits and what it takes.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Poll {
    /// Seconds to wait for a command, at most 50.
    #[serde(default)]
    wait: u64,
    /// Most commands to take.
    #[serde(default = "one_by_default")]
    max: usize,
}

fn one_by_default() -> usize {
    10
}

/// `POST /api/v3/agents/{id}/reports`: takes in a batch; one that was seen before changes nothing.
#[utoipa::path(post, path = "/api/v3/agents/{id}/reports", tag = "agent v3", params(("id" = String, Path)),
    request_body = Object, responses((status = 202, description = "`{\"next_seq\": n}`"), (status = 400),
        (status = 401), (status = 403), (status = 404), (status = 409, description = "`session_unknown`"),
        (status = 413), (status = 415), (status = 503)), security(("agent_key" = [])))]
pub async fn reports(
    agent: NativeAgent,
    state: web::Data<WebState>,
    body: JsonBytes<LARGE>,
) -> Result<HttpResponse, ApiError> {
    let batch = decode_reports(&body.0)?;
    if !agent.slot.has_session(&batch.session) {
        return Err(ApiError::SessionUnknown);
    }
    let next_seq = state.master().report(agent.slot.id(), batch).await?;
    Ok(HttpResponse::Accepted().json(ReportsResponse { next_seq }))
}

/// `GET /api/v3/agents/{id}/commands`: waits for a command and leases it; an empty list ends the wait.
#[utoipa::path(get, path = "/api/v3/agents/{id}/commands", tag = "agent v3", params(("id" = String, Path), Poll),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("agent_key" = [])))]
pub async fn commands(
    agent: NativeAgent,
    state: web::Data<WebState>,
    poll: web::Query<Poll>,
) -> Result<HttpResponse, ApiError> {
    let wait = Duration::from_secs(poll.wait.min(WAIT_LIMIT_SECS));
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
        let max = poll.max.clamp(1, COMMANDS_LIMIT);
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
        command_form(&one.command, one.token.as_ref(), issued_at, lease.unsigned_abs())
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

fn command_id(text: &str) -> Result<CommandId, ApiError> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let wrong = BodyError::Value { field: "command_id", reason: "1 to 64 of `A-Za-z0-9._-` are allowed" };
    if fits { Ok(CommandId::new(text)) } else { Err(wrong.into()) }
}
