//! What others made at Cloudflare and what names here could have: what would differ if it was made ours, and the button for it.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::posted::Posted;
use super::view::count;
use super::{Allowed, Shell, SignedIn, page};
use crate::domain::adopt::{Meant, Offer};
use crate::domain::owned::OwnedKind;
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Where routes are.
const PLACE: &str = "/routes";
/// Most offers on the page.
const LINES: usize = 200;

#[derive(Template)]
#[template(path = "adopt.html")]
struct AdoptPage {
    shell: Shell,
    offers: Vec<Line>,
    more: usize,
    can_be_taken: bool,
    /// Why nothing is known, if Cloudflare could not be asked.
    trouble: Option<String>,
}

/// One offer.
struct Line {
    kind: &'static str,
    word: &'static str,
    name: String,
    id: String,
    changes: Vec<String>,
    reason: Option<String>,
}

/// What a person means: one thing, or all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AdoptForm {
    kind: String,
    name: String,
    all: Option<String>,
}

impl Line {
    fn of(offer: Offer) -> Self {
        Self {
            kind: offer.kind.as_str(),
            word: offer.kind.in_words(),
            name: offer.name,
            id: offer.id,
            changes: offer.changes,
            reason: offer.reason,
        }
    }
}

/// `GET /routes/adopt`.
#[utoipa::path(get, path = "/routes/adopt", tag = "pages", responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn show(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    show_with(Shell::new(&person, PLACE), &state).await
}

async fn show_with(shell: Shell, state: &WebState) -> Result<HttpResponse, ApiError> {
    let (offers, trouble) = match state.master().offers().await {
        Ok(offers) => (offers, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let can_be_taken = offers.iter().any(|offer| offer.reason.is_none());
    let more = offers.len().saturating_sub(LINES);
    let offers = offers.into_iter().take(LINES).map(Line::of).collect();
    page(&AdoptPage { shell, offers, more, can_be_taken, trouble })
}

/// `POST /routes/adopt`: makes it ours, and says what came of it.
#[utoipa::path(post, path = "/routes/adopt", tag = "pages", responses((status = 200), (status = 403)),
    security(("session" = [])))]
pub async fn adopt(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    Posted(form): Posted<AdoptForm>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACE);
    let names = match (form.all.is_some(), form.name.is_empty()) {
        (true, _) => None,
        (false, false) => Some(vec![form.name]),
        (false, true) => {
            let shell = shell.with_notice("warn", "Nothing was chosen.".to_owned());
            return show_with(shell, &state).await;
        }
    };
    let meant = Meant { names, kinds: OwnedKind::parse(&form.kind).into_iter().collect() };
    let (tone, word) = match state.master().adopt(meant, &person.name).await {
        Ok(adopted) => {
            let taken = count(adopted.taken.len() as u64, "thing is", "things are");
            match adopted.left.first() {
                None => ("good", format!("{taken} ours from now on.")),
                Some((offer, reason)) => {
                    ("warn", format!("{taken} ours from now on; `{}` is not: {reason}.", offer.name))
                }
            }
        }
        Err(error) => ("bad", format!("{error}.")),
    };
    show_with(shell.with_notice(tone, word), &state).await
}
