//! Agents, as people and scripts handle them.

use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::actors::master::{LeftTunnel, MasterError};
use crate::db::read::{self, CommandFilter};
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::AgentId;
use crate::protocol::command::wire_form;
use crate::protocol::v2::answer;
use crate::web::auth::{Admin, Operator, Viewer};
use crate::web::body::{Lenient, NoBody, Patterns};
use crate::web::error::ApiError;
use crate::web::listings;
use crate::web::records;
use crate::web::state::WebState;

/// The tunnel an agent gets.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EnrollBody {
    tunnel_name: Option<String>,
}

/// The name an agent gets.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RenameBody {
    display_name: Option<String>,
}

/// The hostnames an agent may claim; none: any.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LimitBody {
    hostname_patterns: Option<Patterns>,
}

/// `GET /api/v2/agents`: agents by id, and keys by key id.
#[utoipa::path(get, path = "/api/v2/agents", tag = "agents", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn list(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    listings::json(|mut out| async move {
        out.text("{");
        records::write_agents_and_keys(&state, &mut out).await?;
        out.text("}");
        Ok(out)
    })
    .await
}

/// `POST /api/v2/agents/{id}/enroll`: gives the agent a tunnel.
#[utoipa::path(post, path = "/api/v2/agents/{id}/enroll", tag = "agents", params(("id" = String, Path)),
    request_body = EnrollBody, responses((status = 200), (status = 400), (status = 401), (status = 404),
        (status = 409), (status = 502)), security(("admin_token" = [])))]
pub async fn enroll(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<EnrollBody>,
) -> Result<HttpResponse, ApiError> {
    let name = filled(body.0.tunnel_name, "tunnel_name")?;
    let enrolled = state.master().enroll(&agent_id(&id)?, &name, &operator.name).await?;
    let message = match enrolled.created {
        true => "Agent enrolled and command queued.",
        false => "Agent is enrolled with this tunnel already.",
    };
    let mut body = answer::success(message);
    body["command"] = json!(wire_form(&enrolled.command.kind, None));
    Ok(HttpResponse::Ok().json(body))
}

/// `POST /api/v3/agents/{id}/approve`: says yes to an agent without a tunnel: it is looked after, and publishes nothing.
#[utoipa::path(post, path = "/api/v3/agents/{id}/approve", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn approve(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    state.master().approve(&agent_id(&id)?, &operator.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("Agent approved; its host is looked after for updates.")))
}

/// `POST /api/v3/agents/{id}/scan`: has the agent look at its host for updates now.
#[utoipa::path(post, path = "/api/v3/agents/{id}/scan", tag = "updates", params(("id" = String, Path)),
    responses((status = 202), (status = 400), (status = 401), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn scan(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let command = state.master().scan_now(&agent_id(&id)?, &operator.name).await?;
    let mut body = answer::success("The agent is told to look at its host.");
    body["command_id"] = json!(command.id);
    Ok(HttpResponse::Accepted().json(body))
}

/// `POST /api/v3/agents/{id}/connector-log`: asks the agent for the last lines that its connector wrote.
#[utoipa::path(post, path = "/api/v3/agents/{id}/connector-log", tag = "agents", params(("id" = String, Path)),
    responses((status = 202), (status = 400), (status = 401), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn ask_for_connector_log(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    let command = state.master().ask_for_connector_log(&agent_id(&id)?, &operator.name).await?;
    let mut body = answer::success("The agent is asked for the last lines of its connector.");
    body["command_id"] = json!(command.id);
    Ok(HttpResponse::Accepted().json(body))
}

/// Returns the newest command that asked an agent for the log of its connector.
pub async fn newest_connector_log(state: &WebState, agent: &AgentId) -> Result<Option<Command>, ApiError> {
    let action = Some(CommandKind::ConnectorLog.action().to_owned());
    let filter = CommandFilter { agent: Some(agent.clone()), action, ..CommandFilter::default() };
    let newest = read::list_newest_commands(&state.master().db, &filter, 1).await;
    let (newest, _) = newest.map_err(ApiError::internal)?;
    Ok(newest.into_iter().next().map(|row| row.command))
}

/// `GET /api/v3/agents/{id}/connector-log`: what it answered last, if it did.
#[utoipa::path(get, path = "/api/v3/agents/{id}/connector-log", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn connector_log(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    if state.master().directory.slot(&id).is_none() {
        return Err(MasterError::AgentNotFound(id).into());
    }
    let asked = newest_connector_log(&state, &id).await?;
    let told = asked.as_ref().and_then(|command| command.outcome.as_ref());
    let (lines, reason) = match told {
        Some(told) if told.succeeded => (told.message.lines().collect(), None),
        Some(told) => (Vec::new(), Some(told.message.as_str())),
        None => (Vec::new(), None),
    };
    Ok(HttpResponse::Ok().json(json!({
        "command_id": asked.as_ref().map(|command| &command.id),
        "status": asked.as_ref().map_or("not_asked", |command| command.status.as_str()),
        "lines": lines,
        "reason": reason,
        "at": told.and_then(|told| told.finished_at),
    })))
}

/// `POST /api/v2/agents/{id}/redeploy-tunnel`: replaces the agent's connector.
#[utoipa::path(post, path = "/api/v2/agents/{id}/redeploy-tunnel", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn redeploy(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().redeploy(&agent_id(&id)?, &operator.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("Tunnel redeploy command queued successfully.")))
}

/// `POST /api/v2/agents/{id}/rename`.
#[utoipa::path(post, path = "/api/v2/agents/{id}/rename", tag = "agents", params(("id" = String, Path)),
    request_body = RenameBody, responses((status = 200), (status = 400), (status = 401), (status = 404)),
    security(("admin_token" = [])))]
pub async fn rename(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<RenameBody>,
) -> Result<HttpResponse, ApiError> {
    let name = filled(body.0.display_name, "display_name")?;
    state.master().rename(&agent_id(&id)?, &name, &operator.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("Agent renamed.")))
}

/// `POST /api/v2/agents/{id}/remove`: stops the tunnel, withdraws the routes, revokes the key.
#[utoipa::path(post, path = "/api/v2/agents/{id}/remove", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn remove(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let removed = state.master().remove(&agent_id(&id)?, &admin.name).await?;
    let mut message = "Agent removed; its routes are being withdrawn and its tunnel stopped.".to_owned();
    if let Some(LeftTunnel { name, is_to_go }) = &removed.tunnel {
        message.push_str(&match is_to_go {
            true => {
                format!(" Tunnel `{name}` was made for it, and is deleted once no connector is connected.")
            }
            false => format!(" Tunnel `{name}` was there before, and is kept."),
        });
    }
    let mut body = answer::success(&message);
    // Records go as the routes do, and a tunnel of our making after them: nothing of it is deleted here and now.
    body["cleanup"] = json!({
        "tunnel_deleted": false, "dns_records_deleted": 0, "rules_removed": removed.rules_removed,
        "tunnel": removed.tunnel.as_ref().map(|tunnel| &tunnel.name),
        "tunnel_will_be_deleted": removed.tunnel.as_ref().is_some_and(|tunnel| tunnel.is_to_go),
    });
    Ok(HttpResponse::Ok().json(body))
}

/// `POST /api/v2/agents/{id}/roll-key`: a new key; the old one works until the new one is used.
#[utoipa::path(post, path = "/api/v2/agents/{id}/roll-key", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, description = "the key, shown once"), (status = 401), (status = 404)),
    security(("admin_token" = [])))]
pub async fn roll_key(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let key = state.master().roll_key(&agent_id(&id)?, &admin.name).await?;
    let mut body =
        answer::success("New key made; the old one works until the agent registers with the new one.");
    body["new_key"] = json!(key.raw.expose_secret());
    body["key_id"] = json!(key.key_id);
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body))
}

/// `POST /api/v3/agents/{id}/move`: moves its names to its new tunnel, although no connector was seen there.
#[utoipa::path(post, path = "/api/v3/agents/{id}/move", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn move_names(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    state.master().move_names(&agent_id(&id)?, &operator.name).await?;
    Ok(HttpResponse::Ok()
        .json(json!({ "message": "The names of the agent are in its new tunnel, or on their way." })))
}

/// `POST /api/v3/agents/{id}/revoke`: the agent is not heard until it comes with a new key.
#[utoipa::path(post, path = "/api/v3/agents/{id}/revoke", tag = "agents", params(("id" = String, Path)),
    responses((status = 200), (status = 400), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn revoke(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: NoBody,
) -> Result<HttpResponse, ApiError> {
    state.master().revoke(&agent_id(&id)?, &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `POST /api/v3/agents/{id}/limit`: the agent may claim these hostnames only, beside what its key permits.
#[utoipa::path(post, path = "/api/v3/agents/{id}/limit", tag = "agents", params(("id" = String, Path)),
    request_body = LimitBody, responses((status = 200), (status = 400), (status = 401), (status = 404)),
    security(("admin_token" = [])))]
pub async fn limit(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<LimitBody>,
) -> Result<HttpResponse, ApiError> {
    // Left out by mistake it must not lift a limit: an empty list does.
    let patterns = body.0.hostname_patterns.ok_or_else(|| missing("hostname_patterns"))?;
    state.master().limit(&agent_id(&id)?, patterns.list(), &admin.name).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// Reads an agent's id from a path; one that cannot be an id is one that nobody has.
pub fn agent_id(text: &str) -> Result<AgentId, ApiError> {
    AgentId::parse(text).map_err(|_| ApiError::AgentNotFound)
}

fn filled(text: Option<String>, field: &str) -> Result<String, ApiError> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.ok_or_else(|| missing(field))
}

/// Says that a field was left out.
pub fn missing(field: &str) -> ApiError {
    ApiError::Invalid(format!("`{field}` is missing"))
}
