//! Everything whose name has a text in it, on one page.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::view::{Badge, badge, route_badge, story_of};
use super::{Shell, SignedIn, page};
use crate::db::read::{
    self, Db, UpdateFilter, agent_names, all_statuses, list_groups, list_update_groups, search_agents,
    search_containers, search_refused, search_routes, search_rules, search_tunnels,
};
use crate::domain::access::system_groups;
use crate::domain::agent::AgentStatus;
use crate::domain::hostname::kept_form;
use crate::domain::publish::PublicState;
use crate::domain::text::{beginning, spell_out};
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Most lines of a kind.
const LINES: u64 = 20;
/// Longest text that is looked for.
const LONGEST: usize = 255;
/// Most characters of what stands beside a name.
const WORDS: usize = 160;

/// What is looked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Wanted {
    /// A part of the name.
    q: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    shell: Shell,
    text: String,
    problem: Option<&'static str>,
    sections: Vec<Section>,
    total: usize,
}

/// What was found of one kind.
struct Section {
    title: &'static str,
    lines: Vec<Line>,
    /// Where all of them are, if there are more.
    rest: Option<String>,
}

struct Line {
    title: String,
    detail: String,
    href: String,
    mark: Option<Badge>,
}

/// `GET /search`: at most so many of each kind, the nearest first.
#[utoipa::path(get, path = "/search", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let text = wanted.q.trim().to_owned();
    let problem =
        (text.chars().count() > LONGEST).then_some("That is longer than any name; look for a part of it.");
    let shell = Shell::new(&person, "").looking_for(&text);
    if text.is_empty() || problem.is_some() {
        return page(&SearchPage { shell, text, problem, sections: Vec::new(), total: 0 });
    }
    let (all, sought) = (state.clone(), Sought::new(&text));
    let found = state.listings().make(async move { sections(&all, &sought).await }).await?;
    let sections: Vec<Section> = found.into_iter().filter(|section| !section.lines.is_empty()).collect();
    let total = sections.iter().map(|section| section.lines.len()).sum();
    page(&SearchPage { shell, text, problem, sections, total })
}

/// A text, and the forms in which it may stand in the database.
struct Sought {
    text: String,
    /// Names of other scripts are kept as Punycode.
    names: Vec<String>,
}

impl Sought {
    fn new(text: &str) -> Self {
        let (bare, kept) = (bare(text), kept_form(bare(text)));
        let mut names = vec![text.to_owned(), bare.to_owned(), kept];
        names.dedup();
        Self { text: text.to_owned(), names }
    }

    fn at(&self, path: &str, field: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair(field, &self.text);
        format!("{path}?{}", query.finish())
    }
}

/// An address from a browser without what stands around the name.
fn bare(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.strip_suffix('/').unwrap_or(rest)
}

async fn sections(state: &WebState, sought: &Sought) -> Result<Vec<Section>, ApiError> {
    let db = &state.master().db;
    Ok(vec![
        agents(db, sought).await?,
        routes(db, sought).await?,
        rules(db, sought).await?,
        refused(db, sought).await?,
        containers(db, sought).await?,
        groups(db, sought).await?,
        updates(db, sought).await?,
        tunnels(db, sought).await?,
    ])
}

/// The first lines, and where the others are.
fn section(title: &'static str, mut lines: Vec<Line>, rest: String) -> Section {
    let is_more = lines.len() as u64 > LINES;
    lines.truncate(LINES as usize);
    Section { title, lines, rest: is_more.then_some(rest) }
}

async fn agents(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_agents(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let line = |agent: read::FoundAgent| Line {
        title: spell_out(&agent.name),
        detail: agent
            .tunnel_name
            .as_deref()
            .map_or_else(String::new, |name| format!("tunnel {}", spell_out(name))),
        href: format!("/agents/{}", agent.id),
        mark: Some(match agent.status {
            AgentStatus::Enrolled => badge("good", "enrolled"),
            AgentStatus::Revoked => badge("bad", "key revoked"),
            AgentStatus::Pending => badge("busy", "waits to be enrolled"),
            AgentStatus::Removed => badge("idle", "removed"),
        }),
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Hosts", lines, sought.at("/agents", "find")))
}

async fn routes(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_routes(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let ids: Vec<_> = found.iter().map(|row| row.route.agent_id.clone()).collect();
    let names = agent_names(db, &ids).await.map_err(ApiError::internal)?;
    let line = |row: read::RouteRow| {
        let route = row.route;
        let agent = names.get(&route.agent_id).map_or(route.agent_id.as_str(), String::as_str);
        let detail = format!("{} · {} on {agent}", route.spec.service, route.container_name);
        Line {
            title: route.spec.key.to_string(),
            detail: beginning(&detail, WORDS),
            href: story_of(&route.spec.key),
            mark: None,
        }
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Routes", lines, sought.at("/routes", "find")))
}

async fn rules(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_rules(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let line = |row: read::ManualRuleRow| {
        let spec = row.rule.spec;
        let detail = format!("{} · set by {}", spec.service, row.set_by);
        Line {
            title: spec.key.to_string(),
            detail: beginning(&detail, WORDS),
            href: story_of(&spec.key),
            mark: None,
        }
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Rules of people", lines, sought.at("/routes", "find")))
}

async fn refused(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_refused(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let ids: Vec<_> = found.iter().filter_map(|row| row.agent_id.clone()).collect();
    let names = agent_names(db, &ids).await.map_err(ApiError::internal)?;
    let line = |row: read::RouteStatusRow| {
        let agent = row.agent_id.as_ref().map(|id| names.get(id).map_or(id.as_str(), String::as_str));
        let detail = format!("wanted on {}", agent.unwrap_or("a host"));
        let mark = PublicState::parse(&row.state).map(|state| route_badge(state, None));
        Line { title: row.key.to_string(), detail: beginning(&detail, WORDS), href: story_of(&row.key), mark }
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Refused", lines, sought.at("/routes", "find")))
}

async fn containers(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_containers(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let ids: Vec<_> = found.iter().map(|row| row.agent_id.clone()).collect();
    let names = agent_names(db, &ids).await.map_err(ApiError::internal)?;
    let line = |row: read::ContainerRow| {
        let agent = names.get(&row.agent_id).map_or(row.agent_id.as_str(), String::as_str);
        let parts = [row.container.image, Some(format!("on {agent}")), row.container.status];
        let detail = parts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
        Line {
            title: spell_out(&row.container.name),
            detail: beginning(&detail, WORDS),
            href: format!("/agents/{}", row.agent_id),
            mark: None,
        }
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Containers", lines, sought.at("/search", "q")))
}

async fn groups(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let made = list_groups(db).await.map_err(ApiError::internal)?;
    let text = sought.text.to_lowercase();
    let all = made.into_iter().map(|row| row.group).chain(system_groups());
    let found = all.filter(|group| {
        group.id.as_str().to_lowercase().contains(&text) || group.name.to_lowercase().contains(&text)
    });
    let lines = found.take(LINES as usize + 1).map(|group| Line {
        title: format!("{} ({})", spell_out(&group.name), group.id),
        detail: beginning(&group.in_words().join("; "), WORDS),
        href: "/access".into(),
        mark: None,
    });
    Ok(section("Access groups", lines.collect(), "/access".into()))
}

async fn updates(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let statuses = all_statuses();
    let filter = UpdateFilter { search: Some(sought.text.clone()), statuses, ..UpdateFilter::default() };
    let found = list_update_groups(db, &filter, 0, LINES + 1).await.map_err(ApiError::internal)?;
    let line = |group: read::UpdateGroup| {
        let mut query = Serializer::new(String::new());
        query.append_pair("kind", group.kind.as_str()).append_pair("name", &group.name);
        let hosts = super::view::count(group.hosts, "host", "hosts");
        let offered =
            group.available_version.map(|version| format!("{version} on offer · ")).unwrap_or_default();
        Line {
            title: spell_out(group.title.as_deref().unwrap_or(&group.name)),
            detail: beginning(&format!("{offered}on {hosts}"), WORDS),
            href: format!("/updates/of?{}", query.finish()),
            mark: None,
        }
    };
    let lines = found.into_iter().map(line).collect();
    Ok(section("Updates", lines, sought.at("/updates", "search")))
}

async fn tunnels(db: &Db, sought: &Sought) -> Result<Section, ApiError> {
    let found = search_tunnels(db, &sought.names, LINES + 1).await.map_err(ApiError::internal)?;
    let lines = found.into_iter().map(|row| Line {
        title: spell_out(&row.name),
        detail: row.id.to_string(),
        href: format!("/cloudflare#tunnel-{}", row.id),
        mark: None,
    });
    Ok(section("Tunnels", lines.collect(), "/cloudflare".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_every_form_in_which_it_may_be_kept() {
        for (text, names) in [
            ("shop", vec!["shop"]),
            ("Shop", vec!["Shop", "shop"]),
            ("https://app.example.com/", vec!["https://app.example.com/", "app.example.com"]),
            ("bücher.example.com", vec!["bücher.example.com", "xn--bcher-kva.example.com"]),
        ] {
            assert_eq!(Sought::new(text).names, names);
        }
        assert_eq!(Sought::new("a&b").at("/routes", "find"), "/routes?find=a%26b");
    }
}
