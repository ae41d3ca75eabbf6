//! What was decided: by whom, when, about what, and what was so before.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::overview::fragment_of;
use super::view::{Fact, Moment, fact, story_of};
use super::{Shell, SignedIn, page, page_with, part};
use crate::db::read::{EventFilter, EventRow, agent_names, find_events, list_admins};
use crate::domain::activity::{Earlier, TOPICS};
use crate::domain::difference::{Difference, fields};
use crate::domain::event::{AccessEvent, Event, OwnedEvent, all_types};
use crate::domain::id::AgentId;
use crate::domain::role::{BY_AGENT, BY_MASTER, BY_SOCKET, BY_TOKEN};
use crate::domain::text::beginning;
use crate::web::activity::{Change, Narrow};
use crate::web::api::events::find;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Lines on a page.
const LINES: u64 = 50;
/// Events that are looked at for one page; who looks for more goes on from there.
const LOOK: u64 = 20_000;
/// Most characters of what a decision says.
const WORDS: usize = 240;
/// Most changed fields of one decision on the list.
const FIELDS: usize = 4;
/// Most administrators that are suggested.
const PEOPLE: usize = 200;

/// Which part of the list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Part {
    /// Only events before this number; the newest if it is left out.
    before: String,
}

/// What a person wants to see.
#[derive(Debug, Clone, Deserialize)]
pub struct Wanted {
    #[serde(flatten)]
    part: Part,
    #[serde(flatten)]
    narrow: Narrow,
}

impl IntoParams for Wanted {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [Part::into_params(&place), Narrow::into_params(&place)].concat()
    }
}

/// Which decision.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Which {
    /// Its number.
    seq: String,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    form: Form,
    fragment: String,
    live: String,
}

/// What stands in the form.
struct Form {
    stream: String,
    actor: String,
    actors: Vec<String>,
    people: bool,
    topics: Vec<(&'static str, bool)>,
    types: Vec<(String, bool)>,
    name: String,
    since: String,
    until: String,
    is_narrow: bool,
    as_json: String,
    as_csv: String,
}

#[derive(Template)]
#[template(path = "activity_live.html")]
struct Live {
    problem: Option<String>,
    lines: Vec<Line>,
    is_narrow: bool,
    /// How far was looked, if not to the end.
    looked: Option<String>,
    newest: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "activity_one.html")]
struct OnePage {
    shell: Shell,
    title: String,
    facts: Vec<Fact>,
    about: Option<Link>,
    before: &'static str,
    changes: Vec<Difference>,
    whole: String,
}

/// A decision on a line.
struct Line {
    href: String,
    what: String,
    who: String,
    at: Moment,
    about: Option<Link>,
    said: String,
    changes: Vec<Difference>,
    more: usize,
}

/// Where there is more about it.
struct Link {
    href: String,
    word: String,
}

impl Wanted {
    fn filter(&self) -> Result<EventFilter, ApiError> {
        let before = self.part.before.trim().parse::<u64>().ok();
        Ok(EventFilter { before_seq: before, newest_first: true, ..self.narrow.filter()? })
    }

    fn at(&self, path: &str) -> String {
        match self.part.before.trim() {
            "" => self.narrow.at(path, &[]),
            before => self.narrow.at(path, &[("before", before.to_owned())]),
        }
    }
}

/// `GET /activity`.
#[utoipa::path(get, path = "/activity", tag = "pages", params(Wanted), responses((status = 200), (status = 303), (status = 400)),
    security(("session" = [])))]
pub async fn list(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let (status, live) = render(&state, &wanted).await?;
    let form = form(&state, &wanted.narrow).await?;
    let shell = Shell::new(&person, "/activity");
    page_with(status, &ActivityPage { shell, form, fragment: wanted.at("/fragments/activity"), live })
}

/// `GET /fragments/activity`: its live part.
#[utoipa::path(get, path = "/fragments/activity", tag = "pages", params(Wanted), responses((status = 200), (status = 400)),
    security(("session" = [])))]
pub async fn fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state, &wanted).await?.1))
}

async fn form(state: &WebState, narrow: &Narrow) -> Result<Form, ApiError> {
    let [stream, actor, people, kind, name, since, until] = narrow.pairs().map(|(_, value)| value.to_owned());
    let admins = list_admins(&state.master().db).await.map_err(ApiError::internal)?;
    let mut actors: Vec<String> = admins.into_iter().take(PEOPLE).map(|admin| admin.name).collect();
    actors.extend([BY_TOKEN, BY_SOCKET, BY_MASTER].map(str::to_owned));
    let export = |format: &str| narrow.at("/api/v3/events/export", &[("format", format.to_owned())]);
    Ok(Form {
        is_narrow: narrow.is_narrow(),
        as_json: export("json"),
        as_csv: export("csv"),
        people: people == "true" || people == "1",
        topics: TOPICS.iter().map(|(topic, _)| (*topic, *topic == kind)).collect(),
        types: all_types().into_iter().map(|one| (one.clone(), one == kind)).collect(),
        stream,
        actor,
        actors,
        name,
        since,
        until,
    })
}

async fn render(state: &WebState, wanted: &Wanted) -> Result<(StatusCode, String), ApiError> {
    let filter = match wanted.filter() {
        Ok(filter) => filter,
        Err(ApiError::Invalid(problem)) => {
            let live = Live {
                problem: Some(problem),
                lines: Vec::new(),
                is_narrow: true,
                looked: None,
                newest: None,
                older: None,
            };
            return Ok((StatusCode::BAD_REQUEST, part(&live)?));
        }
        Err(error) => return Err(error),
    };
    let (all, wanted) = (state.clone(), wanted.clone());
    let making = async move {
        let found = find_events(&all.master().db, &filter, LINES, LOOK).await.map_err(ApiError::internal)?;
        let older = |next: u64| wanted.narrow.at("/activity", &[("before", next.to_string())]);
        part(&Live {
            problem: None,
            lines: lines(&all, &found.rows).await?,
            is_narrow: wanted.narrow.is_narrow(),
            looked: found.next.filter(|_| found.is_cut).map(|next| next.to_string()),
            newest: filter.before_seq.map(|_| wanted.narrow.at("/activity", &[])),
            older: found.next.map(older),
        })
    };
    Ok((StatusCode::OK, state.listings().make(making).await?))
}

async fn lines(state: &WebState, rows: &[EventRow]) -> Result<Vec<Line>, ApiError> {
    let (db, now) = (&state.master().db, state.master().clock.now());
    let names = names(state, rows).await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let (kind, said) = row.event.parts();
        // Routes follow labels by the hundred; what one of them was before stands on its own page.
        let change = match row.event {
            Event::Route(_) => None,
            _ => Some(Change::read(db, row).await?),
        };
        let changes = match change {
            Some(Change { earlier: Some(Earlier::Was(_)), differences }) => differences,
            _ => Vec::new(),
        };
        lines.push(Line {
            href: format!("/activity/of?seq={}", row.seq),
            what: words(&kind),
            who: who(&row.actor, &names),
            at: Moment::of(row.at, now),
            about: about(&row.event, &names),
            said: in_short(&said),
            more: changes.len().saturating_sub(FIELDS),
            changes: changes.into_iter().take(FIELDS).map(cut).collect(),
        });
    }
    Ok(lines)
}

/// `GET /activity/of`: one decision, and what it changed.
#[utoipa::path(get, path = "/activity/of", tag = "pages", params(Which), responses((status = 200), (status = 303), (status = 404)),
    security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(which): Query<Which>,
) -> Result<HttpResponse, ApiError> {
    let row = find(&state, which.seq.trim()).await?;
    let change = Change::read(&state.master().db, &row).await?;
    let names = names(&state, std::slice::from_ref(&row)).await?;
    let (kind, said) = row.event.parts();
    let before = match &change.earlier {
        None => "Nothing was replaced: it says what happened.",
        Some(Earlier::Nothing) => "Nothing was there before.",
        Some(Earlier::NotLookedUp) => "What was there before was not looked for any further back.",
        Some(Earlier::Was(_)) => "What was there before, and what is there since.",
    };
    let mut facts = vec![
        fact("Who", who(&row.actor, &names)),
        fact("When", row.at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        fact("What", kind.clone()),
        fact("Number", row.seq.to_string()),
        fact("Stream", format!("{}, version {}", row.stream, row.version)),
        fact("Hash", row.hash.clone()),
    ];
    facts.extend(from(&row.actor, &said).map(|from| fact("From where", from)));
    if let Some(Earlier::Was(earlier)) = &change.earlier {
        facts
            .push(fact("Before that", format!("number {}, by {}", earlier.seq, who(&earlier.actor, &names))));
    }
    page(&OnePage {
        shell: Shell::new(&person, "/activity"),
        title: words(&kind),
        facts,
        about: about(&row.event, &names),
        before,
        changes: change.differences,
        whole: serde_json::to_string_pretty(&said).map_err(ApiError::internal)?,
    })
}

/// Names of the agents that decided, or are decided about.
async fn names(state: &WebState, rows: &[EventRow]) -> Result<HashMap<AgentId, String>, ApiError> {
    let own = rows.iter().filter_map(|row| row.actor.strip_prefix(BY_AGENT)).map(AgentId::new);
    let mut ids: Vec<AgentId> = rows.iter().filter_map(|row| row.event.agent().cloned()).chain(own).collect();
    ids.sort();
    ids.dedup();
    agent_names(&state.master().db, &ids).await.map_err(ApiError::internal)
}

fn who(actor: &str, names: &HashMap<AgentId, String>) -> String {
    match (actor, actor.strip_prefix(BY_AGENT)) {
        (_, Some(id)) => format!("agent {}", names.get(&AgentId::new(id)).map_or(id, String::as_str)),
        (BY_MASTER, None) => "the master itself".to_owned(),
        (BY_TOKEN, None) => "whoever has the admin token".to_owned(),
        (BY_SOCKET, None) => "somebody on the master's own host".to_owned(),
        (name, None) => name.to_owned(),
    }
}

/// From where it was decided, as far as it was written down.
fn from(actor: &str, said: &Value) -> Option<String> {
    let noted = said.get("given_from").and_then(Value::as_str).map(str::to_owned);
    noted.or_else(|| match actor {
        BY_TOKEN => Some("over the API".to_owned()),
        BY_SOCKET => Some("through the admin socket".to_owned()),
        _ => None,
    })
}

/// Where there is more about what was decided.
fn about(event: &Event, names: &HashMap<AgentId, String>) -> Option<Link> {
    let of_route = |key: &crate::domain::route::RouteKey| Link { href: story_of(key), word: key.to_string() };
    match event {
        Event::Route(event) => Some(of_route(event.route())),
        Event::Rule(event) => Some(of_route(event.route())),
        Event::Access(AccessEvent::GroupSet { group }) => {
            Some(Link { href: "/access".into(), word: format!("group {}", group.id) })
        }
        Event::Access(_) => Some(Link { href: "/access".into(), word: "Access".into() }),
        // What others changed, and what may be adopted, stands there.
        Event::Owned(
            OwnedEvent::Drifted { name, .. }
            | OwnedEvent::Restored { name, .. }
            | OwnedEvent::Adopted { name, .. },
        ) => Some(Link { href: "/routes".into(), word: name.clone() }),
        other => other.agent().map(|id| Link {
            href: format!("/agents/{id}"),
            word: names.get(id).cloned().unwrap_or_else(|| id.to_string()),
        }),
    }
}

/// A type as people read it.
fn words(kind: &str) -> String {
    kind.replace('_', " ")
}

/// The first fields of what a decision says.
fn in_short(said: &Value) -> String {
    let all: Vec<String> = fields(said).into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
    beginning(&all.join(" · "), WORDS)
}

fn cut(one: Difference) -> Difference {
    let short = |text: Option<String>| text.map(|text| beginning(&text, WORDS));
    Difference { field: one.field, before: short(one.before), after: short(one.after) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_decided_is_named_as_people_know_him() {
        let names = HashMap::from([(AgentId::new("a-1"), "web-1".to_owned())]);
        for (actor, said) in [
            ("ann", "ann"),
            ("agent:a-1", "agent web-1"),
            ("agent:gone", "agent gone"),
            ("system", "the master itself"),
            (BY_TOKEN, "whoever has the admin token"),
            (BY_SOCKET, "somebody on the master's own host"),
        ] {
            assert_eq!(who(actor, &names), said);
        }
        assert_eq!(from("ann", &json!({ "given_from": "192.0.2.1" })).as_deref(), Some("192.0.2.1"));
        assert_eq!(from("ann", &json!({})), None);
    }

    #[test]
    fn what_was_decided_stands_in_one_line() {
        let said = json!({ "hostname": "a.example.com", "access": { "kind": "public" }, "none": null });
        assert_eq!(in_short(&said), "hostname: a.example.com · access.kind: public");
        assert!(in_short(&json!({ "long": "x".repeat(1_000) })).chars().count() <= WORDS + 1);
    }
}
