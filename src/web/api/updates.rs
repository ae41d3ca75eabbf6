//! Pending updates of all hosts, and what people decide about them.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::actors::master::MasterError;
use crate::db::read::{
    self, ScanRow, UpdateFilter, UpdateOrder, UpdateTotals, UpdateView, find_updates, is_status,
    list_updates, routes_behind, scans_of_agents, update_totals,
};
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::update::{Decision, Kind, Severity, Standing};
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters, flag, number};
use crate::web::state::WebState;

/// Most updates in one answer, and how many are in it unless the caller says so.
const UPDATES: (u64, u64) = (1_000, 100);
/// Most updates that are decided about at once.
const MOST_IDS: usize = 10_000;

/// Which updates, and in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct UpdatesQuery {
    /// Of the agent with this id.
    agent_id: Option<String>,
    /// `apt`, `dnf`, `docker_image`, `windows_update` or `winget`.
    kind: Option<String>,
    /// With exactly this name.
    name: Option<String>,
    /// One or more states with commas between them; left out: what is open, and what could not be checked. `any` is all.
    state: Option<String>,
    /// `critical`, `important`, `moderate` or `low`.
    severity: Option<String>,
    /// Whether they mend a hole.
    #[param(value_type = Option<bool>)]
    security: Option<String>,
    /// Whether a published route leads to them.
    #[param(value_type = Option<bool>)]
    public: Option<String>,
    /// Whether they are public without a login.
    #[param(value_type = Option<bool>)]
    unprotected: Option<String>,
    /// First seen so many days ago or more.
    #[param(value_type = Option<u64>)]
    older_than_days: Option<String>,
    /// Part of the name or title, in any case.
    search: Option<String>,
    /// `risk` (public first, unprotected before protected, then severity, then age), `name`, `agent`, `age` or `severity`;
    /// `risk` if it is left out.
    sort: Option<String>,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Most updates, 1 to 1,000; 100 if it is left out.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// What is decided about which updates.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DecisionBody {
    /// Ids of updates, at most 10,000.
    ids: Option<Vec<String>>,
    /// `ignore` (this version), `hold`, `snooze`, or `reconsider` to take back what was decided.
    decision: Option<String>,
    /// With `snooze`: until when.
    until: Option<DateTime<Utc>>,
}

impl UpdatesQuery {
    /// Makes one of these parameters; those of other names are left out.
    pub fn of<'a>(fields: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut query = Self::default();
        for (name, value) in fields {
            let value = value.map(str::to_owned);
            match name {
                "agent_id" => query.agent_id = value,
                "kind" => query.kind = value,
                "severity" => query.severity = value,
                "security" => query.security = value,
                "state" => query.state = value,
                "older_than_days" => query.older_than_days = value,
                "search" => query.search = value,
                "public" => query.public = value,
                "unprotected" => query.unprotected = value,
                _ => {}
            }
        }
        query
    }

    /// Reads which updates are meant.
    pub fn filter(&self, now: DateTime<Utc>) -> Result<UpdateFilter, ApiError> {
        let filled = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let yes_or_no = |name: &str, text: &Option<String>| match filled(text) {
            None => Ok(None),
            Some(text) => flag(name, Some(&text)).map(Some),
        };
        let days = number("older_than_days", self.older_than_days.as_deref(), 0, 0..=36_500)?;
        let before = now - TimeDelta::days(i64::try_from(days).unwrap_or(0));
        let kind = filled(&self.kind).map(|kind| kind.parse::<Kind>()).transpose();
        let severity = filled(&self.severity).map(|word| {
            let asked = Severity::parse(&word);
            asked.ok_or_else(|| bad("severity", "send `critical`, `important`, `moderate` or `low`"))
        });
        Ok(UpdateFilter {
            also_silenced: false,
            agent: filled(&self.agent_id).map(AgentId::new),
            kind: kind.map_err(|unknown| bad("kind", &unknown.to_string()))?,
            name: filled(&self.name),
            statuses: states(filled(&self.state).as_deref())?,
            severity: severity.transpose()?,
            is_security: yes_or_no("security", &self.security)?,
            is_public: yes_or_no("public", &self.public)?,
            is_open: yes_or_no("unprotected", &self.unprotected)?,
            seen_before: (days > 0).then_some(before),
            search: filled(&self.search),
        })
    }

    fn order(&self) -> Result<UpdateOrder, ApiError> {
        Ok(match self.sort.as_deref().map(str::trim) {
            None | Some("" | "risk") => UpdateOrder::Risk,
            Some("name") => UpdateOrder::Name,
            Some("agent") => UpdateOrder::Agent,
            Some("age") => UpdateOrder::Age,
            Some("severity") => UpdateOrder::Severity,
            Some(_) => return Err(bad("sort", "send `risk`, `name`, `agent`, `age` or `severity`")),
        })
    }
}

fn bad(name: &str, expected: &str) -> ApiError {
    ApiError::Invalid(format!("query parameter `{name}` is not allowed: {expected}"))
}

/// Reads states with commas between them.
fn states(text: Option<&str>) -> Result<Vec<String>, ApiError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text == "any" {
        return Ok(read::all_statuses());
    }
    let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
    match words.iter().find(|word| !is_status(word)) {
        None => Ok(words),
        Some(_) => {
            let known = read::all_statuses().join("`, `");
            Err(bad("state", &format!("send `any` or some of `{known}` with commas between them")))
        }
    }
}

/// `GET /api/v3/updates`: pending updates of all hosts; `next` goes to `after` of the next call, and is null at the end.
#[utoipa::path(get, path = "/api/v3/updates", tag = "updates", params(UpdatesQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(query): KnownQuery<UpdatesQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = number("limit", query.limit.as_deref(), UPDATES.1, 1..=UPDATES.0)?;
    let after = number("after", query.after.as_deref(), 0, 0..=i64::MAX as u64)?;
    let (filter, order) = (query.filter(state.master().clock.now())?, query.order()?);
    let state = WebState::clone(&state);
    let lists = state.listings().clone();
    let answer = lists
        .make(async move {
            let db = &state.master().db;
            let found = list_updates(db, &filter, order, after, limit + 1).await;
            let mut views = found.map_err(ApiError::internal)?;
            let has_more = views.len() as u64 > limit;
            views.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let updates = records(&state, &views).await?;
            Ok(json!({ "updates": updates, "next": has_more.then_some(after + limit) }))
        })
        .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// `GET /api/v3/updates/summary`: counts, for pages of others.
#[utoipa::path(get, path = "/api/v3/updates/summary", tag = "updates",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn summary(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let totals = update_totals(&state.master().db).await.map_err(ApiError::internal)?;
    let UpdateTotals {
        public_services,
        outdated_services,
        open_outdated_services,
        unchecked_services,
        unknown_services,
        pending,
        security,
        reboots,
        troubled_hosts,
        scanned_hosts,
    } = totals;
    Ok(HttpResponse::Ok().json(json!({
        "pending": pending, "security": security, "public_services": public_services,
        "outdated_public_services": outdated_services, "unprotected_outdated_public_services": open_outdated_services,
        "unchecked_public_services": unchecked_services, "unknown_public_services": unknown_services,
        "hosts_waiting_for_reboot": reboots, "hosts_with_problems": troubled_hosts, "hosts_scanned": scanned_hosts,
    })))
}

/// `GET /api/v3/updates/{id}`: one update with all that its scan said, and the routes that it stands behind.
#[utoipa::path(get, path = "/api/v3/updates/{id}", tag = "updates", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn show(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let db = &state.master().db;
    let id = UpdateId::new(id.into_inner());
    let found = find_updates(db, std::slice::from_ref(&id)).await.map_err(ApiError::internal)?;
    let row = found.into_iter().next().ok_or_else(|| missing(&id))?;
    let filter = UpdateFilter {
        agent: Some(row.agent_id.clone()),
        kind: Some(row.kind),
        name: Some(row.update.finding.name.clone()),
        statuses: read::all_statuses(),
        also_silenced: true,
        ..UpdateFilter::default()
    };
    let views = list_updates(db, &filter, UpdateOrder::Risk, 0, 1).await.map_err(ApiError::internal)?;
    let mut record = records(&state, &views).await?.pop().ok_or_else(|| missing(&id))?;
    let routes = match row.kind {
        Kind::DockerImage => routes_behind(db, &row.update.finding.name).await.map_err(ApiError::internal)?,
        _ => Vec::new(),
    };
    let own = routes.iter().filter(|(agent, _)| *agent == row.agent_id).map(|(_, key)| key.to_string());
    record["routes"] = json!(own.collect::<Vec<_>>());
    record["finding"] = json!(row.update.finding);
    record["snoozed_until"] = json!(row.update.due_at);
    Ok(HttpResponse::Ok().json(record))
}

fn missing(id: &UpdateId) -> ApiError {
    MasterError::UpdateNotFound(id.clone()).into()
}

/// `POST /api/v3/updates/decisions`: ignores, holds or puts off updates, or takes that back.
#[utoipa::path(post, path = "/api/v3/updates/decisions", tag = "updates", request_body = DecisionBody,
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn decide(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<DecisionBody>,
) -> Result<HttpResponse, ApiError> {
    let DecisionBody { ids, decision, until } = body.0;
    let ids = ids.unwrap_or_default();
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(ApiError::Invalid("field `ids` is not allowed: send 1 to 10,000 ids of updates".into()));
    }
    let now = state.master().clock.now();
    let decision = read_decision(decision.as_deref(), until, now)?;
    let ids: Vec<UpdateId> = ids.into_iter().map(UpdateId::new).collect();
    let done = state.master().decide_updates(&ids, decision, &operator.name).await?;
    Ok(HttpResponse::Ok().json(json!({ "decided": done.decided, "left": done.left })))
}

/// Reads what is decided; none takes back what was.
pub fn read_decision(
    word: Option<&str>,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<Decision>, ApiError> {
    match (word, until) {
        (Some("ignore"), _) => Ok(Some(Decision::Ignore { version: None })),
        (Some("hold"), _) => Ok(Some(Decision::Hold)),
        (Some("snooze"), Some(until)) if until > now => Ok(Some(Decision::Snooze { until })),
        (Some("snooze"), _) => {
            Err(ApiError::Invalid("field `until` is not allowed: send a time that is still to come".into()))
        }
        (Some("reconsider"), _) => Ok(None),
        _ => Err(ApiError::Invalid(
            "field `decision` is not allowed: send `ignore`, `hold`, `snooze` or `reconsider`".into(),
        )),
    }
}

/// Returns updates in the form of the API.
pub async fn records(state: &WebState, views: &[UpdateView]) -> Result<Vec<Value>, ApiError> {
    let mut agents: Vec<AgentId> = views.iter().map(|view| view.row.agent_id.clone()).collect();
    agents.sort();
    agents.dedup();
    let scans = scans_of_agents(&state.master().db, &agents).await.map_err(ApiError::internal)?;
    let scan = |view: &UpdateView| {
        scans.iter().find(|scan| scan.agent_id == view.row.agent_id && scan.checked.kind == view.row.kind)
    };
    Ok(views.iter().map(|view| record(state, view, scan(view))).collect())
}

fn record(state: &WebState, view: &UpdateView, scan: Option<&ScanRow>) -> Value {
    let (row, finding) = (&view.row, &view.row.update.finding);
    let slot = state.master().directory.slot(&row.agent_id);
    let last_known = match (&finding.standing, scan) {
        (Standing::Unchecked { last_known_at, .. }, _) => *last_known_at,
        // Whoever could not look, or not at all of it, says how old what it read is.
        (_, Some(scan)) if !scan.checked.ok => scan.checked.as_of,
        (_, Some(scan)) => slot.and_then(|slot| slot.scanned_at()).or(Some(scan.checked_at)),
        (_, None) => None,
    };
    json!({
        "id": row.update.id, "agent_id": row.agent_id, "agent": view.agent, "kind": row.kind, "name": finding.name,
        "current_version": finding.current_version, "available_version": finding.available_version,
        "state": row.update.status(), "severity": finding.severity, "is_security": finding.is_security,
        "is_public": view.is_public, "is_protected": view.is_protected,
        "first_seen_at": row.update.first_seen_at, "last_checked_at": last_known,
        "problem": problem(view, scan), "reason": finding.held_back.as_ref().map(|held| &held.reason),
    })
}

/// Says why what is shown may not be so, or what is odd about it: of the thing itself, or of the scanner that looked at it.
pub fn problem(view: &UpdateView, scan: Option<&ScanRow>) -> Option<String> {
    match &view.row.update.finding.standing {
        Standing::Unchecked { reason, .. } | Standing::Untracked { reason, .. } => Some(reason.clone()),
        _ => {
            let of_scanner = || {
                let checked = &scan?.checked;
                let problem = checked.problem.as_ref().filter(|_| !checked.ok)?;
                Some(problem.reason.clone())
            };
            view.row.update.finding.flaw.clone().or_else(of_scanner)
        }
    }
}
