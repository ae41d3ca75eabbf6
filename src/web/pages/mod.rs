//! What people see: server-rendered pages that refresh their live part when something changes.
//!
//! Every page works without scripts; every form carries its session's token. Nothing here decides anything.

pub mod access;
pub mod activity;
pub mod adopt;
pub mod agent;
pub mod agent_actions;
pub mod agent_plan;
pub mod agents;
pub mod api_docs;
pub mod cloudflare;
mod confirm;
pub mod deploy;
mod filter;
mod host_card;
pub mod keys;
pub mod live;
pub mod notifications;
pub mod overview;
pub mod plans;
pub mod posted;
pub mod registries;
pub mod routes;
pub mod rule;
pub mod run;
pub mod runs;
pub mod search;
pub mod set_up;
pub mod sign_in;
pub mod story;
pub mod system;
pub mod token;
pub mod tokens;
mod truth;
pub mod update;
pub mod updates;
pub mod view;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use askama::Template;

use super::assets;
use super::auth::{Needs, at_least};
use super::credential::Credential;
use super::error::ApiError;
use super::route::Caller;
use super::session::Session;
use super::state::state;
use crate::domain::role::Role;
use view::Badge;

/// Scripts, styles and connections of our own only; no frames, no inline anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every page shows around its content.
pub struct Shell {
    style: String,
    htmx: String,
    sse: String,
    script: String,
    icon: String,
    version: &'static str,
    user: Option<String>,
    csrf: String,
    here: &'static str,
    notice: Option<Badge>,
    /// What is looked for.
    find: String,
}

/// An entry of the menu.
pub struct Entry {
    title: &'static str,
    href: &'static str,
    here: bool,
}

impl Shell {
    /// For a signed-in person on one of the pages of the menu.
    pub fn new(person: &SignedIn, here: &'static str) -> Self {
        Self::around(Some(person.name.clone()), &person.session, here)
    }

    /// For a visitor.
    pub fn visitor(session: &Session) -> Self {
        Self::around(None, session, "")
    }

    fn around(user: Option<String>, session: &Session, here: &'static str) -> Self {
        Self {
            style: assets::address("lightship.css"),
            htmx: assets::address("vendor/htmx-2.0.11.min.js"),
            sse: assets::address("vendor/htmx-ext-sse-2.2.4.min.js"),
            script: assets::address("lightship.js"),
            icon: assets::address("lightship.svg"),
            version: env!("CARGO_PKG_VERSION"),
            user,
            csrf: session.csrf.clone(),
            here,
            notice: None,
            find: String::new(),
        }
    }

    /// Shows again what was looked for.
    pub fn looking_for(mut self, text: &str) -> Self {
        text.clone_into(&mut self.find);
        self
    }

    /// Adds a line above the content.
    pub fn with_notice(mut self, tone: &'static str, word: impl Into<String>) -> Self {
        self.notice = Some(Badge { tone, word: word.into() });
        self
    }

    fn menu(&self) -> Vec<Entry> {
        let pages = [
            ("Overview", "/"),
            ("Agents", "/agents"),
            ("Routes", "/routes"),
            ("Access", "/access"),
            ("Cloudflare", "/cloudflare"),
            ("Updates", "/updates"),
            ("History", "/runs"),
            ("Notifications", "/notifications"),
            ("Activity", "/activity"),
            ("Settings", "/settings"),
            ("System", "/system"),
        ];
        pages.into_iter().map(|(title, href)| Entry { title, href, here: href == self.here }).collect()
    }
}

/// A person with a session; others are sent to sign in, or to set up if nobody can sign in yet.
pub struct SignedIn {
    /// Who.
    pub name: String,
    /// The session.
    pub session: Session,
}

/// A person with a session who may do what `N` may.
pub struct Allowed<N>(pub SignedIn, PhantomData<N>);

impl Caller for SignedIn {}
impl<N> Caller for Allowed<N> {}

impl FromRequest for SignedIn {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move { admit(&req, Role::Viewer).await })
    }
}

impl<N: Needs> FromRequest for Allowed<N> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move { admit(&req, N::ROLE).await.map(|person| Self(person, PhantomData)) })
    }
}

/// Lets in a person with a session; the admin token and the admin socket are for the API.
async fn admit(req: &HttpRequest, needed: Role) -> Result<SignedIn, actix_web::Error> {
    match Credential::in_cookie(req).await? {
        Credential::Browser(browser) => {
            at_least(browser.role, needed)?;
            Ok(SignedIn { name: browser.name, session: browser.session })
        }
        Credential::Nobody
        | Credential::UnknownToken
        | Credential::AgentKey(_)
        | Credential::AgentAccess(_)
        | Credential::Person(_)
        | Credential::AdminToken
        | Credential::LocalSocket => Err(go_and_sign_in(req).await?.into()),
    }
}

async fn go_and_sign_in(req: &HttpRequest) -> Result<NotSignedIn, ApiError> {
    let db = &state(req).master().db;
    let to = match crate::db::read::has_admin(db).await.map_err(ApiError::internal)? {
        true => format!(
            "/login?next={}",
            url::form_urlencoded::byte_serialize(next_of(req).as_bytes()).collect::<String>()
        ),
        false => "/setup".to_owned(),
    };
    Ok(NotSignedIn { to, from_script: req.headers().contains_key("hx-request") })
}

/// Where to come back to after signing in: only for pages that were asked for as pages.
fn next_of(req: &HttpRequest) -> &str {
    let is_page = req.method() == actix_web::http::Method::GET
        && !req.path().starts_with("/fragments")
        && req.path() != "/live";
    if is_page { req.path() } else { "/" }
}

/// Nobody is signed in at this browser: it goes elsewhere first.
#[derive(Debug, thiserror::Error)]
#[error("not signed in")]
struct NotSignedIn {
    /// Where.
    to: String,
    /// True if a script asked: it has to be told in a header.
    from_script: bool,
}

impl ResponseError for NotSignedIn {
    fn status_code(&self) -> StatusCode {
        if self.from_script { StatusCode::NO_CONTENT } else { StatusCode::SEE_OTHER }
    }

    fn error_response(&self) -> HttpResponse {
        let name = if self.from_script { "hx-redirect" } else { "location" };
        HttpResponse::build(self.status_code()).insert_header((name, self.to.as_str())).finish()
    }
}

/// Renders a page with the headers that every page has.
pub fn page(template: &impl Template) -> Result<HttpResponse, ApiError> {
    page_with(StatusCode::OK, template)
}

/// Renders a page with another status.
pub fn page_with(status: StatusCode, template: &impl Template) -> Result<HttpResponse, ApiError> {
    let text = template.render().map_err(ApiError::internal)?;
    let mut answer = HttpResponse::build(status).content_type("text/html; charset=utf-8").body(text);
    protect(&mut answer);
    Ok(answer)
}

/// Renders a part of a page.
pub fn part(template: &impl Template) -> Result<String, ApiError> {
    template.render().map_err(ApiError::internal)
}

/// Sends the browser to another page after a form was carried out.
pub fn go_to(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

/// The headers that every page has, and every answer that people may open as one.
pub(super) const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Sets the headers that every page has.
pub(super) fn protect(answer: &mut HttpResponse) {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    title: &'a str,
    message: &'a str,
    style: String,
}

/// Renders the page that tells a person what went wrong.
pub fn failure(status: StatusCode, message: &str) -> String {
    let title = match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_server_error() => "Something went wrong",
        _ => "That did not work",
    };
    FailurePage { title, message, style: assets::address("lightship.css") }
        .render()
        .unwrap_or_else(|_| message.to_owned())
}
