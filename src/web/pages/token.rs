//! The token for Cloudflare: how the last look at it came out, the button that looks again, and the form that takes another.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use secrecy::SecretString;
use serde::Deserialize;

use super::posted::{Nothing, Posted, Refusal};
use super::view::{Badge, Moment, badge};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part};
use crate::domain::doctor::{Check, Verdict};
use crate::web::api::doctor::{keep_look, look_now};
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Where the page is.
const PLACE: &str = "/settings";

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    token: String,
}

#[derive(Template)]
#[template(path = "token_check.html")]
struct TokenCard {
    csrf: String,
    /// Where the token is from, in words.
    from: &'static str,
    /// True if it is taken on this page.
    is_taken_here: bool,
    is_set: bool,
    account: String,
    looked: Option<Moment>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    state: Badge,
    detail: String,
    way_out: Option<String>,
}

/// What a person writes; the token is not shown again.
#[derive(Default, Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    account_id: String,
    #[serde(default)]
    token: SecretString,
}

/// `GET /settings`.
#[utoipa::path(get, path = "/settings", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACE);
    show_with(&person, &state, (StatusCode::OK, shell), String::new()).await
}

/// Shows the page, with the account that was written into its form.
async fn show_with(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    account: String,
) -> Result<HttpResponse, ApiError> {
    page_with(status, &SettingsPage { shell, token: card(person, state, account).await? })
}

/// What is known; nobody is asked.
async fn card(person: &SignedIn, state: &WebState, written: String) -> Result<String, ApiError> {
    let (last, now, master) = (state.token_check().last(), state.master().clock.now(), state.master());
    let known = || async { Some(master.cloudflare_view().await?.account.to_string()) };
    let account = match written.is_empty() {
        true => known().await.or_else(|| state.settings().account_id.clone()).unwrap_or_default(),
        false => written,
    };
    let (is_set, is_taken_here) = (master.has_cloudflare(), master.takes_cloudflare_token());
    part(&TokenCard {
        csrf: person.session.csrf.clone(),
        from: match (is_set, is_taken_here) {
            (true, true) => {
                "It was given here, and is kept sealed. Another one for the same account takes its place at once."
            }
            (true, false) => "It is given by CF_API_TOKEN, and changed there.",
            (false, true) => "There is none yet: routes are planned and not published.",
            (false, false) => {
                "There is none: routes are planned and not published. Set CF_API_TOKEN and CF_ACCOUNT_ID and start the master again."
            }
        },
        is_taken_here,
        is_set,
        account,
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

/// `POST /settings/check-token`: looks at the token and its rights now.
#[utoipa::path(post, path = "/settings/check-token", tag = "pages", responses((status = 303), (status = 403)),
    security(("session" = [])))]
pub async fn check(
    Allowed(_person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    look_now(&state).await?;
    Ok(go_to("/settings#token"))
}

/// `POST /settings/token`: looks at a token, keeps it if something can be done with it, and publishes with it from then on.
#[utoipa::path(post, path = "/settings/token", tag = "pages", responses((status = 303), (status = 400), (status = 403)),
    security(("session" = [])))]
pub async fn take(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    form: Posted<TokenForm>,
) -> Result<HttpResponse, ApiError> {
    let TokenForm { account_id, token } = form.0;
    match state.master().take_cloudflare_token(&account_id, token, &person.name).await {
        Ok(facts) => {
            keep_look(&state, facts).await?;
            Ok(go_to("/settings#token"))
        }
        Err(error) => {
            let refusal = Refusal::of(error)?.shell(&person, PLACE);
            show_with(&person, &state, refusal, account_id).await
        }
    }
}
