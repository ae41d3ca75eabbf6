//! `/api/v2/agents/...` as DockFlare agents call it.
//!
//! A heartbeat is the hot path: it builds no tree of its body, crosses to no actor, and its answer is made
//! already.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::intake::{noted, read_apart};
use crate::actors::master::{Dialect, MasterError, RegisterInput, Slot};
use crate::domain::report::Report;
use crate::protocol::command::wire_form;
use crate::protocol::v2::{
    answer, decode_event, decode_register, register_response, with_key, with_order_key,
};
use crate::web::auth::{CallingAgent, Fetching, Registrant, Reporting, token_refused};
use crate::web::body::{JsonBytes, ReportBytes, SMALL};
use crate::web::error::ApiError;
use crate::web::records;
use crate::web::state::WebState;

const ACCEPTED: &[u8] = br#"{"message":"Event received and processed.","status":"success"}"#;
const NO_COMMANDS: &[u8] = br#"{"commands":[],"status":"success"}"#;
/// Most commands handed over at once; more stay queued for the next poll.
const MOST_COMMANDS: usize = 50;
/// Longest body that may be a bare heartbeat.
const HEARTBEAT_BYTES: usize = 256;

/// The body of a registration, for the description of the API.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body; `decode_register` reads it")]
pub struct RegisterBody {
    agent_id: Option<String>,
    display_name: Option<String>,
    hostname: Option<String>,
    version: Option<String>,
}

/// `POST /api/v2/agents/register`: an agent introduces itself.
#[utoipa::path(post, path = "/api/v2/agents/register", tag = "agent v2", request_body = RegisterBody,
    responses((status = 200, description = "known agent"),
        (status = 201, description = "new agent: pending, or let in by a registration token and given its key"),
        (status = 400), (status = 401), (status = 403), (status = 415)), security(("agent_key" = [])))]
pub async fn register(
    who: Registrant,
    req: HttpRequest,
    state: web::Data<WebState>,
    body: JsonBytes<SMALL>,
) -> Result<HttpResponse, ApiError> {
    let asked = decode_register(&body.0)?;
    let native = asked.is_native();
    let host = asked.lightship.and_then(|hello| hello.host);
    let input = RegisterInput {
        agent_id: asked.agent_id,
        display_name: asked.display_name,
        hostname: host.or(asked.hostname),
        version: asked.version,
        peer: state.source(&req),
        native,
    };
    let key = match who {
        Registrant::Key(key) => key,
        Registrant::Token(token) => return join(&req, &state, token, input).await,
    };
    let done = state.master().register(key, input).await?;
    let record = match (native, done.created) {
        (true, _) => records::native_record(&state, &done.agent_id),
        (false, true) => records::new_agent_record(&state, &done.agent_id).await?,
        (false, false) => records::agent_record(&state, &done.agent_id).await?,
    };
    let prefix = state.settings().label_prefix.as_deref();
    let answer = register_response(&done.agent_id, record, done.session.as_deref(), prefix);
    let answer = with_order_key(answer, state.master().directory.order_key().as_ref());
    Ok(if done.created { HttpResponse::Created() } else { HttpResponse::Ok() }.json(answer))
}

/// One of ours registers with a registration token: the answer carries its key, once.
async fn join(
    req: &HttpRequest,
    state: &WebState,
    token: SecretString,
    input: RegisterInput,
) -> Result<HttpResponse, ApiError> {
    if !input.native {
        // It could not keep a key that it is given.
        return Err(token_refused(req, MasterError::TokenRefused.into()));
    }
    let joined = state.master().join(token, input, Dialect::Native).await;
    let joined = joined.map_err(|error| token_refused(req, error.into()))?;
    let record = records::native_record(state, &joined.agent_id);
    let prefix = state.settings().label_prefix.as_deref();
    let key = joined.key.as_ref();
    let answer = register_response(&joined.agent_id, record, joined.session.as_deref(), prefix);
    let answer = with_order_key(answer, state.master().directory.order_key().as_ref());
    let mut answer = no_store(HttpResponse::Created().json(with_key(answer, key)));
    if !joined.created {
        *answer.status_mut() = StatusCode::OK;
    }
    Ok(answer)
}

/// `GET /api/v2/agents/{id}/commands`: hands over what is queued, without acknowledgement.
#[utoipa::path(get, path = "/api/v2/agents/{id}/commands", tag = "agent v2", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404)), security(("agent_key" = [])))]
pub async fn commands(
    agent: CallingAgent<Fetching>,
    state: web::Data<WebState>,
) -> Result<HttpResponse, ApiError> {
    if !agent.slot.pending_commands() {
        return Ok(ready_made(HttpResponse::Ok().finish(), NO_COMMANDS));
    }
    let leased = state.master().lease_commands(agent.slot.id(), MOST_COMMANDS, Dialect::V2).await?;
    let forms = leased.iter().map(|one| wire_form(&one.command.kind, one.token.as_ref())).collect();
    Ok(no_store(HttpResponse::Ok().json(answer::commands(forms))))
}

/// `HEAD` of the same: takes nothing from the queue.
pub async fn commands_head(_agent: CallingAgent<Fetching>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").finish()
}

/// `POST /api/v2/agents/{id}/events`: takes in one event; answers after the commit.
#[utoipa::path(post, path = "/api/v2/agents/{id}/events", tag = "agent v2", params(("id" = String, Path)),
    request_body = Object, responses((status = 202), (status = 400), (status = 401), (status = 403),
        (status = 404), (status = 413), (status = 415), (status = 503)), security(("agent_key" = [])))]
pub async fn events(
    agent: CallingAgent<Reporting>,
    state: web::Data<WebState>,
    body: Result<ReportBytes, ApiError>,
) -> Result<HttpResponse, ApiError> {
    if !body.as_ref().is_ok_and(|body| is_heartbeat(&body.0)) {
        // Boxed, so that a heartbeat's future is small.
        let taken = Box::pin(take_event(&agent.slot, &state, body)).await;
        noted(&agent.slot, taken)?;
    }
    Ok(ready_made(HttpResponse::Accepted().finish(), ACCEPTED))
}

/// Takes in an event; says whether it was a list of containers.
async fn take_event(
    slot: &Slot,
    state: &WebState,
    body: Result<ReportBytes, ApiError>,
) -> Result<((), bool), ApiError> {
    let event = read_apart(body?.0, decode_event).await?;
    let is_list = matches!(event.report, Report::Snapshot { .. });
    state.master().report(slot.id(), vec![event.report]).await?;
    if let Some(ignored) = event.ignored {
        slot.report_flawed(format!(
            "Not all of its last report was understood, so what is shown here may be old: {ignored}."
        ));
    }
    Ok(((), is_list))
}

/// True for a body that is a heartbeat and nothing else; everything odd takes the long way.
fn is_heartbeat(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Heartbeat<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(default, rename = "timestamp")]
        _timestamp: Option<&'a str>,
    }
    body.len() <= HEARTBEAT_BYTES
        && serde_json::from_slice::<Heartbeat<'_>>(body)
            .is_ok_and(|event| matches!(event.kind, "heartbeat" | "hello"))
}

fn ready_made(mut answer: HttpResponse, body: &'static [u8]) -> HttpResponse {
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.set_body(Bytes::from_static(body)).map_into_boxed_body()
}

/// Marks an answer that carries a secret, so that nothing on the way keeps it.
pub(super) fn no_store(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_heartbeat_takes_the_short_way() {
        let cases = [
            (r#"{"type":"heartbeat","timestamp":"2026-11-21T21:01:14.030665+00:00"}"#, true),
            (r#"{"type":"hello"}"#, true),
            (r#"{"timestamp":null,"type":"heartbeat"}"#, true),
            (r#"{"type":"heartbeat","container":{}}"#, false),
            (r#"{"type":"heartbeat","x":[[[]]]}"#, false),
            (r#"{"type":"status_report"}"#, false),
            (r#"{"type":5}"#, false),
            (r#"{"type":"heartbeat"} x"#, false),
            ("{}", false),
        ];
        for (body, expected) in cases {
            assert_eq!(is_heartbeat(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_ready_answers_are_what_the_protocol_says() {
        let accepted: serde_json::Value = serde_json::from_slice(ACCEPTED).unwrap();
        assert_eq!(accepted, answer::success(answer::EVENT_ACCEPTED));
        let none: serde_json::Value = serde_json::from_slice(NO_COMMANDS).unwrap();
        assert_eq!(none, answer::commands(Vec::new()));
    }
}
