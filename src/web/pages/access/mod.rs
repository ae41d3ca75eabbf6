//! Access: groups of people and machines that may reach what is published, with what asks for each, and the form that
//! makes one; and the service tokens of the account.

pub mod form;
mod token_list;
pub mod tokens;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded::byte_serialize;

use super::confirm::{CLOSE_GROUP, Confirmation, OPEN_GROUP, Question, REMOVE_GROUP};
use super::overview::fragment_of;
use super::posted::{Posted, Refusal};
use super::view::{Badge, Moment, badge};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part};
use crate::actors::master::MasterError;
use crate::db::read::find_group;
use crate::domain::access::{AppOptions, Group};
use crate::domain::id::GroupId;
use crate::domain::route::RouteKey;
use crate::domain::text::{beginning, repeated};
use crate::web::access_groups::{GroupView, read_group, read_groups};
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;
use form::GroupForm;

/// Where the page is.
const PLACE: &str = "/access";
/// Most characters of what a policy says.
const WORDS: usize = 400;
/// Most routes that are named of a group.
const ROUTES: usize = 8;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    live: String,
    /// Not among what changes by itself: it takes calls to Cloudflare.
    tokens: String,
    form: GroupForm,
}

#[derive(Template)]
#[template(path = "access_live.html")]
struct Live {
    csrf: String,
    groups: Vec<GroupLine>,
}

/// A group on a line.
struct GroupLine {
    id: String,
    name: String,
    words: Vec<String>,
    behaviour: String,
    mark: Option<Badge>,
    set: Option<(String, Moment)>,
    routes: Vec<(String, String)>,
    more: usize,
    /// What is asked before it is removed; none if it is not anybody's to remove.
    question: Option<&'static Question>,
    /// True if routes are closed with it.
    closes: bool,
}

impl GroupLine {
    fn of(view: &GroupView, now: DateTime<Utc>) -> Self {
        let group = &view.group;
        let mark = match (view.is_built_in(), group.is_open_to_everyone()) {
            (_, true) => Some(badge("warn", "open to everyone")),
            (true, false) => Some(badge("idle", "built in")),
            (false, false) => None,
        };
        let route = |key: &RouteKey| {
            let find: String = byte_serialize(key.to_string().as_bytes()).collect();
            (key.to_string(), format!("/routes?find={find}"))
        };
        Self {
            id: group.id.to_string(),
            name: group.name.clone(),
            words: group.in_words().iter().map(|words| beginning(words, WORDS)).collect(),
            behaviour: behaviour(&group.options),
            mark,
            set: view.set.as_ref().map(|(at, by)| (by.clone(), Moment::of(*at, now))),
            routes: view.routes.iter().take(ROUTES).map(route).collect(),
            more: view.routes_total.saturating_sub(ROUTES),
            question: (!view.is_built_in()).then(|| question(view)),
            closes: view.routes_total > 0,
        }
    }
}

fn question(view: &GroupView) -> &'static Question {
    if view.routes_total > 0 { &CLOSE_GROUP } else { &REMOVE_GROUP }
}

/// Says how the applications of a group behave.
fn behaviour(options: &AppOptions) -> String {
    let mut words = format!("a sign-in lasts {}", options.session_duration);
    if !options.allowed_idps.is_empty() {
        words = format!("{words}, with {} only", beginning(&options.allowed_idps.join(", "), WORDS));
    }
    if options.auto_redirect_to_identity {
        words.push_str(", which is not asked for first");
    }
    if options.app_launcher_visible {
        words.push_str("; shown in the App Launcher");
    }
    words
}

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// The group that is to be changed.
    edit: Option<String>,
}

/// `GET /access`.
#[utoipa::path(get, path = "/access", tag = "pages", params(("edit" = Option<String>, Query)),
    responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(asked): Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACE);
    let Some(id) = asked.edit.filter(|id| !id.is_empty()) else {
        return show_with(&person, &state, (StatusCode::OK, shell), GroupForm::empty()).await;
    };
    match stored(&state, &GroupId::new(&id)).await? {
        Some(group) => show_with(&person, &state, (StatusCode::OK, shell), GroupForm::of(&group)).await,
        None => {
            let words = format!("There is no group `{}` that can be changed.", repeated(&id));
            let shell = shell.with_notice("warn", words);
            show_with(&person, &state, (StatusCode::OK, shell), GroupForm::empty()).await
        }
    }
}

/// `GET /fragments/access`: its live part; the form beside it stays as the person left it.
#[utoipa::path(get, path = "/fragments/access", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state).await?))
}

/// `POST /access/groups`: makes or changes a group; asks first if it lets everyone in.
#[utoipa::path(post, path = "/access/groups", tag = "pages",
    responses((status = 200), (status = 303), (status = 400), (status = 403), (status = 409)), security(("session" = [])))]
pub async fn set(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    form: Posted<Map<String, Value>>,
) -> Result<HttpResponse, ApiError> {
    let (sent, form) = (&form.0, GroupForm::posted(&form.0));
    let group = match form.group() {
        Ok(group) => group,
        Err(wrong) => return refused(&person, &state, MasterError::Invalid(wrong.join("; ")), form).await,
    };
    let before = stored(&state, &group.id).await?;
    if form.is_new && before.is_some() {
        let words =
            format!("the group `{}` is there already; change it in the list, or choose another id", group.id);
        return refused(&person, &state, MasterError::Invalid(words), form).await;
    }
    let opens = group.is_open_to_everyone() && !before.is_some_and(|group| group.is_open_to_everyone());
    if opens && sent.get("confirmed").and_then(Value::as_str) != Some("yes") {
        let fields: Vec<(String, String)> = sent
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        return OPEN_GROUP.ask_with(&person, PLACE, PLACE, &fields);
    }
    match state.master().set_group(group, &person.name).await {
        Ok(()) => Ok(go_to(PLACE)),
        Err(error) => refused(&person, &state, error, form).await,
    }
}

/// How a group is removed.
#[derive(Debug, Deserialize)]
pub struct Removing {
    #[serde(flatten)]
    confirmation: Confirmation,
    close_routes: Option<String>,
}

/// `POST /access/groups/{id}/remove`: removes it; routes that ask for it are closed if the person was told so.
#[utoipa::path(post, path = "/access/groups/{id}/remove", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn remove(
    Allowed(person, _): Allowed<Admin>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    form: Posted<Removing>,
) -> Result<HttpResponse, ApiError> {
    let view = read_group(&state, &id).await?;
    let Removing { confirmation, close_routes } = form.0;
    if !confirmation.is_given() && !view.is_built_in() {
        let close = ("close_routes".to_owned(), "yes".to_owned());
        let fields: Vec<_> = (view.routes_total > 0).then_some(close).into_iter().collect();
        return question(&view).ask_with(
            &person,
            &format!("{PLACE}/groups/{}", view.group.id),
            PLACE,
            &fields,
        );
    }
    let close_routes = close_routes.as_deref() == Some("yes");
    match state.master().remove_group(&view.group.id, close_routes, &person.name).await {
        Ok(()) => Ok(go_to(PLACE)),
        Err(error) => refused(&person, &state, error, GroupForm::empty()).await,
    }
}

/// A group that somebody made.
async fn stored(state: &WebState, id: &GroupId) -> Result<Option<Group>, ApiError> {
    let row = find_group(&state.master().db, id).await.map_err(ApiError::internal)?;
    Ok(row.map(|row| row.group))
}

/// Shows the page again, with why it was not done and what was written.
async fn refused(
    person: &SignedIn,
    state: &WebState,
    error: MasterError,
    form: GroupForm,
) -> Result<HttpResponse, ApiError> {
    show_with(person, state, Refusal::of(error)?.shell(person, PLACE), form).await
}

async fn show_with(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    form: GroupForm,
) -> Result<HttpResponse, ApiError> {
    let tokens = token_list::render(&person.session.csrf, state).await?;
    page_with(status, &AccessPage { shell, live: render(person, state).await?, tokens, form })
}

async fn render(person: &SignedIn, state: &WebState) -> Result<String, ApiError> {
    let now = state.master().clock.now();
    let groups = read_groups(state).await?;
    let lines = groups.iter().map(|view| GroupLine::of(view, now)).collect();
    part(&Live { csrf: person.session.csrf.clone(), groups: lines })
}
