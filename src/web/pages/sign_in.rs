//! Signing in and signing out.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::posted::{Nothing, Posted};
use super::{Shell, SignedIn, go_to, page_with};
use crate::db::read;
use crate::web::auth::Anyone;
use crate::web::credential::Credential;
use crate::web::error::ApiError;
use crate::web::password_check::{Refused, check};
use crate::web::query::Query;
use crate::web::session::{Device, Session, no_session};
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    name: String,
    next: String,
    problem: Option<String>,
}

const WRONG: &str = "Name or password is wrong.";
const BUSY: &str = "Too many are signing in at this moment. Try again in a few seconds.";

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// The sign-in form.
#[derive(Deserialize)]
pub struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`.
#[utoipa::path(get, path = "/login", tag = "pages", responses((status = 200)), security(()))]
pub async fn login(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    Query(query): Query<Next>,
) -> Result<HttpResponse, ApiError> {
    if matches!(Credential::in_cookie(&req).await?, Credential::Browser(_)) {
        return Ok(go_to(safe(&query.next)));
    }
    if !read::has_admin(&state.master().db).await.map_err(ApiError::internal)? {
        return Ok(go_to("/setup"));
    }
    let session = visit(&req, &state);
    let page = LoginPage {
        shell: Shell::visitor(&session),
        name: String::new(),
        next: query.next.clone(),
        problem: None,
    };
    with_session(page_with(StatusCode::OK, &page)?, &session, &state)
}

/// `POST /login`.
#[utoipa::path(post, path = "/login", tag = "pages", responses((status = 303), (status = 401), (status = 429)), security(()))]
pub async fn sign_in(
    _: Anyone,
    req: HttpRequest,
    state: web::Data<WebState>,
    form: Posted<Credentials>,
) -> Result<HttpResponse, ApiError> {
    let form = form.0;
    let device = Device::read(&req, &state.settings().cookie_key).filter(|device| device.name == form.name);
    let admin = match check(&req, &state, (&form.name, &form.password), device.as_ref()).await? {
        Ok(admin) => admin,
        Err(Refused::Wrong) => return refuse(&req, &state, form, StatusCode::UNAUTHORIZED, WRONG.into()),
        Err(Refused::TooMany { wait, proxy }) => {
            return refuse(&req, &state, form, StatusCode::TOO_MANY_REQUESTS, too_many(wait, proxy));
        }
        Err(Refused::Busy) => {
            return refuse(&req, &state, form, StatusCode::SERVICE_UNAVAILABLE, BUSY.into());
        }
    };
    open_session(&state, &admin.name, admin.session_version, device, safe(&form.next)).await
}

/// `POST /logout`.
#[utoipa::path(post, path = "/logout", tag = "pages", responses((status = 303)), security(("session" = [])))]
pub async fn sign_out(
    person: SignedIn,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    if let Some(id) = &person.session.id {
        state.master().end_session(id, &person.name).await?;
    }
    let mut answer = go_to("/login");
    // The cookie is well-formed, so adding it cannot fail.
    let _ = answer.add_cookie(&no_session(state.settings().secure_cookies));
    Ok(answer)
}

fn too_many(wait: Duration, proxy: Option<IpAddr>) -> String {
    let word = format!("Too many attempts. Try again in {} seconds.", wait.as_secs().max(1));
    match proxy {
        Some(proxy) => format!(
            "{word} This page came through `{proxy}`, which is not in `security.trusted_proxies`, so its visitors \
             cannot be told apart for certain."
        ),
        None => word,
    }
}

fn refuse(
    req: &HttpRequest,
    state: &WebState,
    form: Credentials,
    status: StatusCode,
    problem: String,
) -> Result<HttpResponse, ApiError> {
    let session = visit(req, state);
    let page = LoginPage {
        shell: Shell::visitor(&session),
        name: form.name,
        next: form.next,
        problem: Some(problem),
    };
    with_session(page_with(status, &page)?, &session, state)
}

/// The visitor's session; a new one for a new visitor.
pub(super) fn visit(req: &HttpRequest, state: &WebState) -> Session {
    let now = state.master().clock.now();
    Session::read(req, &state.settings().cookie_key, now).unwrap_or_else(|| Session {
        id: None,
        since: now,
        csrf: state.master().chance.key(),
    })
}

/// Signs in: a new session with a new token, so that nobody can have prepared it.
pub(super) async fn open_session(
    state: &WebState,
    name: &str,
    version: u32,
    device: Option<Device>,
    next: &str,
) -> Result<HttpResponse, ApiError> {
    let chance = &state.master().chance;
    let session = Session {
        id: Some(state.master().open_session(name, version).await?),
        since: state.master().clock.now(),
        csrf: chance.key(),
    };
    let device = device.unwrap_or_else(|| Device { name: name.to_owned(), id: chance.uuid().to_string() });
    let settings = state.settings();
    let mut answer = go_to(next);
    answer
        .add_cookie(&device.cookie(&settings.cookie_key, settings.secure_cookies))
        .map_err(ApiError::internal)?;
    with_session(answer, &session, state)
}

pub(super) fn with_session(
    mut answer: HttpResponse,
    session: &Session,
    state: &WebState,
) -> Result<HttpResponse, ApiError> {
    let cookie = session.cookie(&state.settings().cookie_key, state.settings().secure_cookies);
    answer.add_cookie(&cookie).map_err(ApiError::internal)?;
    Ok(answer)
}

/// A path of ours and nothing else.
fn safe(next: &str) -> &str {
    // Browsers leave out tabs and line ends, and take a backslash for a slash.
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_ours = is_plain && next.starts_with('/') && !next.starts_with("//");
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_paths_are_gone_to() {
        for (next, expected) in [
            ("/agents", "/agents"),
            ("", "/"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil", "/"),
            ("/\t/evil.example", "/"),
            ("/\u{b}/x", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("/ä", "/"),
            ("/routes?text=a%20b", "/routes?text=a%20b"),
        ] {
            assert_eq!(safe(next), expected, "{next:?}");
        }
    }
}
