//! Notifications: where people are told what happened, how each target is, what was sent, and the form that makes one.

pub mod form;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::confirm::{Confirmation, REMOVE_TARGET};
use super::overview::fragment_of;
use super::posted::{Nothing, Posted, Refusal};
use super::view::{Badge, Moment, badge};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part};
use crate::actors::master::MasterError;
use crate::db::read::{MessageRow, MessageState, find_target, list_messages};
use crate::domain::id::TargetId;
use crate::domain::notify::read_target;
use crate::domain::text::{beginning, repeated};
use crate::web::auth::{Admin, Operator};
use crate::web::error::ApiError;
use crate::web::notifications::{TargetView, read_target_view, read_targets};
use crate::web::query::Query;
use crate::web::state::WebState;
use form::{TargetForm, kinds, title};

/// Where the page is.
const PLACE: &str = "/notifications";
/// Messages on the page; the API has more.
const MESSAGES: u64 = 20;
/// Most characters of what a message says.
const WORDS: usize = 600;

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    shell: Shell,
    live: String,
    kinds: Vec<(&'static str, &'static str)>,
    form: Option<TargetForm>,
}

#[derive(Template)]
#[template(path = "notifications_live.html")]
struct Live {
    csrf: String,
    targets: Vec<TargetLine>,
    messages: Vec<MessageLine>,
    question: &'static str,
}

/// A target on a line.
struct TargetLine {
    id: String,
    name: String,
    kind: &'static str,
    place: String,
    mark: Badge,
    about: String,
    quiet: Option<String>,
    last_sent: Option<Moment>,
    failing: Option<Failing>,
    waiting: u64,
}

/// Why a target takes nothing.
struct Failing {
    since: Option<Moment>,
    error: String,
    next_try: Option<String>,
}

/// A message on a line.
struct MessageLine {
    title: String,
    lines: Vec<String>,
    target: String,
    mark: Badge,
    at: Moment,
    error: Option<String>,
}

impl TargetLine {
    fn of(view: &TargetView, now: DateTime<Utc>) -> Self {
        let (target, state) = (&view.row.target, view.state.as_ref());
        let failing = state.filter(|state| state.failing_since.is_some()).map(|state| Failing {
            since: state.failing_since.map(|at| Moment::of(at, now)),
            error: beginning(state.error.as_deref().unwrap_or("nothing is known of why"), WORDS),
            next_try: state
                .next_try_at
                .filter(|_| view.waiting > 0)
                .map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
        });
        let mark = match (&failing, state.and_then(|state| state.last_sent_at)) {
            (Some(_), _) => badge("bad", "failing"),
            (None, Some(_)) => badge("good", "works"),
            (None, None) => badge("idle", "nothing sent yet"),
        };
        let about = match &target.about {
            None => "Told of everything".to_owned(),
            Some(about) => {
                let words: Vec<&str> = about.iter().map(|topic| topic.in_words()).collect();
                format!("Told when {}", words.join("; "))
            }
        };
        Self {
            id: target.id.to_string(),
            name: target.name.clone(),
            kind: title(target.channel.kind()),
            place: target.channel.place(),
            mark,
            about,
            quiet: target.quiet_hours.map(|hours| hours.to_string()),
            last_sent: state.and_then(|state| state.last_sent_at).map(|at| Moment::of(at, now)),
            failing,
            waiting: view.waiting,
        }
    }
}

impl MessageLine {
    fn of(row: &MessageRow, targets: &[TargetView], now: DateTime<Utc>) -> Self {
        let target = targets.iter().find(|view| view.row.target.id == row.target_id);
        let mark = match row.state {
            MessageState::Waiting if row.attempts > 0 => badge("warn", "tried again"),
            MessageState::Waiting => badge("busy", "waiting"),
            MessageState::Sending => badge("busy", "on its way"),
            MessageState::Sent => badge("good", "sent"),
            MessageState::Failed => badge("bad", "failed"),
        };
        Self {
            title: row.message.title.clone(),
            lines: beginning_of(&row.message.text),
            target: target.map_or_else(|| row.target_id.to_string(), |view| view.row.target.name.clone()),
            mark,
            at: Moment::of(row.created_at, now),
            error: row.error.as_ref().map(|error| beginning(error, WORDS)),
        }
    }
}

/// The first lines of a message.
fn beginning_of(text: &str) -> Vec<String> {
    const MOST: usize = 5;
    let mut lines: Vec<String> = text.lines().take(MOST).map(|line| beginning(line, WORDS)).collect();
    let more = text.lines().count().saturating_sub(MOST);
    if more > 0 {
        lines.push(format!("… and {more} more lines"));
    }
    lines
}

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// The target that is to be changed.
    edit: Option<String>,
    /// The kind of which one is to be made.
    kind: Option<String>,
}

/// `GET /notifications`.
#[utoipa::path(get, path = "/notifications", tag = "pages",
    params(("edit" = Option<String>, Query), ("kind" = Option<String>, Query)),
    responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(asked): Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACE);
    let Some(id) = asked.edit.filter(|id| !id.is_empty()) else {
        let form = asked.kind.as_deref().and_then(TargetForm::empty);
        return show_with(&person, &state, (StatusCode::OK, shell), form).await;
    };
    let found = find_target(&state.master().db, &TargetId::new(&id)).await.map_err(ApiError::internal)?;
    match found {
        Some(row) => {
            show_with(&person, &state, (StatusCode::OK, shell), Some(TargetForm::of(&row.target))).await
        }
        None => {
            let shell = shell.with_notice("warn", format!("There is no target `{}`.", repeated(&id)));
            show_with(&person, &state, (StatusCode::OK, shell), None).await
        }
    }
}

/// `GET /fragments/notifications`: its live part; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/notifications", tag = "pages", responses((status = 200)),
    security(("session" = [])))]
pub async fn fragment(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state).await?))
}

/// `POST /notifications/targets`: makes or changes a target.
#[utoipa::path(post, path = "/notifications/targets", tag = "pages",
    responses((status = 303), (status = 400), (status = 403)), security(("session" = [])))]
pub async fn set(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    sent: Posted<Map<String, Value>>,
) -> Result<HttpResponse, ApiError> {
    let Some(form) = TargetForm::posted(&sent.0) else {
        let words = "a target has a kind; choose one below".to_owned();
        return refused(&person, &state, MasterError::Invalid(words), None).await;
    };
    let draft = match read_target(&form.id, form.body(&sent.0)) {
        Ok(draft) => draft,
        Err(wrong) => {
            return refused(&person, &state, MasterError::Invalid(wrong.join("; ")), Some(form)).await;
        }
    };
    let before = find_target(&state.master().db, draft.id()).await.map_err(ApiError::internal)?;
    if form.is_new && before.is_some() {
        let words = format!(
            "the target `{}` is there already; change it in the list, or choose another id",
            draft.id()
        );
        return refused(&person, &state, MasterError::Invalid(words), Some(form)).await;
    }
    match state.master().set_target(draft, &person.name).await {
        Ok(()) => Ok(go_to(PLACE)),
        Err(error) => refused(&person, &state, error, Some(form)).await,
    }
}

/// `POST /notifications/targets/{id}/test`: sends a test, and shows how that went.
#[utoipa::path(post, path = "/notifications/targets/{id}/test", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404), (status = 502)),
    security(("session" = [])))]
pub async fn test(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let view = read_target_view(&state, &id).await?;
    match state.master().test_target(&view.row.target.id, &person.name).await {
        Ok(()) => {
            let words = format!("{} took the test message.", repeated(&view.row.target.name));
            let shell = Shell::new(&person, PLACE).with_notice("good", words);
            show_with(&person, &state, (StatusCode::OK, shell), None).await
        }
        Err(error) => refused(&person, &state, error, None).await,
    }
}

/// `POST /notifications/targets/{id}/remove`: removes it, with all that waits for it.
#[utoipa::path(post, path = "/notifications/targets/{id}/remove", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404)), security(("session" = [])))]
pub async fn remove(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let view = read_target_view(&state, &id).await?;
    let id = &view.row.target.id;
    if !form.0.is_given() {
        return REMOVE_TARGET.ask(&person, &format!("{PLACE}/targets/{id}"), PLACE);
    }
    state.master().remove_target(id, &person.name).await?;
    Ok(go_to(PLACE))
}

/// Shows the page again, with why it was not done and what was written.
async fn refused(
    person: &SignedIn,
    state: &WebState,
    error: MasterError,
    form: Option<TargetForm>,
) -> Result<HttpResponse, ApiError> {
    show_with(person, state, Refusal::of(error)?.shell(person, PLACE), form).await
}

async fn show_with(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    form: Option<TargetForm>,
) -> Result<HttpResponse, ApiError> {
    let live = render(person, state).await?;
    page_with(status, &NotificationsPage { shell, live, kinds: kinds(), form })
}

async fn render(person: &SignedIn, state: &WebState) -> Result<String, ApiError> {
    let now = state.master().clock.now();
    let targets = read_targets(state).await?;
    let rows = list_messages(&state.master().db, None, MESSAGES).await.map_err(ApiError::internal)?;
    part(&Live {
        csrf: person.session.csrf.clone(),
        messages: rows.iter().map(|row| MessageLine::of(row, &targets, now)).collect(),
        targets: targets.iter().map(|view| TargetLine::of(view, now)).collect(),
        question: REMOVE_TARGET.text,
    })
}
