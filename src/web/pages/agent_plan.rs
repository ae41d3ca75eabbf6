//! What a host is asked from its own page.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::plans::{Asked, ask};
use super::posted::{Posted, ticked};
use super::{Allowed, agent};
use crate::web::api::agents::agent_id;
use crate::web::api::plan_asks::PlanBody;
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// What a host is asked from its own page.
#[derive(Debug, Deserialize)]
pub struct HostAsk {
    what: String,
    #[serde(default, deserialize_with = "ticked")]
    restart_services: bool,
}

/// `POST /agents/{id}/plan`: asks a host what installing everything, or what mends holes, would change.
#[utoipa::path(post, path = "/agents/{id}/plan", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 400), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn ask_host(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<HostAsk>,
) -> Result<HttpResponse, ApiError> {
    let id = agent_id(&id)?;
    let HostAsk { what, restart_services } = form.0;
    let body = PlanBody {
        agents: Some(vec![id.to_string()]),
        what: Some(what),
        restart_services: Some(restart_services),
        ..PlanBody::default()
    };
    match ask(&person, &state, body).await? {
        Asked::Done(answer) => Ok(answer),
        Asked::Refused(refusal) => {
            agent::show_refused(&person, &state, &id, refusal, agent::Fields::default()).await
        }
    }
}
