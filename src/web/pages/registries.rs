//! Whose account the master has at which registry: listed without passwords, forgotten.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::confirm::{Confirmation, REMOVE_LOGIN};
use super::overview::fragment_of;
use super::posted::Posted;
use super::{Allowed, SignedIn, go_to, part};
use crate::db::read::list_registry_logins;
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Where the logins are.
const PLACE: &str = "/system";

#[derive(Template)]
#[template(path = "registries_live.html")]
struct Live {
    csrf: String,
    logins: Vec<LoginLine>,
}

struct LoginLine {
    registry: String,
    account: String,
    set: String,
}

/// Renders the list of logins.
pub(super) async fn render(person: &SignedIn, state: &WebState) -> Result<String, ApiError> {
    let rows = list_registry_logins(&state.master().db).await.map_err(ApiError::internal)?;
    let line = |row: crate::db::read::RegistryLoginRow| LoginLine {
        set: format!("{} by {}", row.set_at.format("%Y-%m-%d %H:%M UTC"), row.set_by),
        registry: row.registry,
        account: row.account,
    };
    part(&Live { csrf: person.session.csrf.clone(), logins: rows.into_iter().map(line).collect() })
}

/// `GET /fragments/registries`: the list, which is live; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/registries", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state).await?))
}

/// `POST /registries/logins/{registry}/remove`: forgets it.
#[utoipa::path(post, path = "/registries/logins/{registry}/remove", tag = "pages", params(("registry" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404)), security(("session" = [])))]
pub async fn remove(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    registry: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    if !form.0.is_given() {
        return REMOVE_LOGIN.ask(&person, &format!("/registries/logins/{registry}"), PLACE);
    }
    state.master().remove_registry_login(&registry, &person.name).await?;
    Ok(go_to(PLACE))
}
