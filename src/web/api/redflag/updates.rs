//! Updates, as RedFlag's clients see them, in its words.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::{PageOf, filled};
use crate::db::read::{
    UpdateCount, UpdateFilter, UpdateOrder, UpdateRow, count_updates, find_updates, is_status, list_updates,
    scheduled_plans, update_counts,
};
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::update::{Decision, Kind, Severity};
use crate::web::auth::{Operator, Viewer};
use crate::web::error::ApiError;
use crate::web::picture::presence;
use crate::web::query::Query;
use crate::web::state::WebState;

/// RedFlag's words for where an update stands, each with ours.
const STATUSES: [(&str, &[&str]); 8] = [
    ("pending", &["discovered"]),
    ("approved", &["approved"]),
    // What a host works out of what was approved is told by its command.
    ("checking_dependencies", &[]),
    ("pending_dependencies", &["planned"]),
    ("installing", &["installing"]),
    ("updated", &["verified", "resolved"]),
    ("failed", &["failed", "rolled_back"]),
    ("ignored", &["ignored", "held", "snoozed"]),
];
/// What is listed unless a status is asked for: somebody has something to do about it.
const OPEN: [&str; 5] = ["pending", "approved", "pending_dependencies", "installing", "failed"];

fn theirs(own: &str) -> &str {
    STATUSES.iter().find(|(_, words)| words.contains(&own)).map_or(own, |(word, _)| word)
}

fn ours(theirs: &str) -> Vec<String> {
    let known = STATUSES.iter().find(|(word, _)| *word == theirs);
    let words = known.map_or_else(|| vec![theirs], |(_, words)| words.to_vec());
    words.into_iter().map(str::to_owned).collect()
}

/// Which updates, in which order, and which page of them. RedFlag's server and its page differ in the names; both are taken.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
pub struct UpdatesQuery {
    /// Of the agent with this id.
    agent_id: Option<String>,
    /// The same.
    agent: Option<String>,
    /// `apt`, `dnf`, `docker_image`, `windows_update` or `winget`.
    package_type: Option<String>,
    /// The same.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `critical`, `important`, `moderate` or `low`.
    severity: Option<String>,
    /// `pending`, `approved`, `installing`, `updated`, `failed` or `ignored`; left out: all but `updated` and `ignored`.
    status: Option<String>,
    /// Part of the name.
    search: Option<String>,
    /// `package_name`, `severity`, `agent_id` or `last_discovered_at`; by risk if it is left out.
    sort_by: Option<String>,
    /// `asc` or `desc`.
    sort_order: Option<String>,
    /// Which page, from 1.
    #[param(value_type = Option<u64>)]
    page: Option<String>,
    /// Updates of a page, 1 to 1,000; 50 if it is left out.
    #[param(value_type = Option<u64>)]
    page_size: Option<String>,
}

fn bad(name: &str, expected: &str) -> ApiError {
    ApiError::Invalid(format!("query parameter `{name}` is not allowed: {expected}"))
}

impl UpdatesQuery {
    fn filter(&self) -> Result<UpdateFilter, ApiError> {
        let kind = filled(&self.package_type).or_else(|| filled(&self.kind)).map(|kind| kind.parse::<Kind>());
        let kind = kind.transpose().map_err(|unknown| bad("package_type", &unknown.to_string()))?;
        let statuses = match filled(&self.status) {
            None => OPEN.into_iter().flat_map(ours).collect(),
            Some(word) => ours(&word),
        };
        if !statuses.iter().all(|word| is_status(word)) {
            return Err(bad(
                "status",
                "send `pending`, `approved`, `installing`, `updated`, `failed` or `ignored`",
            ));
        }
        Ok(UpdateFilter {
            agent: filled(&self.agent_id).or_else(|| filled(&self.agent)).map(AgentId::new),
            kind,
            severity: filled(&self.severity).map(|word| Severity::of_word(&word)),
            statuses,
            search: filled(&self.search),
            ..UpdateFilter::default()
        })
    }

    /// The order, and true if it goes the other way round than ours.
    fn order(&self) -> Result<(UpdateOrder, bool), ApiError> {
        let is_descending = match filled(&self.sort_order).as_deref() {
            None => None,
            Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => return Err(bad("sort_order", "send `asc` or `desc`")),
        };
        // Ours begins with the worst and with the oldest.
        let (order, descends) = match filled(&self.sort_by).as_deref() {
            None => (UpdateOrder::Risk, true),
            Some("package_name" | "name") => (UpdateOrder::Name, false),
            Some("agent_id" | "agent" | "agent_name") => (UpdateOrder::Agent, false),
            Some("severity") => (UpdateOrder::Severity, true),
            Some("last_discovered_at" | "created_at" | "age") => (UpdateOrder::Age, false),
            Some(_) => {
                let expected = "send `package_name`, `severity`, `agent_id` or `last_discovered_at`";
                return Err(bad("sort_by", expected));
            }
        };
        Ok((order, is_descending.is_some_and(|asked| asked != descends)))
    }
}

/// `GET /api/v1/updates`.
#[utoipa::path(get, path = "/api/v1/updates", tag = "v1", params(UpdatesQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    query: Query<UpdatesQuery>,
) -> Result<HttpResponse, ApiError> {
    listed(&state, query.0).await
}

/// `GET /api/v1/agents/{id}/updates`: those of one agent, on the path that RedFlag's documents name.
#[utoipa::path(get, path = "/api/v1/agents/{id}/updates", tag = "v1", params(("id" = String, Path), UpdatesQuery),
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn of_agent(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
    query: Query<UpdatesQuery>,
) -> Result<HttpResponse, ApiError> {
    listed(&state, UpdatesQuery { agent_id: Some(id.into_inner()), ..query.0 }).await
}

async fn listed(state: &WebState, query: UpdatesQuery) -> Result<HttpResponse, ApiError> {
    let page = PageOf::read(query.page.as_deref(), ("page_size", query.page_size.as_deref()), 50)?;
    let (filter, (order, is_reversed)) = (query.filter()?, query.order()?);
    let state = state.clone();
    let lists = state.listings().clone();
    let answer = lists
        .make(async move {
            let db = &state.master().db;
            let total = count_updates(db, &filter).await.map_err(ApiError::internal)?;
            let (skipped, wanted) = window(&page, total, is_reversed);
            let found = list_updates(db, &filter, order, skipped, wanted).await;
            let mut views = found.map_err(ApiError::internal)?;
            if is_reversed {
                views.reverse();
            }
            let counts = update_counts(db).await.map_err(ApiError::internal)?;
            Ok(json!({
                "updates": views.iter().map(|view| record(&view.row)).collect::<Vec<_>>(), "total": total,
                "page": page.page, "page_size": page.size, "stats": stats(&counts),
            }))
        })
        .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Which rows a page is made of: the other way round they are counted from the end.
fn window(page: &PageOf, total: u64, is_reversed: bool) -> (u64, u64) {
    let wanted = page.size.min(total.saturating_sub(page.skipped()));
    match is_reversed {
        false => (page.skipped(), wanted),
        true => (total.saturating_sub(page.skipped()).saturating_sub(page.size), wanted),
    }
}

fn record(row: &UpdateRow) -> Value {
    let (update, finding) = (&row.update, &row.update.finding);
    let mut metadata: Map<String, Value> =
        finding.details.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in [
        ("cve_list", json!(finding.cves)),
        ("kb_id", json!(finding.advisories.join(", "))),
        ("size_bytes", json!(finding.size_bytes)),
        ("package_description", json!(finding.description)),
        ("problem", json!(finding.flaw)),
    ] {
        if !matches!(&value, Value::Null) && value != json!([]) && value != json!("") {
            metadata.insert(name.into(), value);
        }
    }
    json!({
        "id": update.id, "agent_id": row.agent_id, "package_type": row.kind, "package_name": finding.name,
        "current_version": finding.current_version.as_deref().unwrap_or_default(),
        "available_version": finding.available_version.as_deref().unwrap_or_default(),
        "severity": finding.severity, "repository_source": finding.source.as_deref().unwrap_or_default(),
        "metadata": metadata, "last_discovered_at": update.first_seen_at, "last_updated_at": update.changed_at,
        "status": theirs(update.status()),
    })
}

fn stats(counts: &[UpdateCount]) -> Value {
    let sum = |fits: &dyn Fn(&UpdateCount) -> bool| -> u64 {
        counts.iter().filter(|one| fits(one)).map(|one| one.count).sum()
    };
    let of_status = |word: &str| sum(&|one| theirs(&one.status) == word);
    let is_open = |one: &UpdateCount| OPEN.contains(&theirs(&one.status));
    let of_severity = |severity: Severity| sum(&|one| is_open(one) && one.severity == severity);
    json!({
        "total_updates": sum(&|one| STATUSES.iter().any(|(word, _)| *word == theirs(&one.status))),
        "pending_updates": of_status("pending"), "approved_updates": of_status("approved"),
        "updated_updates": of_status("updated"), "failed_updates": of_status("failed"),
        "critical_updates": of_severity(Severity::Critical), "high_updates": of_severity(Severity::Important),
        "important_updates": of_severity(Severity::Important), "moderate_updates": of_severity(Severity::Moderate),
        "low_updates": of_severity(Severity::Low),
    })
}

async fn find(state: &WebState, id: &str) -> Result<UpdateRow, ApiError> {
    let ids = [UpdateId::new(id)];
    let found = find_updates(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    found.into_iter().next().ok_or_else(|| ApiError::Missing("no update has this id".into()))
}

/// `GET /api/v1/updates/{id}`.
#[utoipa::path(get, path = "/api/v1/updates/{id}", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn one(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = find(&state, &id).await?;
    let db = &state.master().db;
    let scheduled = scheduled_plans(db, std::slice::from_ref(&row.agent_id)).await;
    let at = row.scheduled_at(&scheduled.map_err(ApiError::internal)?, state.master().clock.now());
    let mut record = record(&row);
    if let Some(at) = at {
        record["scheduled_at"] = json!(at);
    }
    Ok(HttpResponse::Ok().json(record))
}

/// `GET /api/v1/updates/{id}/logs`: what was said while it was installed; nothing is installed yet.
#[utoipa::path(get, path = "/api/v1/updates/{id}/logs", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 404)), security(("admin_token" = [])))]
pub async fn logs(
    _: Viewer,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    find(&state, &id).await?;
    Ok(HttpResponse::Ok().json(json!({ "logs": [], "count": 0 })))
}

/// `POST /api/v1/updates/{id}/reject`: this version is ignored; a newer one is a new thing to decide about.
#[utoipa::path(post, path = "/api/v1/updates/{id}/reject", tag = "v1", params(("id" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn reject(
    operator: Operator,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let row = find(&state, &id).await?;
    let ignore = Some(Decision::Ignore { version: None });
    let done =
        state.master().decide_updates(std::slice::from_ref(&row.update.id), ignore, &operator.name).await?;
    if done.decided == 0 {
        return Err(ApiError::NotNow(format!(
            "the update is {} and cannot be rejected now",
            theirs(row.update.status())
        )));
    }
    Ok(HttpResponse::Ok().json(json!({ "message": "update rejected" })))
}

/// `GET /api/v1/logs/active`: what is under way.
#[utoipa::path(get, path = "/api/v1/logs/active", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn active(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let statuses = ["pending_dependencies", "installing"].into_iter().flat_map(ours).collect();
    let filter = UpdateFilter { statuses, ..UpdateFilter::default() };
    let found = list_updates(&state.master().db, &filter, UpdateOrder::Age, 0, 1_000).await;
    let views = found.map_err(ApiError::internal)?;
    let records: Vec<Value> = views.iter().map(|view| record(&view.row)).collect();
    Ok(HttpResponse::Ok().json(json!({ "count": records.len(), "operations": records })))
}

/// `GET /api/v1/stats/summary`.
#[utoipa::path(get, path = "/api/v1/stats/summary", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn summary(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let counts = update_counts(&state.master().db).await.map_err(ApiError::internal)?;
    let slots = state.master().directory.slots();
    let total = slots.iter().filter(|slot| slot.status().is_heard()).count();
    let online = slots.iter().filter(|slot| presence(&state, slot.id(), None).is_online).count();
    let mut by_type = Map::new();
    for kind in Kind::ALL {
        let of_kind = counts.iter().filter(|one| one.kind == kind && OPEN.contains(&theirs(&one.status)));
        by_type.insert(kind.as_str().into(), json!(of_kind.map(|one| one.count).sum::<u64>()));
    }
    let sums = stats(&counts);
    Ok(HttpResponse::Ok().json(json!({
        "total_agents": total, "online_agents": online, "offline_agents": total.saturating_sub(online),
        "pending_updates": sums["pending_updates"], "failed_updates": sums["failed_updates"],
        "critical_updates": sums["critical_updates"], "high_updates": sums["high_updates"],
        "medium_updates": sums["moderate_updates"], "low_updates": sums["low_updates"], "updates_by_type": by_type,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::read::all_statuses;

    #[test]
    fn every_state_that_an_update_has_is_one_of_theirs() {
        for word in all_statuses() {
            let has_no_update = ["current", "unchecked"].contains(&word.as_str());
            assert_eq!(
                STATUSES.iter().any(|(theirs_, _)| *theirs_ == theirs(&word)),
                !has_no_update,
                "{word}"
            );
        }
    }

    #[test]
    fn a_page_of_the_reversed_order_is_counted_from_the_end() {
        for (page, size, total, reversed, expected) in [
            (1, 10, 25, false, (0, 10)),
            (3, 10, 25, false, (20, 5)),
            (1, 10, 25, true, (15, 10)),
            (3, 10, 25, true, (0, 5)),
            (4, 10, 25, true, (0, 0)),
            (1, 10, 0, true, (0, 0)),
        ] {
            let page = PageOf { page, size };
            assert_eq!(window(&page, total, reversed), expected, "{reversed}: {total}");
        }
    }
}
