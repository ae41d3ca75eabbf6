//! What is known of agents and routes, read once for one answer or one page.
//!
//! Decisions and observations come from the database, presence from the slots. Nothing here is kept.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::doubts::Doubts;
use super::error::ApiError;
use super::state::WebState;
use crate::actors::master::{Dialect, LackingSeat, Source};
use crate::db::read::{
    self, ALL, AgentRow, AgentView, ContainerProblemRow, RouteRow, RouteStatusRow, TunnelConnectorsRow,
    TunnelObservedRow, TunnelStatusRow,
};
use crate::domain::connector::{Reach, Reachability, Said, Sight};
use crate::domain::id::{AgentId, ContainerId, TunnelId};
use crate::domain::moving;
use crate::domain::networks::Doubt;
use crate::domain::publish::{HELD, PublicState, public_state};
use crate::domain::route::{Route, RouteKey, RouteState};
use crate::domain::tunnel::TunnelReport;

/// Presence of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// When it was last heard.
    pub last_seen: Option<DateTime<Utc>>,
    /// True if that is not too long ago.
    pub is_online: bool,
}

/// Everything at once.
pub struct Picture {
    /// Agents, by name.
    pub agents: Vec<AgentView>,
    /// Claimed routes, by hostname and path.
    pub routes: Vec<RouteRow>,
    /// What Cloudflare made of them, and what was refused.
    statuses: Statuses,
    /// What Cloudflare made of the tunnels.
    pub tunnels: HashMap<TunnelId, TunnelStatusRow>,
    /// Labels that cannot be carried out.
    problems: Vec<ContainerProblemRow>,
    /// Names of the containers that have them.
    container_names: HashMap<(AgentId, ContainerId), String>,
    /// Where each agent stands in `agents`.
    places: HashMap<AgentId, usize>,
}

impl Picture {
    /// Reads it.
    pub async fn read(state: &WebState) -> Result<Self, ApiError> {
        let db = &state.master().db;
        let mut agents = read::agent_views(db, None, ALL).await.map_err(ApiError::internal)?;
        agents.sort_by_cached_key(|view| (view.agent.display_name.to_lowercase(), view.agent.id.clone()));
        let routes = read::list_routes(db, None, ALL).await.map_err(ApiError::internal)?;
        let statuses = read::list_route_status(db, None, ALL).await.map_err(ApiError::internal)?;
        let tunnels = read::list_tunnel_status(db, ALL).await.map_err(ApiError::internal)?;
        let tunnels: HashMap<_, _> = tunnels.into_iter().map(|row| (row.tunnel_id.clone(), row)).collect();
        let connectors = read::list_tunnel_connectors(db, ALL).await.map_err(ApiError::internal)?;
        let connectors: HashMap<_, _> =
            connectors.into_iter().map(|row| (row.tunnel_id.clone(), row)).collect();
        let reach = agents.iter().filter_map(|view| {
            let tunnel = view.agent.publishes_in()?;
            let (status, listed) = (tunnels.get(tunnel), connectors.get(tunnel));
            let reach = reachability(state, &view.agent, view.tunnel.as_ref(), status, listed)?;
            Some((view.agent.id.clone(), reach))
        });
        let reach = reach.collect();
        let doubts = Doubts::of_all(
            db,
            routes.iter().map(|row| &row.route),
            agents.iter().map(|view| (&view.agent, view.tunnel.as_ref())),
        )
        .await?;
        let problems = read::list_container_problems(db, None, ALL).await.map_err(ApiError::internal)?;
        Ok(Self {
            places: agents.iter().enumerate().map(|(place, view)| (view.agent.id.clone(), place)).collect(),
            statuses: Statuses::of(state, agents.iter().map(|view| &view.agent), statuses, reach, doubts),
            agents,
            routes,
            tunnels,
            container_names: read::names_with_problems(db).await.map_err(ApiError::internal)?,
            problems,
        })
    }

    /// Returns what a person calls a container with a problem.
    pub fn container_name(&self, problem: &ContainerProblemRow) -> String {
        let key = (problem.agent_id.clone(), problem.container_id.clone());
        let short = || problem.container_id.as_str().chars().take(12).collect();
        self.container_names.get(&key).cloned().unwrap_or_else(short)
    }

    /// Returns an agent.
    pub fn agent(&self, id: &AgentId) -> Option<&AgentRow> {
        self.places.get(id).map(|place| &self.agents[*place].agent)
    }

    /// Says a reason with the names of agents where it has their ids.
    pub fn with_names(&self, reason: &str) -> String {
        let named = |word: &str| self.agent(&AgentId::new(word)).map(|agent| agent.display_name.clone());
        let words: Vec<String> =
            reason.split('`').map(|word| named(word).unwrap_or_else(|| word.to_owned())).collect();
        words.join("`")
    }

    /// Returns where a route stands.
    pub fn standing(&self, route: &Route) -> Standing<'_> {
        self.statuses.standing(route)
    }

    /// Says whether requests reach the tunnel of an agent; none if it has no tunnel.
    pub fn reach(&self, agent: &AgentId) -> Option<&Reachability> {
        self.statuses.reach(agent)
    }

    /// Returns labels that cannot be carried out, but for names that are told of as refused routes already.
    pub fn label_problems(&self) -> impl Iterator<Item = &ContainerProblemRow> {
        let refused = self.refused_names();
        self.problems.iter().filter(move |row| !refused.contains(&name_of(row)))
    }

    /// Returns who asks for the routes that are refused, by agent and route as it is written.
    pub fn askers(&self) -> HashMap<(&AgentId, String), String> {
        let refused = self.refused_names();
        let asking = self.problems.iter().filter(|row| refused.contains(&name_of(row)));
        asking.map(|row| (name_of(row), self.container_name(row))).collect()
    }

    fn refused_names(&self) -> HashSet<(&AgentId, String)> {
        self.refused().into_iter().map(|status| (&status.agent_id, status.key.to_string())).collect()
    }

    /// Returns what was asked for and not granted: a status without a claimed route of that agent.
    pub fn refused(&self) -> Vec<&RouteStatusRow> {
        let claimed: HashSet<_> =
            self.routes.iter().map(|r| (&r.route.agent_id, &r.route.spec.key)).collect();
        let is_claimed = |row: &RouteStatusRow| claimed.contains(&(&row.agent_id, &row.key));
        let mut rows: Vec<_> = self.statuses.said.values().filter(|row| !is_claimed(row)).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| a.agent_id.cmp(&b.agent_id)));
        rows
    }
}

/// Whose label has a problem, and the name that it asks for.
fn name_of(row: &ContainerProblemRow) -> (&AgentId, String) {
    (&row.agent_id, row.problem.value.clone())
}

/// What was said of routes.
pub struct Statuses {
    said: HashMap<(AgentId, RouteKey), RouteStatusRow>,
    /// Agents whose routes are led to a tunnel by somebody.
    led: HashSet<AgentId>,
    /// Whether requests reach the tunnels of agents.
    reach: HashMap<AgentId, Reachability>,
    /// Routes that may lead nowhere.
    doubts: Doubts,
}

/// Where a route stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The word for it.
    pub state: PublicState,
    /// Why it stands there.
    pub reason: Option<&'a str>,
    /// Last answer of Cloudflare.
    pub answer: Option<&'a str>,
    /// Whether requests reach the tunnel that it is published in; none if it is not published.
    pub reach: Option<&'a Reachability>,
    /// Why it may lead nowhere although it is published.
    pub doubt: Option<&'a Doubt>,
}

impl Standing<'_> {
    /// Returns why it stands there, and why it may lead nowhere.
    pub fn reasons(&self) -> Option<String> {
        let reasons: Vec<&str> =
            self.reason.into_iter().chain(self.doubt.map(|doubt| doubt.reason.as_str())).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// True if it is published, and requests are known to reach it.
    pub fn is_live(&self) -> bool {
        self.state == PublicState::Published && self.reach.is_some_and(|reach| reach.reach == Reach::Yes)
    }
}

impl Statuses {
    /// Reads what was said of one agent's routes, which these are.
    pub async fn read(state: &WebState, agent: &AgentRow, routes: &[Route]) -> Result<Self, ApiError> {
        let db = &state.master().db;
        let rows = read::list_route_status(db, Some(&agent.id), ALL).await.map_err(ApiError::internal)?;
        let observed = read::find_tunnel_observed(db, &agent.id).await.map_err(ApiError::internal)?;
        let mut reach = HashMap::new();
        if let Some(tunnel) = agent.publishes_in() {
            let status = read::find_tunnel_status(db, tunnel).await.map_err(ApiError::internal)?;
            let listed = read::find_tunnel_connectors(db, tunnel).await.map_err(ApiError::internal)?;
            let found = reachability(state, agent, observed.as_ref(), status.as_ref(), listed.as_ref());
            reach.extend(found.map(|found| (agent.id.clone(), found)));
        }
        let doubts = Doubts::of_one(db, routes, agent, observed.as_ref()).await?;
        Ok(Self::of(state, [agent].into_iter(), rows, reach, doubts))
    }

    fn of<'a>(
        state: &WebState,
        agents: impl Iterator<Item = &'a AgentRow>,
        rows: Vec<RouteStatusRow>,
        reach: HashMap<AgentId, Reachability>,
        doubts: Doubts,
    ) -> Self {
        let has_publisher = state.master().has_cloudflare();
        let led = agents.filter(|agent| has_publisher && agent.tunnel_id.is_some());
        Self {
            led: led.map(|agent| agent.id.clone()).collect(),
            said: rows.into_iter().map(|row| ((row.agent_id.clone(), row.key.clone()), row)).collect(),
            reach,
            doubts,
        }
    }

    /// Says whether requests reach the tunnel of an agent.
    pub fn reach(&self, agent: &AgentId) -> Option<&Reachability> {
        self.reach.get(agent)
    }

    /// Returns where a route stands.
    pub fn standing(&self, route: &Route) -> Standing<'_> {
        let row = self.said.get(&(route.agent_id.clone(), route.spec.key.clone()));
        let said = row.and_then(|row| PublicState::parse(&row.state));
        let is_published = said == Some(PublicState::Published);
        Standing {
            state: public_state(&route.state, said, self.led.contains(&route.agent_id)),
            reach: self.reach.get(&route.agent_id).filter(|_| is_published),
            reason: match route.state {
                RouteState::PendingDeletion { held: true, .. } => Some(HELD),
                _ => row.and_then(|row| row.reason.as_deref()),
            },
            answer: row.and_then(|row| row.answer.as_deref()),
            doubt: self.doubts.of(route),
        }
    }
}

/// Says whether requests reach the tunnel of an agent; none if it has no tunnel.
fn reachability(
    state: &WebState,
    agent: &AgentRow,
    observed: Option<&TunnelObservedRow>,
    status: Option<&TunnelStatusRow>,
    listed: Option<&TunnelConnectorsRow>,
) -> Option<Reachability> {
    let tunnel = agent.publishes_in()?;
    let name = agent.tunnel_name.as_deref();
    // While names wait in the tunnel that it had, what it says of the new one is about that one.
    let is_of_new = |report: &TunnelReport| {
        agent.moving_from.is_some() && agent.tunnel_id.as_ref().is_some_and(|new| report.names(new, name))
    };
    let observed = observed.filter(|seen| !is_of_new(&seen.report));
    let is_heard = presence(state, &agent.id, Some(agent)).is_online;
    let asks_connector = agent.dialect.as_deref().map(Dialect::of) == Some(Dialect::Native);
    let sight = Sight {
        tunnel,
        name: name.filter(|_| agent.moving_from.is_none()),
        said: observed.map(|seen| Said { report: &seen.report, is_heard, asks_connector }),
        listed: listed.map(|row| &row.listed),
        written: status.and_then(|row| Some((row.config_version?, row.version_since?))),
    };
    Some(sight.reachability(state.master().clock.now()))
}

/// Returns what a person should know of an agent, if anything.
pub fn warning(state: &WebState, row: &AgentRow) -> Option<String> {
    let slot = state.master().directory.slot(&row.id);
    let now = slot.and_then(|slot| {
        let by_place = slot.two_hosts().map(two_hosts);
        by_place.or_else(|| slot.two_lists().map(two_lists)).or_else(|| slot.flaw())
    });
    let seat = || state.master().directory.lacking_seat(&row.id).map(|lacking| no_seat(&lacking));
    let overdue = moving(state, row).filter(|(_, is_over)| *is_over).map(|(words, _)| words);
    now.or_else(|| row.problem.clone()).or_else(seat).or(overdue)
}

fn no_seat(lacking: &LackingSeat) -> String {
    format!(
        "uses the key of {}, which is heard from another host: allow that key one more seat, or give this agent a key of \
         its own",
        lacking.owner
    )
}

/// Says what the names of an agent wait for that moves to another tunnel, and whether that has lasted too long.
pub fn moving(state: &WebState, row: &AgentRow) -> Option<(String, bool)> {
    let (since, now) = (row.enrolled_at.filter(|_| row.moving_from.is_some())?, state.master().clock.now());
    let to = row.tunnel_name.as_deref().unwrap_or_default();
    Some((moving::words(row.id.as_str(), to, since, now), moving::is_over(since, now)))
}

/// Returns the presence of an agent: the slot knows best, the row is up to a minute old.
pub fn presence(state: &WebState, id: &AgentId, row: Option<&AgentRow>) -> Presence {
    let slot = state.master().directory.slot(id);
    let last_seen = slot.and_then(|slot| slot.last_seen()).or_else(|| row.and_then(|row| row.last_seen));
    let now = state.master().clock.now();
    let is_online =
        last_seen.is_some_and(|at| (now - at).to_std().unwrap_or_default() <= state.settings().offline_after);
    Presence { last_seen, is_online }
}

/// Says that two hosts use one key.
fn two_hosts([one, other]: [Source; 2]) -> String {
    let place = |source: &Source| match &source.host {
        Some(host) => format!("{} ({host})", source.peer),
        None => source.peer.to_string(),
    };
    format!(
        "Two hosts use this key: {} and {}. Generate another key and give it to one of them.",
        place(&one),
        place(&other)
    )
}

/// Says that two hosts use one key, known by a container of each.
fn two_lists([one, other]: [String; 2]) -> String {
    format!(
        "Two hosts use this key from one address: one runs {one}, the other {other}. Generate another key and give it \
         to one of them."
    )
}
