//! Groups of Access: who may reach what is published.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use crate::actors::master::MasterError;
use crate::domain::access;
use crate::domain::id::GroupId;
use crate::protocol::v2::answer;
use crate::web::access_groups::{GroupView, read_group, read_groups};
use crate::web::auth::{Admin, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters, flag};
use crate::web::state::WebState;

/// How a group is removed.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Removal {
    /// `true`: it goes although routes ask for it, and nobody reaches those any more.
    close_routes: Option<String>,
}

/// `GET /api/v3/access/groups`: every group with whom it lets in, who set it, and the routes that ask for it.
#[utoipa::path(get, path = "/api/v3/access/groups", tag = "access",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let groups: Vec<Value> = read_groups(&state).await?.iter().map(GroupView::record).collect();
    Ok(HttpResponse::Ok().json(json!({ "groups": groups })))
}

/// `GET /api/v3/access/groups/{id}`: one of them.
#[utoipa::path(get, path = "/api/v3/access/groups/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn show(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(read_group(&state, &id).await?.record()))
}

/// `PUT /api/v3/access/groups/{id}`: makes a group, or puts it in the place of the one that has its id. What asks for it is
/// protected by it from then on.
#[utoipa::path(put, path = "/api/v3/access/groups/{id}", tag = "access", params(("id" = String, Path)), request_body = Value,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 409)),
    security(("admin_token" = [])))]
pub async fn set(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    body: Lenient<Value>,
) -> Result<HttpResponse, ApiError> {
    let id = GroupId::parse(&id).map_err(|bad| ApiError::Invalid(bad.to_string()))?;
    let group = access::read_group(Some(&id), body.0).map_err(|wrong| ApiError::Invalid(wrong.join("; ")))?;
    state.master().set_group(group, &admin.name).await?;
    Ok(HttpResponse::Ok().json(read_group(&state, id.as_str()).await?.record()))
}

/// `DELETE /api/v3/access/groups/{id}`: removes a group; while routes ask for it only if they are closed with it.
#[utoipa::path(delete, path = "/api/v3/access/groups/{id}", tag = "access", params(("id" = String, Path), Removal),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn remove(
    admin: Admin,
    state: web::Data<WebState>,
    id: web::Path<String>,
    KnownQuery(asked): KnownQuery<Removal>,
) -> Result<HttpResponse, ApiError> {
    let close_routes = flag("close_routes", asked.close_routes.as_deref())?;
    let id = GroupId::parse(&id).map_err(|_| MasterError::GroupNotFound)?;
    state.master().remove_group(&id, close_routes, &admin.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The group is removed.")))
}
