//! What a person does to an agent.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::confirm::{Confirmation, REDEPLOY, REMOVE, REVOKE_KEY};
use super::posted::Posted;
use super::{SignedIn, go_to};
use crate::web::api::agents::agent_id;
use crate::web::auth::{Role, at_least};
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Which tunnel.
#[derive(Deserialize)]
pub struct EnrollForm {
    tunnel_name: String,
}

/// Which name.
#[derive(Deserialize)]
pub struct RenameForm {
    display_name: String,
}

/// `POST /agents/{id}/enroll`.
#[utoipa::path(post, path = "/agents/{id}/enroll", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409), (status = 502)), security(("session" = [])))]
pub async fn enroll(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<EnrollForm>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    state.master().enroll(&agent_id(&id)?, form.0.tunnel_name.trim(), &person.name).await?;
    Ok(go_to(&format!("/agents/{id}")))
}

/// `POST /agents/{id}/rename`.
#[utoipa::path(post, path = "/agents/{id}/rename", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn rename(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<RenameForm>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    state.master().rename(&agent_id(&id)?, form.0.display_name.trim(), &person.name).await?;
    Ok(go_to(&format!("/agents/{id}")))
}

/// `POST /agents/{id}/redeploy`: replaces the connector.
#[utoipa::path(post, path = "/agents/{id}/redeploy", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn redeploy(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Operator)?;
    let (id, here) = (agent_id(&id)?, format!("/agents/{id}"));
    if !form.0.is_given() {
        return REDEPLOY.ask(&person, format!("{here}/redeploy"), &here);
    }
    state.master().redeploy(&id, &person.name).await?;
    Ok(go_to(&here))
}

/// `POST /agents/{id}/revoke`: the agent is not heard until it has a new key.
#[utoipa::path(post, path = "/agents/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn revoke(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let (id, here) = (agent_id(&id)?, format!("/agents/{id}"));
    if !form.0.is_given() {
        return REVOKE_KEY.ask(&person, format!("{here}/revoke"), &here);
    }
    state.master().revoke(&id, &person.name).await?;
    Ok(go_to(&here))
}

/// `POST /agents/{id}/remove`: stops the tunnel, withdraws the routes, revokes the key.
#[utoipa::path(post, path = "/agents/{id}/remove", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn remove(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    at_least(person.role, Role::Admin)?;
    let (id, here) = (agent_id(&id)?, format!("/agents/{id}"));
    if !form.0.is_given() {
        return REMOVE.ask(&person, format!("{here}/remove"), &here);
    }
    state.master().remove(&id, &person.name).await?;
    Ok(go_to("/agents"))
}
