//! Updates: one line a package or image over all hosts, and what a person decides about them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::filter::Pages;
use super::overview::fragment_of;
use super::plans::{self, Asked};
use super::posted::{Posted, ticked};
use super::truth::{TruthLine, truth_lines};
use super::update::{HOSTS, Which};
use super::view::{Badge, Moment, count};
use super::view::{host_href, shown_version, state_word, update_marks};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part};
use crate::db::read::{
    UpdateFilter, UpdateGroup, UpdateOrder, UpdateTotals, hosts_in_trouble, hosts_to_reboot,
    list_update_groups, list_updates, update_totals,
};
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::update::{Kind, Severity, State, UNCHECKED};
use crate::web::api::plan_asks::PlanBody;
use crate::web::api::updates::{UpdatesQuery, read_decision};
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Most lines on a page.
const LINES: u64 = 200;

/// What a person wants to see; all of it stands in the address.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Wanted {
    /// Part of a name.
    search: String,
    /// A kind of update.
    kind: String,
    /// A severity, or `security` for whatever mends a hole.
    severity: String,
    /// `unprotected`, `public` or `private`.
    reach: String,
    /// A state; the open ones if it is none.
    state: String,
    /// Days since it was first seen, at least.
    older: String,
    /// Id of a host.
    agent: String,
    /// Which page, from 1.
    page: String,
}

/// What stands for security updates of any severity.
const SECURITY: &str = "security";

struct Choice {
    title: &'static str,
    name: &'static str,
    options: Vec<Selectable>,
}

struct Selectable {
    value: String,
    word: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "updates.html")]
struct UpdatesPage {
    shell: Shell,
    find: String,
    choices: Vec<Choice>,
    is_narrow: bool,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "updates_live.html")]
struct ListLive {
    csrf: String,
    back: String,
    truth: Vec<TruthLine>,
    heading: String,
    place: String,
    empty: &'static str,
    groups: Vec<GroupLine>,
    pages: Option<Pages>,
    reboots: Vec<HostLink>,
    troubled: Vec<HostLink>,
}

struct GroupLine {
    mark: String,
    value: String,
    title: String,
    href: String,
    detail: String,
    marks: Vec<Badge>,
    note: Option<String>,
}

struct HostLink {
    name: String,
    href: String,
}

/// What a person decided about the chosen ones.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    #[serde(default)]
    decision: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    back: String,
    #[serde(default, deserialize_with = "ticked")]
    restart_services: bool,
    /// The chosen ones, each under a name of its own.
    #[serde(flatten)]
    picks: Map<String, Value>,
}

impl Wanted {
    fn filter(&self, now: DateTime<Utc>) -> Result<UpdateFilter, ApiError> {
        let (public, unprotected) = match self.reach.as_str() {
            "unprotected" => (None, Some("true")),
            "public" => (Some("true"), None),
            "private" => (Some("false"), None),
            _ => (None, None),
        };
        let asked = UpdatesQuery::of([
            ("agent_id", Some(self.agent.as_str())),
            ("kind", Some(self.kind.as_str())),
            ("severity", Some(self.severity.as_str()).filter(|word| *word != SECURITY)),
            ("security", (self.severity == SECURITY).then_some("true")),
            ("state", Some(self.state.as_str())),
            ("older_than_days", Some(self.older.as_str())),
            ("search", Some(self.search.as_str())),
            ("public", public),
            ("unprotected", unprotected),
        ]);
        asked.filter(now)
    }

    /// Reads it out of the address of a page; one of another page wants nothing.
    fn in_address(address: &str) -> Self {
        let Some(query) = address.strip_prefix("/updates?") else { return Self::default() };
        let fields = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
        serde_json::from_value(Value::Object(fields.collect())).unwrap_or_default()
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("search", self.search.trim()),
            ("kind", &self.kind),
            ("severity", &self.severity),
            ("reach", &self.reach),
            ("state", &self.state),
            ("older", &self.older),
            ("agent", &self.agent),
        ]
    }

    fn is_narrow(&self) -> bool {
        self.fields().iter().any(|(_, value)| !value.is_empty())
    }

    fn number(&self) -> u64 {
        self.page.trim().parse().unwrap_or(1).clamp(1, 10_000)
    }

    fn address(&self, path: &str, page: u64) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.fields().iter().filter(|(_, value)| !value.is_empty()));
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    fn choices(&self) -> Vec<Choice> {
        let choice = |title, name, chosen: &str, options: Vec<(&str, String)>| Choice {
            title,
            name,
            options: options
                .into_iter()
                .map(|(value, word)| Selectable { value: value.to_owned(), word, chosen: value == chosen })
                .collect(),
        };
        let any = || ("", "any".to_owned());
        let kinds = Kind::ALL.map(|kind| (kind.as_str(), kind.title().to_owned()));
        let severities = Severity::ALL.map(|word| (word.as_str(), word.as_str().to_owned()));
        let security = (SECURITY, "security only".to_owned());
        let reaches =
            [("unprotected", "public without a login"), ("public", "public"), ("private", "not public")];
        let states = State::ALL.map(|state| (state.as_str(), state_word(state.as_str()).to_owned()));
        let ages = [("7", "a week or more"), ("30", "30 days or more"), ("90", "90 days or more")];
        let owned = |(value, word): (&'static str, &str)| (value, word.to_owned());
        vec![
            choice("Kind", "kind", &self.kind, [any()].into_iter().chain(kinds).collect()),
            choice(
                "Severity",
                "severity",
                &self.severity,
                [any(), security].into_iter().chain(severities).collect(),
            ),
            choice("Reach", "reach", &self.reach, [any()].into_iter().chain(reaches.map(owned)).collect()),
            choice(
                "State",
                "state",
                &self.state,
                [("", "open".to_owned())]
                    .into_iter()
                    .chain(states)
                    .chain([(UNCHECKED, "not checked".into())])
                    .collect(),
            ),
            choice("Age", "older", &self.older, [any()].into_iter().chain(ages.map(owned)).collect()),
        ]
    }
}

/// `GET /updates`.
#[utoipa::path(get, path = "/updates", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn list(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    list_with(&person, &state, (StatusCode::OK, Shell::new(&person, "/updates")), &wanted).await
}

async fn list_with(
    person: &SignedIn,
    state: &WebState,
    (status, shell): (StatusCode, Shell),
    wanted: &Wanted,
) -> Result<HttpResponse, ApiError> {
    let live = render_list(person, state, wanted).await?;
    let template = UpdatesPage {
        shell,
        find: wanted.search.trim().to_owned(),
        choices: wanted.choices(),
        is_narrow: wanted.is_narrow(),
        fragment: wanted.address("/fragments/updates", wanted.number()),
        live,
    };
    page_with(status, &template)
}

/// `GET /fragments/updates`: its live part.
#[utoipa::path(get, path = "/fragments/updates", tag = "pages", params(Wanted), responses((status = 200)),
    security(("session" = [])))]
pub async fn list_fragment(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render_list(&person, &state, &wanted).await?))
}

async fn render_list(person: &SignedIn, state: &WebState, wanted: &Wanted) -> Result<String, ApiError> {
    let filter = wanted.filter(state.master().clock.now())?;
    let (csrf, all, wanted) = (person.session.csrf.clone(), state.clone(), wanted.clone());
    let live = async move {
        let (db, now) = (&all.master().db, all.master().clock.now());
        let number = wanted.number();
        let skip = (number - 1) * LINES;
        let found = list_update_groups(db, &filter, skip, LINES + 1).await;
        let mut groups = found.map_err(ApiError::internal)?;
        let has_more = groups.len() as u64 > LINES;
        groups.truncate(usize::try_from(LINES).unwrap_or(usize::MAX));
        let totals = update_totals(db).await.map_err(ApiError::internal)?;
        let reboots = hosts_to_reboot(db).await.map_err(ApiError::internal)?;
        let troubled = hosts_in_trouble(db).await.map_err(ApiError::internal)?;
        let link = |(id, name): (AgentId, String)| HostLink { name, href: host_href(&id) };
        let shown = format!("{} to {}", skip + 1, skip + groups.len() as u64);
        let is_cut = has_more || number > 1;
        part(&ListLive {
            csrf,
            back: wanted.address("/updates", number),
            truth: truth_lines(&totals),
            heading: if wanted.is_narrow() { "As you asked".into() } else { "Pending".to_owned() },
            place: if is_cut { shown.clone() } else { groups.len().to_string() },
            empty: if wanted.is_narrow() { NOTHING_LIKE_THAT } else { nothing_pending(&totals) },
            groups: groups.iter().map(|group| group_line(group, now)).collect(),
            pages: is_cut.then(|| Pages {
                place: shown,
                back: (number > 1).then(|| wanted.address("/updates", number - 1)),
                onward: has_more.then(|| wanted.address("/updates", number + 1)),
            }),
            reboots: reboots.into_iter().map(link).collect(),
            troubled: troubled.into_iter().map(link).collect(),
        })
    };
    state.listings().make(live).await
}

const NOTHING_LIKE_THAT: &str = "Nothing on this list is like that.";

/// An empty list is good news only if somebody looked.
fn nothing_pending(totals: &UpdateTotals) -> &'static str {
    match (totals.scanned_hosts, totals.troubled_hosts) {
        (0, _) => {
            "No host was looked at yet. Agents look a few seconds after they start, once they are enrolled."
        }
        (_, 0) => "Nothing is pending on any host that was looked at.",
        _ => "Nothing is known to be pending; some hosts could not be looked at, and their pages say why.",
    }
}

fn group_line(group: &UpdateGroup, now: DateTime<Utc>) -> GroupLine {
    let which = Which { kind: group.kind.as_str().into(), name: group.name.clone() };
    let offered = match (&group.available_version, group.versions) {
        (Some(version), 0 | 1) => shown_version(version),
        (Some(_), versions) => format!("{versions} versions on offer"),
        (None, _) => "no version known".into(),
    };
    let age = Moment::of(group.first_seen_at, now).ago;
    let hosts = count(group.hosts, "host", "hosts");
    let unchecked = match group.unchecked {
        0 => None,
        one if one == group.hosts => Some("It could not be checked on any of them.".to_owned()),
        some => Some(format!("It could not be checked on {}.", count(some, "host", "hosts"))),
    };
    GroupLine {
        mark: format!("pick-{}-{}", group.kind, mark_of(&group.name)),
        value: format!("{} {}", group.kind, group.name),
        title: group.title.clone().unwrap_or_else(|| group.name.clone()),
        href: which.address("/updates/of"),
        detail: format!("{} · {offered} · on {hosts} · first seen {age}", group.kind.title()),
        marks: update_marks(group.is_open, group.is_public, group.is_security, group.severity),
        note: unchecked,
    }
}

/// Stands for a name where only letters and digits may.
fn mark_of(text: &str) -> String {
    use sha2::{Digest, Sha256};

    hex::encode(&Sha256::digest(text)[..6])
}

/// `POST /updates/decide`: holds, ignores or puts off what was chosen, or takes that back.
#[utoipa::path(post, path = "/updates/decide", tag = "pages", responses((status = 303), (status = 400), (status = 403)),
    security(("session" = [])))]
pub async fn decide(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    form: Posted<Chosen>,
) -> Result<HttpResponse, ApiError> {
    let Chosen { decision, days, back, picks, .. } = form.0;
    let now = state.master().clock.now();
    let days: i64 = days.parse().unwrap_or(7).clamp(1, 365);
    let until = (decision == "snooze").then(|| now + TimeDelta::days(days));
    let decision = read_decision(Some(&decision), until, now)?;
    let statuses = match decision {
        None => ["ignored", "held", "snoozed"].map(str::to_owned).to_vec(),
        Some(_) => Vec::new(),
    };
    let ids = chosen(&state, picks, &statuses).await?;
    if ids.is_empty() {
        let words = "Nothing was chosen: tick what the decision is about.";
        let shell = Shell::new(&person, "/updates").with_notice("warn", words);
        return list_with(&person, &state, (StatusCode::OK, shell), &Wanted::in_address(&back)).await;
    }
    state.master().decide_updates(&ids, decision, &person.name).await?;
    // Our own pages only.
    let is_own = back == "/updates" || back.starts_with("/updates?") || back.starts_with("/updates/of?");
    Ok(go_to(if is_own { &back } else { "/updates" }))
}

/// `POST /updates/plan`: asks the hosts that have what was chosen what installing it would change.
#[utoipa::path(post, path = "/updates/plan", tag = "pages",
    responses((status = 200), (status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn plan(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    form: Posted<Chosen>,
) -> Result<HttpResponse, ApiError> {
    let Chosen { back, picks, restart_services, .. } = form.0;
    let ids = chosen(&state, picks, &[]).await?;
    let again = Wanted::in_address(&back);
    if ids.is_empty() {
        let words = "Nothing was chosen: tick what you want to see the changes of.";
        let shell = Shell::new(&person, "/updates").with_notice("warn", words);
        return list_with(&person, &state, (StatusCode::OK, shell), &again).await;
    }
    let updates = Some(ids.into_iter().map(|id| id.to_string()).collect());
    let body = PlanBody { updates, restart_services: Some(restart_services), ..PlanBody::default() };
    match plans::ask(&person, &state, body).await? {
        Asked::Done(answer) => Ok(answer),
        Asked::Refused(refusal) => {
            list_with(&person, &state, refusal.shell(&person, "/updates"), &again).await
        }
    }
}

/// Returns the updates that were chosen: one by one, or all of a package or image that stand like this; open ones if
/// `statuses` is empty.
async fn chosen(
    state: &WebState,
    picks: Map<String, Value>,
    statuses: &[String],
) -> Result<Vec<UpdateId>, ApiError> {
    let mut ids = Vec::new();
    for (name, value) in picks {
        let Value::String(value) = value else { continue };
        if name.starts_with("id-") {
            ids.push(UpdateId::new(value));
        } else if name.starts_with("pick-")
            && let Some((kind, name)) = value.split_once(' ')
        {
            let mut filter = Which { kind: kind.into(), name: name.into() }.filter()?;
            filter.statuses = statuses.to_vec();
            let db = &state.master().db;
            let found = list_updates(db, &filter, UpdateOrder::Age, 0, HOSTS).await;
            ids.extend(found.map_err(ApiError::internal)?.into_iter().map(|view| view.row.update.id));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_stands_in_the_address() {
        let wanted = Wanted { search: " a&b ".into(), kind: "apt".into(), ..Wanted::default() };
        assert_eq!(wanted.address("/updates", 2), "/updates?search=a%26b&kind=apt&page=2");
        assert_eq!(Wanted::default().address("/updates", 1), "/updates");
    }
}
