//! The record of decisions: a list, one of them with what it changed, and all of them as a file.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::db::read::{EventFilter, EventRow, find_event, find_events, last_seq};
use crate::domain::csv;
use crate::web::activity::{Change, Narrow};
use crate::web::auth::Viewer;
use crate::web::error::ApiError;
use crate::web::listings::{self, Elements, Sink};
use crate::web::query::{KnownQuery, flag, number};
use crate::web::state::WebState;

/// Which part of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Part {
    /// Only events after this number.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Only events before this number.
    #[param(value_type = Option<u64>)]
    before: Option<String>,
    /// The newest first.
    #[param(value_type = Option<bool>)]
    newest: Option<String>,
    /// Most events, 1 to 1,000; 100 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// Which events.
#[derive(Debug, Deserialize)]
pub struct EventsQuery {
    #[serde(flatten)]
    part: Part,
    #[serde(flatten)]
    narrow: Narrow,
}

impl IntoParams for EventsQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [Part::into_params(&place), Narrow::into_params(&place)].concat()
    }
}

/// In which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Form {
    /// `json` (an array), or `csv` (a table).
    format: Option<String>,
}

/// Which events, and in which form.
#[derive(Debug, Deserialize)]
pub struct ExportQuery {
    #[serde(flatten)]
    form: Form,
    #[serde(flatten)]
    narrow: Narrow,
}

impl IntoParams for ExportQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [Form::into_params(&place), Narrow::into_params(&place)].concat()
    }
}

/// Most events in one answer, and how many are in it unless the caller says so.
const EVENTS: (u64, u64) = (1_000, 100);
/// Events that are read at a time.
const AT_ONCE: u64 = 200;
/// Events that are looked at at a time; who wants few of many takes several turns.
const LOOK: u64 = 20_000;

/// `GET /api/v3/events`: what was decided, oldest first; `more` says that there is more of it.
#[utoipa::path(get, path = "/api/v3/events", tag = "system", params(EventsQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(EventsQuery { part, narrow }): KnownQuery<EventsQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = number("limit", part.limit.as_deref(), EVENTS.1, 1..=EVENTS.0)?;
    let before = number("before", part.before.as_deref(), u64::MAX, 0..=u64::MAX)?;
    let filter = EventFilter {
        after_seq: number("after", part.after.as_deref(), 0, 0..=u64::MAX)?,
        before_seq: (before < u64::MAX).then_some(before),
        newest_first: flag("newest", part.newest.as_deref())?,
        ..narrow.filter()?
    };
    let state = WebState::clone(&state);
    listings::json(|mut out| async move {
        out.text("{\"events\":[");
        let more = write_events(&state, filter, limit, &mut out).await?;
        out.text(if more { "],\"more\":true}" } else { "],\"more\":false}" });
        Ok(out)
    })
    .await
}

/// Writes events up to `limit`; returns whether there are more.
async fn write_events(
    state: &WebState,
    mut filter: EventFilter,
    limit: u64,
    out: &mut Sink,
) -> Result<bool, ApiError> {
    let mut left = limit;
    loop {
        // With none left it is only looked whether there are others.
        let page = event_page(state.clone(), filter.clone(), left.min(AT_ONCE));
        let (elements, (found, next)) = state.listings().make(page).await?;
        if left == 0 && found > 0 {
            return Ok(true);
        }
        out.elements(elements).await;
        left -= found;
        match next {
            Some(next) if filter.newest_first => filter.before_seq = Some(next),
            Some(next) => filter.after_seq = next,
            None => return Ok(false),
        }
    }
}

/// Makes a page of at most `asked` events, of one if none is asked for; says how many there are, and where to go on.
async fn event_page(
    state: WebState,
    filter: EventFilter,
    asked: u64,
) -> Result<(Elements, (u64, Option<u64>)), ApiError> {
    let found = find_events(&state.master().db, &filter, asked.max(1), LOOK).await;
    let found = found.map_err(ApiError::internal)?;
    let mut elements = Elements::default();
    for row in &found.rows {
        elements.push(row)?;
    }
    Ok((elements, (found.rows.len() as u64, found.next)))
}

/// `GET /api/v3/events/{seq}`: one decision, and what it took the place of.
#[utoipa::path(get, path = "/api/v3/events/{seq}", tag = "system", params(("seq" = u64, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn show(
    _: Viewer,
    state: web::Data<WebState>,
    seq: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = find(&state, &seq).await?;
    let change = Change::read(&state.master().db, &row).await?;
    Ok(HttpResponse::Ok().json(change.record(&row)))
}

/// Finds an event by what stands in the address.
pub async fn find(state: &WebState, seq: &str) -> Result<EventRow, ApiError> {
    let number = seq.parse::<u64>().ok();
    let found = match number {
        Some(number) => find_event(&state.master().db, number).await.map_err(ApiError::internal)?,
        None => None,
    };
    found.ok_or_else(|| ApiError::Missing("there is no decision of that number".into()))
}

/// `GET /api/v3/events/export`: all that was decided until now, oldest first, as a file.
#[utoipa::path(get, path = "/api/v3/events/export", tag = "system", params(ExportQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn export(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(ExportQuery { form, narrow }): KnownQuery<ExportQuery>,
) -> Result<HttpResponse, ApiError> {
    // What is decided meanwhile is not among them, or it would have no end.
    let last = last_seq(&state.master().db).await.map_err(ApiError::internal)?;
    let filter = EventFilter { before_seq: Some(last.saturating_add(1)), ..narrow.filter()? };
    let state = WebState::clone(&state);
    let file = |name: &str| (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    match form.format.as_deref().map(str::trim).unwrap_or("json") {
        "json" | "" => {
            let mut answer = HttpResponse::Ok();
            answer.content_type("application/json").insert_header(file("lightship-activity.json"));
            listings::stream_of(&mut answer, |mut out| async move {
                out.text("[");
                write_events(&state, filter, u64::MAX, &mut out).await?;
                out.text("]");
                Ok(out)
            })
            .await
        }
        "csv" => {
            let mut answer = HttpResponse::Ok();
            answer.content_type("text/csv; charset=utf-8").insert_header(file("lightship-activity.csv"));
            listings::stream_of(&mut answer, |out| write_table(state, filter, out)).await
        }
        _ => Err(ApiError::Invalid("query parameter `format` is not allowed: send `json` or `csv`".into())),
    }
}

async fn write_table(state: WebState, mut filter: EventFilter, mut out: Sink) -> Result<Sink, ApiError> {
    out.lines(&csv::line(["number", "at", "who", "what", "stream", "version", "said"])).await;
    loop {
        let (lines, next) = state.listings().make(table_page(state.clone(), filter.clone())).await?;
        out.lines(&lines).await;
        match next {
            Some(next) => filter.after_seq = next,
            None => return Ok(out),
        }
    }
}

async fn table_page(state: WebState, filter: EventFilter) -> Result<(String, Option<u64>), ApiError> {
    let found = find_events(&state.master().db, &filter, AT_ONCE, LOOK).await.map_err(ApiError::internal)?;
    Ok((found.rows.iter().map(line).collect(), found.next))
}

fn line(row: &EventRow) -> String {
    let (kind, said) = row.event.parts();
    let (seq, version) = (row.seq.to_string(), row.version.to_string());
    let at = row.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    csv::line(
        [&seq, &at, &row.actor, &kind, &row.stream.0, &version, &said.to_string()].map(|text| text.as_str()),
    )
}
