//! One package or image: what is known of it, the hosts that have it, and the routes it stands behind.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::overview::fragment_of;
use super::view::{Badge, Fact, Moment, badge, fact, size};
use super::view::{host_href, shown_version, state_word, update_marks};
use super::{Shell, SignedIn, page, part};
use crate::db::read::{
    HostPlanRow, ScanRow, UpdateFilter, UpdateOrder, UpdateView, all_statuses, list_updates, routes_behind,
    scans_of_agents, scheduled_plans,
};
use crate::domain::id::AgentId;
use crate::domain::update::{Kind, Standing};
use crate::web::api::updates::problem;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Most hosts that are shown, and that are decided about at once.
pub const HOSTS: u64 = 10_000;

/// Which package or image.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Which {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

#[derive(Template)]
#[template(path = "update.html")]
struct UpdatePage {
    shell: Shell,
    title: String,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "update_live.html")]
struct UpdateLive {
    csrf: String,
    back: String,
    marks: Vec<Badge>,
    description: Option<String>,
    facts: Vec<Fact>,
    routes: Vec<String>,
    hosts: Vec<HostLine>,
}

struct HostLine {
    mark: String,
    id: String,
    name: String,
    href: String,
    detail: String,
    state: Badge,
    checked: Option<Moment>,
    notes: Vec<String>,
}

impl Which {
    /// Its address under `path`.
    pub fn address(&self, path: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("kind", &self.kind).append_pair("name", &self.name);
        format!("{path}?{}", query.finish())
    }

    /// Finds it on every host.
    ///
    /// Fails if its kind is none.
    pub fn filter(&self) -> Result<UpdateFilter, ApiError> {
        let kind = self.kind.parse::<Kind>().map_err(|unknown| ApiError::Missing(unknown.to_string()))?;
        Ok(UpdateFilter {
            kind: Some(kind),
            name: Some(self.name.clone()),
            statuses: all_statuses(),
            ..UpdateFilter::default()
        })
    }
}

/// `GET /updates/of`: one package or image, and the hosts that have it.
#[utoipa::path(get, path = "/updates/of", tag = "pages", params(Which),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(which): Query<Which>,
) -> Result<HttpResponse, ApiError> {
    let (title, live) = render(&person, &state, &which).await?;
    let fragment = which.address("/fragments/updates/of");
    page(&UpdatePage { shell: Shell::new(&person, "/updates"), title, fragment, live })
}

/// `GET /fragments/updates/of`: its live part.
#[utoipa::path(get, path = "/fragments/updates/of", tag = "pages", params(Which), responses((status = 200), (status = 404)),
    security(("session" = [])))]
pub async fn fragment(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(which): Query<Which>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state, &which).await?.1))
}

async fn render(person: &SignedIn, state: &WebState, which: &Which) -> Result<(String, String), ApiError> {
    let db = &state.master().db;
    let views = list_updates(db, &which.filter()?, UpdateOrder::Risk, 0, HOSTS).await;
    let views = views.map_err(ApiError::internal)?;
    let Some(first) = views.first() else {
        return Err(ApiError::Missing(format!("no host has `{}`", which.name)));
    };
    let agents: Vec<AgentId> = views.iter().map(|view| view.row.agent_id.clone()).collect();
    let scans = scans_of_agents(db, &agents).await.map_err(ApiError::internal)?;
    let scheduled = scheduled_plans(db, &agents).await.map_err(ApiError::internal)?;
    let routes = match first.row.kind {
        Kind::DockerImage => routes_behind(db, &which.name).await.map_err(ApiError::internal)?,
        _ => Vec::new(),
    };
    let finding = &first.row.update.finding;
    let title = finding.title.clone().unwrap_or_else(|| finding.name.clone());
    let is_open = views.iter().any(|view| view.is_public && !view.is_protected);
    let is_public = views.iter().any(|view| view.is_public);
    let live = part(&UpdateLive {
        csrf: person.session.csrf.clone(),
        back: which.address("/updates/of"),
        marks: update_marks(is_open, is_public, finding.is_security == Some(true), finding.severity),
        description: finding.description.clone(),
        facts: about(first),
        routes: routes.into_iter().map(|(_, key)| key.to_string()).collect(),
        hosts: views.iter().map(|view| host_line(state, view, &scans, &scheduled)).collect(),
    })?;
    Ok((title, live))
}

fn about(view: &UpdateView) -> Vec<Fact> {
    let finding = &view.row.update.finding;
    let mut facts = vec![fact("Kind", view.row.kind.title()), fact("Name", finding.name.as_str())];
    let texts = [
        ("From", finding.source.clone()),
        ("Belongs to", finding.group.clone()),
        ("Size", finding.size_bytes.map(size)),
        ("CVEs", (!finding.cves.is_empty()).then(|| finding.cves.join(", "))),
        ("Advisories", (!finding.advisories.is_empty()).then(|| finding.advisories.join(", "))),
        ("Odd", finding.flaw.clone()),
    ];
    facts.extend(texts.into_iter().filter_map(|(title, text)| Some(fact(title, text?))));
    facts
}

fn host_line(state: &WebState, view: &UpdateView, scans: &[ScanRow], scheduled: &[HostPlanRow]) -> HostLine {
    let (row, finding, now) = (&view.row, &view.row.update.finding, state.master().clock.now());
    let scan = scans.iter().find(|scan| scan.agent_id == row.agent_id && scan.checked.kind == row.kind);
    let told = state.master().directory.slot(&row.agent_id).and_then(|slot| slot.checked_as_of(row.kind));
    let checked = match &finding.standing {
        Standing::Unchecked { last_known_at, .. } => *last_known_at,
        _ => told.or_else(|| scan?.checked.as_of),
    };
    let version = |text: &Option<String>| text.as_deref().map(shown_version);
    let versions = match (version(&finding.current_version), version(&finding.available_version)) {
        (Some(current), Some(available)) => format!("{current} → {available}"),
        (None, Some(available)) => format!("→ {available}"),
        (Some(current), None) => current,
        (None, None) => "no version known".into(),
    };
    let held = finding.held_back.as_ref().map(|held| held.reason.clone());
    let until = row.update.due_at.map(|at| format!("Put off until {}.", at.format("%Y-%m-%d %H:%M UTC")));
    let begins = row.scheduled_at(scheduled, now).map(|at| {
        format!("Approved to be installed at {}, and not before.", at.format("%Y-%m-%d %H:%M UTC"))
    });
    HostLine {
        mark: format!("id-{}", row.update.id),
        id: row.update.id.to_string(),
        name: view.agent.clone(),
        href: host_href(&row.agent_id),
        detail: format!("{versions} · first seen {}", Moment::of(row.update.first_seen_at, now).ago),
        state: state_badge(view),
        checked: checked.map(|at| Moment::of(at, now)),
        notes: problem(view, scan).into_iter().chain(held).chain(until).chain(begins).collect(),
    }
}

fn state_badge(view: &UpdateView) -> Badge {
    let status = view.row.update.status();
    let tone = match (status, &view.row.update.finding.standing) {
        (_, Standing::Unchecked { .. }) | ("failed" | "rolled_back", _) => "warn",
        ("verified" | "current" | "resolved", _) => "good",
        ("ignored" | "held" | "snoozed", _) => "idle",
        _ => "busy",
    };
    let word = match &view.row.update.finding.standing {
        Standing::RestartNeeded if status == "discovered" => "restart the container",
        _ => state_word(status),
    };
    badge(tone, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_an_address_may_not() {
        let which = Which { kind: "docker_image".into(), name: "ghcr.io/a/b:1".into() };
        assert_eq!(which.address("/updates/of"), "/updates/of?kind=docker_image&name=ghcr.io%2Fa%2Fb%3A1");
    }
}
