//! The first page: one line of truth, then what needs a look, agents and routes.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use askama::Template;

use super::view::{AgentLine, Badge, Problem, RouteLine, badge, count, tunnel_badge};
use super::{Shell, SignedIn, page, part, protect};
use crate::db::read::{
    AgentView, ContainerProblem, ContainerProblemRow, RouteRow, TunnelObservedRow, TunnelStatusRow,
};
use crate::domain::agent::AgentStatus;
use crate::domain::connector::Reach;
use crate::domain::id::AgentId;
use crate::domain::publish::PublicState;
use crate::domain::tunnel::{TunnelHealth, UNREADABLE};
use crate::web::error::ApiError;
use crate::web::picture::{Picture, Standing, presence, warning};
use crate::web::state::WebState;

/// Most lines of a kind on this page.
const LINES: usize = 12;
/// Most problems on one page; the rest are counted.
const PROBLEMS: usize = 40;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    live: String,
}

#[derive(Template)]
#[template(path = "overview_live.html")]
struct Live {
    truth: Badge,
    problems: Vec<Problem>,
    agents: Vec<AgentLine>,
    agent_total: usize,
    routes: Vec<RouteLine>,
    route_total: usize,
}

/// `GET /`.
#[utoipa::path(get, path = "/", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    page(&OverviewPage { shell: Shell::new(&person, "/"), live: render(&state).await? })
}

/// `GET /fragments/overview`: its live part.
#[utoipa::path(get, path = "/fragments/overview", tag = "pages", responses((status = 200)), security(("session" = [])))]
pub async fn fragment(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state).await?))
}

/// Wraps a live part for the script that asked for it.
pub fn fragment_of(text: String) -> HttpResponse {
    let mut answer = HttpResponse::Ok().content_type("text/html; charset=utf-8").body(text);
    protect(&mut answer);
    answer
}

async fn render(state: &WebState) -> Result<String, ApiError> {
    let all = state.clone();
    state.listings().make(async move { live(&all).await }).await
}

async fn live(state: &WebState) -> Result<String, ApiError> {
    let picture = Picture::read(state).await?;
    let problems = problems(state, &picture);
    let mut agents: Vec<AgentLine> = agent_lines(state, &picture);
    // What is not well comes first; the sort keeps the order by name otherwise.
    agents.sort_by_key(|line| {
        ["bad", "busy", "warn", "idle", "good"].iter().position(|tone| *tone == line.state.tone)
    });
    agents.truncate(LINES);
    let mut routes: Vec<RouteLine> = route_lines(&picture);
    routes.truncate(LINES);
    part(&Live {
        truth: truth(state, &picture, problems.len()),
        problems: bounded(problems),
        agents,
        agent_total: picture.agents.len(),
        routes,
        route_total: picture.routes.len(),
    })
}

/// All agents, by name.
pub fn agent_lines(state: &WebState, picture: &Picture) -> Vec<AgentLine> {
    let now = state.master().clock.now();
    let line = |view: &AgentView| {
        let agent = &view.agent;
        AgentLine::of(view, presence(state, &agent.id, Some(agent)), warning(state, agent), now)
    };
    picture.agents.iter().map(line).collect()
}

/// All claimed routes, by name.
pub fn route_lines(picture: &Picture) -> Vec<RouteLine> {
    let line = |row: &RouteRow| {
        let agent = picture.agent(&row.route.agent_id).map(|agent| agent.display_name.as_str());
        RouteLine::of(&row.route, picture.standing(&row.route), agent)
    };
    picture.routes.iter().map(line).collect()
}

fn truth(state: &WebState, picture: &Picture, problems: usize) -> Badge {
    let total = picture.agents.len();
    let is_online = |view: &&AgentView| presence(state, &view.agent.id, Some(&view.agent)).is_online;
    let online = picture.agents.iter().filter(is_online).count();
    let standings = || picture.routes.iter().map(|row| picture.standing(&row.route));
    let published = standings().filter(|standing| standing.state == PublicState::Published).count();
    let live = standings().filter(Standing::is_live).count();
    let agents = format!("{online} of {} online", count(total as u64, "agent", "agents"));
    let routes = match published - live {
        0 => format!("{} live", count(live as u64, "route", "routes")),
        _ => format!("{live} of {} live", count(published as u64, "published route", "published routes")),
    };
    if picture.agents.is_empty() {
        return badge("idle", "No agents yet. Add a host to begin.");
    }
    if problems > 0 {
        let things = count(problems as u64, "thing needs a look", "things need a look");
        let tone = if online < total { "bad" } else { "warn" };
        return badge(tone, format!("{things}: {agents}, {routes}."));
    }
    badge("good", format!("All is well: {agents}, {routes}."))
}

/// Everything that needs a look, the worst first.
pub fn problems(state: &WebState, picture: &Picture) -> Vec<Problem> {
    let mut found = Vec::new();
    if !state.master().has_cloudflare() && !picture.agents.is_empty() {
        found.push(Problem {
            title: "No Cloudflare token".into(),
            detail:
                "Routes are planned and not published. Set `CF_API_TOKEN` and `CF_ACCOUNT_ID`, and restart the master."
                    .into(),
            href: None,
            link: "",
        });
    }
    if let Some(refusal) = state.master().cloudflare_refusal() {
        found.push(Problem {
            title: "Cloudflare refuses the token".into(),
            detail: format!(
                "Nothing is published or withdrawn until `CF_API_TOKEN` is one that it takes: {refusal}"
            ),
            href: None,
            link: "",
        });
    }
    let mut published = HashMap::<&AgentId, usize>::new();
    for row in
        picture.routes.iter().filter(|row| picture.standing(&row.route).state == PublicState::Published)
    {
        *published.entry(&row.route.agent_id).or_default() += 1;
    }
    for view in &picture.agents {
        agent_problems(state, view, &mut found);
        let routes = published.get(&view.agent.id).copied().unwrap_or_default();
        found.extend(unreached(state, picture, view).filter(|_| routes > 0).map(|reason| Problem {
            title: view.agent.display_name.clone(),
            detail: format!(
                "{} published and not known to be reachable: {reason}",
                count(routes as u64, "route is", "routes are")
            ),
            href: Some(format!("/agents/{}", view.agent.id)),
            link: "Agent",
        }));
    }
    let is_told = |t: &&TunnelStatusRow| t.state.contains("wait") || t.reason.is_some();
    found.extend(picture.tunnels.values().filter(is_told).map(|tunnel| Problem {
        title: tunnel_name(picture, tunnel.tunnel_id.as_str()),
        detail: tunnel.reason.clone().unwrap_or_else(|| "the tunnel holds rules that others made".into()),
        href: Some("/routes".into()),
        link: "Look at it",
    }));
    for row in &picture.routes {
        let standing = picture.standing(&row.route);
        let is_bad = standing.state.is_bad() || standing.state == PublicState::Held;
        if is_bad || standing.doubt.is_some_and(|doubt| doubt.is_certain) {
            let detail = standing.reasons().unwrap_or_else(|| standing.state.as_str().to_owned());
            let title = row.route.spec.key.to_string();
            found.push(Problem { title, detail, href: Some("/routes".into()), link: "Routes" });
        }
    }
    found.extend(refused(picture));
    found.extend(label_problems(picture));
    found
}

fn agent_problems(state: &WebState, view: &AgentView, found: &mut Vec<Problem>) {
    let agent = &view.agent;
    let presence = presence(state, &agent.id, Some(agent));
    let mut add = |detail: String, link| {
        found.push(Problem {
            title: agent.display_name.clone(),
            detail,
            href: Some(format!("/agents/{}", agent.id)),
            link,
        });
    };
    match agent.status {
        AgentStatus::Enrolled if !presence.is_online => add(
            "The agent is offline; its routes stay. See on its host whether it runs and reaches this master."
                .into(),
            "Agent",
        ),
        AgentStatus::Pending if presence.is_online => {
            add("A new agent waits to be enrolled.".into(), "Enrol")
        }
        _ => {}
    }
    if let Some(warning) = warning(state, agent) {
        add(warning, "Agent");
    }
    if let (AgentStatus::Enrolled, Some(observed)) = (agent.status, &view.tunnel)
        && let Some(problem) = tunnel_problem(observed, agent.tunnel_id.is_some())
    {
        add(problem, "Agent");
    }
}

/// Why routes of an agent are not known to be reachable; what it says of it itself was told before.
fn unreached(state: &WebState, picture: &Picture, view: &AgentView) -> Option<String> {
    let agent = &view.agent;
    let is_told = !presence(state, &agent.id, Some(agent)).is_online
        || view.tunnel.as_ref().is_some_and(|seen| tunnel_problem(seen, true).is_some());
    let reach = picture.reach(&agent.id).filter(|reach| reach.reach != Reach::Yes && !is_told)?;
    Some(reach.reason.clone().unwrap_or_else(|| reach.reach.as_str().to_owned()))
}

fn tunnel_problem(observed: &TunnelObservedRow, has_tunnel: bool) -> Option<String> {
    let reason = observed.report.reason.as_deref();
    let is_problem = match observed.report.health {
        TunnelHealth::Failed | TunnelHealth::Degraded | TunnelHealth::Restarting => true,
        // An agent that has no tunnel yet has none to run, and may have other trouble.
        TunnelHealth::Stopped => has_tunnel || reason.is_some(),
        // It serves, and something else is wrong on that host, such as a full disk.
        TunnelHealth::Running => reason.is_some(),
        // Such as an Engine that is away: what runs on that host is not known either.
        TunnelHealth::Unknown => reason.is_some_and(|reason| reason != UNREADABLE),
    };
    let how = match observed.report.health {
        TunnelHealth::Unknown => "How the tunnel is, is not known".to_owned(),
        _ => format!("The tunnel is {}", tunnel_badge(observed).word),
    };
    is_problem.then(|| match reason {
        Some(reason) => format!("{how}: {reason}"),
        None => how,
    })
}

/// What labels asked for and did not get.
pub fn refused(picture: &Picture) -> Vec<Problem> {
    let problem = |status: &crate::db::read::RouteStatusRow| Problem {
        title: status.key.to_string(),
        detail: status
            .reason
            .as_ref()
            .map_or_else(|| status.state.replace('_', " "), |reason| picture.with_names(reason)),
        href: Some(format!("/agents/{}", status.agent_id)),
        link: "Agent",
    };
    picture.refused().into_iter().map(problem).collect()
}

/// Labels that cannot be carried out.
pub fn label_problems(picture: &Picture) -> Vec<Problem> {
    let problem = |row: &ContainerProblemRow| {
        let agent =
            picture.agent(&row.agent_id).map_or(row.agent_id.as_str(), |agent| agent.display_name.as_str());
        Problem {
            title: format!("{} on {agent}", picture.container_name(row)),
            detail: label_problem(&row.problem),
            href: Some(format!("/agents/{}", row.agent_id)),
            link: "Agent",
        }
    };
    picture.label_problems().map(problem).collect()
}

/// Says what is wrong with a label.
pub fn label_problem(problem: &ContainerProblem) -> String {
    let ContainerProblem { label, value, reason } = problem;
    match value.is_empty() {
        true => format!("`{label}`: {reason}"),
        false => format!("`{label}={}`: {reason}", shortened(value)),
    }
}

/// Returns a value that fits on a line.
pub fn shortened(value: &str) -> String {
    match value.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn tunnel_name(picture: &Picture, id: &str) -> String {
    let owner = picture
        .agents
        .iter()
        .find(|view| view.agent.tunnel_id.as_ref().is_some_and(|own| own.as_str() == id));
    owner.and_then(|view| view.agent.tunnel_name.clone()).unwrap_or_else(|| id.to_owned())
}

fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(PROBLEMS);
    problems.truncate(PROBLEMS);
    if more > 0 {
        let detail = format!("{more} more of the kind");
        problems.push(Problem {
            title: "And others".into(),
            detail,
            href: Some("/routes".into()),
            link: "Routes",
        });
    }
    problems
}
