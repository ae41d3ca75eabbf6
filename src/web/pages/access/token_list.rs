//! The service tokens of the account, as the page lists them.

use std::time::Duration;

use askama::Template;
use chrono::{DateTime, Utc};
use url::form_urlencoded::byte_serialize;

use crate::actors::master::MasterError;
use crate::domain::access::TOKEN_DURATION;
use crate::web::error::ApiError;
use crate::web::pages::part;
use crate::web::pages::view::{Badge, Moment, badge};
use crate::web::service_tokens::{TokenView, read_tokens};
use crate::web::state::WebState;

/// How long the page waits for Cloudflare.
const PATIENCE: Duration = Duration::from_secs(4);
/// A token that ends so soon is to be replaced.
const SOON: chrono::TimeDelta = chrono::TimeDelta::days(14);

#[derive(Template)]
#[template(path = "service_tokens.html")]
struct TokensPart<'a> {
    csrf: &'a str,
    lines: Vec<TokenLine>,
    /// Why nobody knows which there are.
    unknown: Option<String>,
    /// True if one can be made.
    can_make: bool,
    duration: &'static str,
}

/// A token as the list shows it.
struct TokenLine {
    id: String,
    /// The id as a part of an address.
    place: String,
    name: String,
    client_id: String,
    state: Badge,
    expires: Option<String>,
    seen: Option<Moment>,
    groups: Vec<String>,
}

impl TokenLine {
    fn of(view: &TokenView, now: DateTime<Utc>) -> Self {
        let token = &view.token;
        let state = match token.expires_at {
            _ if view.is_expired => badge("bad", "expired"),
            Some(at) if at - now <= SOON => badge("warn", "ends soon"),
            _ => badge("good", "good"),
        };
        Self {
            place: in_path(token.id.as_str()),
            id: token.id.to_string(),
            name: token.name.clone(),
            client_id: token.client_id.clone(),
            state,
            expires: token.expires_at.map(day),
            seen: token.last_seen_at.map(|at| Moment::of(at, now)),
            groups: view.groups.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Returns the part of the page that lists them. Cloudflare may be slow or away: then it says so.
pub(super) async fn render(csrf: &str, state: &WebState) -> Result<String, ApiError> {
    let now = state.master().clock.now();
    let (lines, unknown) = match read_tokens(state, PATIENCE).await {
        Ok(views) => (views.iter().map(|view| TokenLine::of(view, now)).collect(), None),
        Err(ApiError::Master(MasterError::Busy)) => (
            Vec::new(),
            Some("Cloudflare did not say in time which there are; load the page again".to_owned()),
        ),
        Err(ApiError::Master(error)) => (Vec::new(), Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let can_make = state.master().has_cloudflare();
    part(&TokensPart { csrf, lines, unknown, can_make, duration: TOKEN_DURATION })
}

/// A moment at which a token ends.
pub(super) fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// An id is Cloudflare's word and one part of a path, whatever it holds.
pub(super) fn in_path(id: &str) -> String {
    byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20")
}
