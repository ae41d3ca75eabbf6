//! The first page: one line of truth, then what needs a look, agents and routes.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use askama::Template;

use super::filter::{Cut, Gathering, Wanted};
use super::truth::{TruthLine, truth_lines};
use super::view::{AgentLine, Badge, Problem, RouteLine, badge, count, story_of, tunnel_badge};
use super::{Shell, SignedIn, page, part, protect};
use crate::db::read::{
    AgentView, ContainerProblemView, RefusedView, RouteView, TunnelObservedRow, TunnelStatusRow,
    container_problem_views, refused_views, route_views, tunnel_status_after, update_totals,
};
use crate::domain::agent::AgentStatus;
use crate::domain::connector::Reach;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::publish::{PublicState, TunnelState};
use crate::domain::tunnel::{ELSEWHERE, TunnelHealth, UNREADABLE};
use crate::web::error::ApiError;
use crate::web::label_words::label_problem;
use crate::web::listings::next;
use crate::web::picture::{Member, Members, ROWS, presence, warning};
use crate::web::rules::{RuleView, rule_views};
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
    updates: Vec<TruthLine>,
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
    let mut agents = Agents::new();
    let members = Members::read_with(state, |view, member| agents.add(state, view, member)).await?;
    let mut routes = Routes::new();
    each_route(state, |view| routes.add(&members, view)).await?;
    each_rule(state, &members, |view| routes.add_rule(view)).await?;
    let problems = problems(state, &members, &mut agents, &mut routes).await?;
    let totals = update_totals(&state.master().db).await.map_err(ApiError::internal)?;
    part(&Live {
        truth: truth(&agents, &routes, problems.total),
        updates: truth_lines(&totals),
        problems: bounded(problems),
        agent_total: agents.lines.total(),
        agents: agents.lines.page("/agents").lines.into_iter().take(LINES).collect(),
        routes: routes.lines.lines,
        route_total: routes.lines.total,
    })
}

/// What the page says of agents, gathered while they are read.
struct Agents {
    /// What is not well comes first, then the order is by name.
    lines: Gathering<AgentLine, (usize, (String, String))>,
    online: usize,
    /// Those that need a look.
    odd: Vec<Odd>,
}

/// An agent that needs a look.
struct Odd {
    place: (String, String),
    id: AgentId,
    name: String,
    problems: Vec<Problem>,
    /// Why its routes are not known to be reachable, if it has any.
    unreached: Option<String>,
}

impl Agents {
    fn new() -> Self {
        let tone = |line: &AgentLine| {
            let tones = ["bad", "busy", "warn", "idle", "good"];
            (tones.iter().position(|tone| *tone == line.state.tone).unwrap_or_default(), line.place())
        };
        Self { lines: Gathering::new(Wanted::default(), tone), online: 0, odd: Vec::new() }
    }

    fn add(&mut self, state: &WebState, view: &AgentView, member: &Member) {
        let line = agent_line(state, view);
        self.online += usize::from(presence(state, &view.agent.id, Some(&view.agent)).is_online);
        let (problems, unreached) = (agent_problems(state, view), unreached(state, view, member));
        if !problems.is_empty() || unreached.is_some() {
            let (id, name) = (view.agent.id.clone(), view.agent.display_name.clone());
            self.odd.push(Odd { place: line.place(), id, name, problems, unreached });
        }
        self.lines.add(line);
    }
}

/// What the page says of routes, gathered while they are read.
struct Routes {
    lines: Cut<RouteLine>,
    published: usize,
    live: usize,
    published_of: HashMap<AgentId, u64>,
    problems: Cut<Problem>,
}

impl Routes {
    fn new() -> Self {
        let (lines, problems) = (Cut::new(LINES), Cut::new(PROBLEMS));
        Self { lines, published: 0, live: 0, published_of: HashMap::new(), problems }
    }

    fn add(&mut self, members: &Members, view: &RouteView) {
        let route = &view.route.route;
        let standing = members.standing(view);
        self.live += usize::from(standing.is_live());
        if standing.state == PublicState::Published {
            self.published += 1;
            *self.published_of.entry(route.agent_id.clone()).or_default() += 1;
        }
        let is_bad = standing.state.is_bad() || standing.state == PublicState::Held;
        if is_bad || standing.doubt.as_ref().is_some_and(|doubt| doubt.is_certain) {
            let detail = standing.reasons().unwrap_or_else(|| standing.state.as_str().to_owned());
            let title = route.spec.key.to_string();
            self.problems.add(Problem { title, detail, href: Some("/routes".into()), link: "Routes" });
        }
        self.lines.add(route_line(members, view));
    }

    fn add_rule(&mut self, view: &RuleView) {
        let standing = view.standing();
        self.live += usize::from(standing.is_live());
        self.published += usize::from(standing.state == PublicState::Published);
        if standing.state.is_bad() {
            let detail = standing.reasons().unwrap_or_else(|| standing.state.as_str().to_owned());
            let title = view.row.rule.spec.key.to_string();
            self.problems.add(Problem { title, detail, href: Some("/routes".into()), link: "Routes" });
        }
        self.lines.add(RouteLine::of_rule(view));
    }
}

/// Puts an agent on a line.
pub fn agent_line(state: &WebState, view: &AgentView) -> AgentLine {
    let agent = &view.agent;
    let now = state.master().clock.now();
    AgentLine::of(view, presence(state, &agent.id, Some(agent)), warning(state, agent), now)
}

/// Puts a route on a line.
pub fn route_line(members: &Members, view: &RouteView) -> RouteLine {
    let route = &view.route.route;
    RouteLine::of(route, members.standing(view), members.name(&route.agent_id))
}

/// Shows every rule that a person made to `on`, by name.
pub async fn each_rule(
    state: &WebState,
    members: &Members,
    mut on: impl FnMut(&RuleView),
) -> Result<(), ApiError> {
    let mut after = None;
    loop {
        let (views, end) = rule_views(state, members, after.as_ref()).await?;
        views.iter().for_each(&mut on);
        after = end;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Shows every claimed route to `on`, by name.
pub async fn each_route(state: &WebState, mut on: impl FnMut(&RouteView)) -> Result<(), ApiError> {
    let mut after = None;
    loop {
        let views =
            route_views(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
        views.iter().for_each(&mut on);
        after = next(&views, ROWS, |view| view.route.route.spec.key.clone());
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Shows everything that labels asked for and did not get to `on`.
pub async fn each_refusal(
    state: &WebState,
    members: &Members,
    mut on: impl FnMut(Problem),
) -> Result<(), ApiError> {
    let db = &state.master().db;
    let mut after = None;
    loop {
        let views = refused_views(db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
        views.iter().for_each(|view| on(refused(members, view)));
        after = next(&views, ROWS, |view| (view.status.key.clone(), view.agent_id.clone()));
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let views = container_problem_views(db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
        let told_here = views.iter().filter(|view| !view.is_refused_route);
        told_here.for_each(|view| on(unreadable_label(members, view)));
        after = next(&views, ROWS, ContainerProblemView::place);
        if after.is_none() {
            return Ok(());
        }
    }
}

fn truth(agents: &Agents, routes: &Routes, problems: usize) -> Badge {
    let (total, online) = (agents.lines.total(), agents.online);
    let (published, live) = (routes.published, routes.live);
    let agents = format!("{online} of {} online", count(total as u64, "agent", "agents"));
    let routes = match published - live {
        0 => format!("{} live", count(live as u64, "route", "routes")),
        _ => format!("{live} of {} live", count(published as u64, "published route", "published routes")),
    };
    if total == 0 {
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
async fn problems(
    state: &WebState,
    members: &Members,
    agents: &mut Agents,
    routes: &mut Routes,
) -> Result<Cut<Problem>, ApiError> {
    let mut found = Cut::new(PROBLEMS);
    token_problems(state, agents.lines.total() > 0).into_iter().for_each(|problem| found.add(problem));
    agents.odd.sort_by(|one, other| one.place.cmp(&other.place));
    for odd in agents.odd.drain(..) {
        odd.problems.into_iter().for_each(|problem| found.add(problem));
        let routes = routes.published_of.get(&odd.id).copied().unwrap_or_default();
        if let Some(reason) = odd.unreached.filter(|_| routes > 0) {
            let routes = count(routes, "route is", "routes are");
            found.add(Problem {
                title: odd.name,
                detail: format!("{routes} published and not known to be reachable: {reason}"),
                href: Some(format!("/agents/{}", odd.id)),
                link: "Agent",
            });
        }
    }
    let mut after = None;
    loop {
        let rows = tunnel_status_after(&state.master().db, after.as_ref(), ROWS).await;
        let rows = rows.map_err(ApiError::internal)?;
        rows.iter().filter_map(|row| tunnel_trouble(members, row)).for_each(|problem| found.add(problem));
        after = next(&rows, ROWS, |row| row.tunnel_id.clone());
        if after.is_none() {
            break;
        }
    }
    found.append(std::mem::replace(&mut routes.problems, Cut::new(0)));
    each_refusal(state, members, |problem| found.add(problem)).await?;
    Ok(found)
}

/// What is wrong with the token for Cloudflare.
fn token_problems(state: &WebState, has_agents: bool) -> Vec<Problem> {
    let problem = |title: &str, detail: String| Problem { title: title.into(), detail, href: None, link: "" };
    let mut found = Vec::new();
    if !state.master().has_cloudflare() && has_agents {
        let detail = "Routes are planned and not published. Give one under Settings, or set `CF_API_TOKEN` and `CF_ACCOUNT_ID` and start the master again.";
        found.push(problem("No Cloudflare token", detail.into()));
    }
    if let Some(refusal) = state.master().cloudflare_refusal() {
        let detail =
            format!("Nothing is published or withdrawn until `CF_API_TOKEN` is one that it takes: {refusal}");
        found.push(problem("Cloudflare refuses the token", detail));
    }
    found
}

fn tunnel_trouble(members: &Members, tunnel: &TunnelStatusRow) -> Option<Problem> {
    (tunnel.state == TunnelState::Waiting.as_str() || tunnel.reason.is_some()).then(|| Problem {
        title: tunnel_name(members, &tunnel.tunnel_id),
        detail: tunnel.reason.clone().unwrap_or_else(|| "the tunnel holds rules that others made".into()),
        href: Some("/routes".into()),
        link: "Look at it",
    })
}

fn agent_problems(state: &WebState, view: &AgentView) -> Vec<Problem> {
    let mut found = Vec::new();
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
        AgentStatus::Pending if presence.is_online && agent.other_machine.is_none() => {
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
    found
}

/// Why routes of an agent are not known to be reachable; what it says of it itself was told before.
fn unreached(state: &WebState, view: &AgentView, member: &Member) -> Option<String> {
    let agent = &view.agent;
    let is_told = !presence(state, &agent.id, Some(agent)).is_online
        || view.tunnel.as_ref().is_some_and(|seen| tunnel_problem(seen, true).is_some());
    let reach = member.reach.as_ref().filter(|reach| reach.reach != Reach::Yes && !is_told)?;
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
        TunnelHealth::Unknown => reason.is_some_and(|reason| ![UNREADABLE, ELSEWHERE].contains(&reason)),
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
fn refused(members: &Members, view: &RefusedView) -> Problem {
    let status = &view.status;
    let word = || status.state.replace('_', " ");
    Problem {
        title: status.key.to_string(),
        detail: status.reason.as_ref().map_or_else(word, |reason| members.with_names(reason)),
        href: Some(story_of(&status.key)),
        link: "Its story",
    }
}

/// A label that cannot be carried out.
fn unreadable_label(members: &Members, view: &ContainerProblemView) -> Problem {
    let id = &view.row.agent_id;
    Problem {
        title: format!("{} on {}", view.container, members.name(id).unwrap_or(id.as_str())),
        detail: label_problem(&view.row.problem),
        href: Some(format!("/agents/{id}")),
        link: "Agent",
    }
}

fn tunnel_name(members: &Members, id: &TunnelId) -> String {
    let owner = members.members().find(|member| member.tunnel_id.as_ref() == Some(id));
    owner.and_then(|member| member.tunnel_name.clone()).unwrap_or_else(|| id.to_string())
}

fn bounded(problems: Cut<Problem>) -> Vec<Problem> {
    let more = problems.total - problems.lines.len();
    let mut shown = problems.lines;
    if more > 0 {
        let detail = format!("{more} more of the kind");
        shown.push(Problem {
            title: "And others".into(),
            detail,
            href: Some("/routes".into()),
            link: "Routes",
        });
    }
    shown
}
