//! What is known of agents and routes, read for one answer or one page.
//!
//! Decisions and observations come from the database, presence from the slots. Nothing here is kept. Whatever there may
//! be thousands of is read in pages of rows; of all agents at once only what their routes say of them is held.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::doubts::{ConnectorPlace, doubt_of};
use super::error::ApiError;
use super::listings::next;
use super::state::WebState;
use crate::actors::master::{Dialect, LackingSeat, Source};
use crate::db::read::{
    self, ALL, AgentRow, AgentView, RouteStatusRow, RouteView, TunnelConnectorsRow, TunnelObservedRow,
    TunnelStatusRow,
};
use crate::domain::connector::{Reach, Reachability, Said, Sight};
use crate::domain::id::{AgentId, ContainerId, TunnelId};
use crate::domain::machine::OtherMachine;
use crate::domain::moving;
use crate::domain::networks::{Doubt, Networks};
use crate::domain::publish::{HELD, PublicState, public_state};
use crate::domain::route::{Route, RouteKey, RouteState};
use crate::domain::tunnel::TunnelReport;

/// Rows that are read at a time.
pub const ROWS: u64 = 500;

/// Presence of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// When it was last heard.
    pub last_seen: Option<DateTime<Utc>>,
    /// True if that is not too long ago.
    pub is_online: bool,
}

/// What the routes of an agent say of it.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its tunnel.
    pub tunnel_id: Option<TunnelId>,
    /// Name of its tunnel.
    pub tunnel_name: Option<String>,
    /// The tunnel that its names are published in.
    pub publishes_in: Option<TunnelId>,
    /// Whether requests reach its tunnel; none if it has no tunnel.
    pub reach: Option<Reachability>,
    /// True if somebody leads its routes to a tunnel.
    is_led: bool,
    /// What is known of the networks that its connector is on.
    connector: ConnectorPlace,
}

impl Member {
    /// Puts together what is known of an agent.
    pub fn of(
        state: &WebState,
        agent: &AgentRow,
        seen: Option<&TunnelObservedRow>,
        reach: Option<Reachability>,
    ) -> Self {
        Self {
            name: agent.display_name.clone(),
            tunnel_id: agent.tunnel_id.clone(),
            tunnel_name: agent.tunnel_name.clone(),
            publishes_in: agent.publishes_in().cloned(),
            reach,
            is_led: state.master().has_cloudflare() && agent.tunnel_id.is_some(),
            connector: ConnectorPlace::of(agent, seen),
        }
    }
}

/// What the routes of all agents say of them.
pub struct Members(HashMap<AgentId, Member>);

impl Members {
    /// Reads it.
    pub async fn read(state: &WebState) -> Result<Self, ApiError> {
        Self::read_with(state, |_, _| ()).await
    }

    /// Reads it; `each` sees every agent, by id.
    pub async fn read_with(
        state: &WebState,
        mut each: impl FnMut(&AgentView, &Member),
    ) -> Result<Self, ApiError> {
        let (mut members, mut after) = (HashMap::new(), None);
        loop {
            let found = read::agent_views(&state.master().db, after.as_ref(), ROWS).await;
            let views = found.map_err(ApiError::internal)?;
            let mut reaches = reaches(state, &views).await?;
            after = next(&views, ROWS, |view| view.agent.id.clone());
            for view in views {
                let reach = reaches.remove(&view.agent.id);
                let member = Member::of(state, &view.agent, view.tunnel.as_ref(), reach);
                each(&view, &member);
                members.insert(view.agent.id, member);
            }
            if after.is_none() {
                return Ok(Self(members));
            }
        }
    }

    /// Returns an agent.
    pub fn member(&self, id: &AgentId) -> Option<&Member> {
        self.0.get(id)
    }

    /// Returns the name of an agent.
    pub fn name(&self, id: &AgentId) -> Option<&str> {
        self.0.get(id).map(|member| member.name.as_str())
    }

    /// Says a reason with the names of agents where it has their ids.
    pub fn with_names(&self, reason: &str) -> String {
        let words: Vec<&str> =
            reason.split('`').map(|word| self.name(&AgentId::new(word)).unwrap_or(word)).collect();
        words.join("`")
    }

    /// Returns where a route stands.
    pub fn standing<'a>(&'a self, view: &'a RouteView) -> Standing<'a> {
        let route = &view.route.route;
        standing(route, self.member(&route.agent_id), view.status.as_ref(), view.networks.as_ref())
    }

    /// Returns the members, in no order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }
}

/// Says whether requests reach the tunnels of these agents; one without a tunnel is left out.
pub async fn reaches(
    state: &WebState,
    views: &[AgentView],
) -> Result<HashMap<AgentId, Reachability>, ApiError> {
    let db = &state.master().db;
    let tunnels: Vec<TunnelId> = views.iter().filter_map(|view| view.agent.publishes_in()).cloned().collect();
    let statuses = read::tunnel_status_of(db, &tunnels).await.map_err(ApiError::internal)?;
    let connectors = read::tunnel_connectors_of(db, &tunnels).await.map_err(ApiError::internal)?;
    let reach = |view: &AgentView| {
        let tunnel = view.agent.publishes_in()?;
        let (status, listed) = (statuses.get(tunnel), connectors.get(tunnel));
        let reach = reachability(state, &view.agent, view.tunnel.as_ref(), status, listed)?;
        Some((view.agent.id.clone(), reach))
    };
    Ok(views.iter().filter_map(reach).collect())
}

/// Where a route stands.
#[derive(Debug, Clone)]
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
    pub doubt: Option<Doubt>,
}

impl Standing<'_> {
    /// Returns why it stands there, and why it may lead nowhere.
    pub fn reasons(&self) -> Option<String> {
        let doubt = self.doubt.as_ref().map(|doubt| doubt.reason.as_str());
        let reasons: Vec<&str> = self.reason.into_iter().chain(doubt).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// True if it is published, and requests are known to reach it.
    pub fn is_live(&self) -> bool {
        self.state == PublicState::Published && self.reach.is_some_and(|reach| reach.reach == Reach::Yes)
    }
}

/// What was said of the routes of one agent.
pub struct Statuses {
    said: HashMap<RouteKey, RouteStatusRow>,
    /// Networks of its containers, as far as they are known.
    networks: HashMap<ContainerId, Networks>,
    /// What its routes say of it.
    pub member: Member,
}

impl Statuses {
    /// Reads it.
    pub async fn read(state: &WebState, agent: &AgentRow) -> Result<Self, ApiError> {
        let db = &state.master().db;
        let rows = read::list_route_status(db, Some(&agent.id), ALL).await.map_err(ApiError::internal)?;
        let observed = read::find_tunnel_observed(db, &agent.id).await.map_err(ApiError::internal)?;
        let mut reach = None;
        if let Some(tunnel) = agent.publishes_in() {
            let status = read::find_tunnel_status(db, tunnel).await.map_err(ApiError::internal)?;
            let listed = read::find_tunnel_connectors(db, tunnel).await.map_err(ApiError::internal)?;
            reach = reachability(state, agent, observed.as_ref(), status.as_ref(), listed.as_ref());
        }
        let networks = read::networks_behind_routes(db, &agent.id).await.map_err(ApiError::internal)?;
        Ok(Self::of(rows, networks, Member::of(state, agent, observed.as_ref(), reach)))
    }

    /// Puts together what was read.
    pub fn of(rows: Vec<RouteStatusRow>, networks: HashMap<ContainerId, Networks>, member: Member) -> Self {
        Self { said: rows.into_iter().map(|row| (row.key.clone(), row)).collect(), networks, member }
    }

    /// Returns where a route of that agent stands.
    pub fn standing(&self, route: &Route) -> Standing<'_> {
        let networks = self.networks.get(&route.container_id);
        standing(route, Some(&self.member), self.said.get(&route.spec.key), networks)
    }
}

fn standing<'a>(
    route: &Route,
    member: Option<&'a Member>,
    row: Option<&'a RouteStatusRow>,
    networks: Option<&Networks>,
) -> Standing<'a> {
    let said = row.and_then(|row| PublicState::parse(&row.state));
    let is_published = said == Some(PublicState::Published);
    Standing {
        state: public_state(&route.state, said, member.is_some_and(|member| member.is_led)),
        reach: member.and_then(|member| member.reach.as_ref()).filter(|_| is_published),
        reason: match route.state {
            RouteState::PendingDeletion { held: true, .. } => Some(HELD),
            _ => row.and_then(|row| row.reason.as_deref()),
        },
        answer: row.and_then(|row| row.answer.as_deref()),
        doubt: member.and_then(|member| doubt_of(route, networks, &member.connector)),
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
    let reused = row.credential_reused_at.map(|at| {
        format!(
            "a refresh token of it was used again after it was replaced ({}), so somebody has a copy: its credentials were \
             revoked; find out who, then register the host again with a new registration token",
            at.format("%Y-%m-%d %H:%M UTC")
        )
    });
    let machine = || row.other_machine.as_ref().map(OtherMachine::words);
    reused.or_else(machine).or(now).or_else(|| row.problem.clone()).or_else(seat).or(overdue)
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
    let dialect = slot.as_ref().map(|slot| slot.dialect());
    let silence =
        dialect.map_or(state.settings().offline_after, |it| it.silence(state.settings().offline_after));
    let last_seen = slot.and_then(|slot| slot.last_seen()).or_else(|| row.and_then(|row| row.last_seen));
    let now = state.master().clock.now();
    let is_online = last_seen.is_some_and(|at| (now - at).to_std().unwrap_or_default() <= silence);
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
