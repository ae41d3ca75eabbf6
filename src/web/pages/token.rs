//! The token for Cloudflare: how the last look at it came out, and the button that looks again.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::posted::{Nothing, Posted};
use super::view::{Badge, Moment, badge};
use super::{Allowed, SignedIn, go_to, part};
use crate::domain::doctor::{Check, Verdict};
use crate::web::api::doctor::look_now;
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

#[derive(Template)]
#[template(path = "token_check.html")]
struct TokenCard {
    csrf: String,
    looked: Option<Moment>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    state: Badge,
    detail: String,
    way_out: Option<String>,
}

/// Renders what is known; asks nobody.
pub(super) fn render(person: &SignedIn, state: &WebState) -> Result<String, ApiError> {
    let (last, now) = (state.token_check().last(), state.master().clock.now());
    part(&TokenCard {
        csrf: person.session.csrf.clone(),
        looked: last.as_ref().map(|looked| Moment::of(looked.at, now)),
        lines: last.map(|looked| looked.checks.into_iter().map(line).collect()).unwrap_or_default(),
    })
}

fn line(check: Check) -> Line {
    let tone = match check.verdict {
        Verdict::Fine => "good",
        Verdict::NotChecked => "warn",
        Verdict::Problem => "bad",
    };
    let state = badge(tone, check.verdict.words());
    Line { name: check.name, state, detail: check.detail, way_out: check.way_out }
}

/// `POST /system/check-token`: looks at the token and its rights now.
#[utoipa::path(post, path = "/system/check-token", tag = "pages", responses((status = 303), (status = 403)),
    security(("session" = [])))]
pub async fn check(
    Allowed(_person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    look_now(&state).await?;
    Ok(go_to("/system#token"))
}
