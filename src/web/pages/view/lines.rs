//! Agents and routes, each on a line, with the word for where they stand.

use chrono::{DateTime, Utc};
use url::form_urlencoded::Serializer;

use super::super::filter::Line;
use super::{Badge, Moment, badge, count};
use crate::db::read::{AgentView, TunnelObservedRow};
use crate::domain::agent::AgentStatus;
use crate::domain::connector::Reach;
use crate::domain::path::is_expression;
use crate::domain::publish::PublicState;
use crate::domain::route::{Route, RouteKey, RouteState, Service};
use crate::domain::tunnel::TunnelHealth;
use crate::web::picture::{Presence, Standing};
use crate::web::rules::{RuleView, form_of};

/// An agent on a line.
pub struct AgentLine {
    /// Its name.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Tunnel, routes, containers.
    pub detail: String,
    /// Where it stands.
    pub state: Badge,
    /// When it was last heard.
    pub heard: Option<Moment>,
    /// What a person should know.
    pub warning: Option<String>,
}

impl AgentLine {
    /// Puts an agent on a line.
    pub fn of(view: &AgentView, presence: Presence, warning: Option<String>, now: DateTime<Utc>) -> Self {
        let agent = &view.agent;
        let mut parts = Vec::new();
        let health = view.tunnel.as_ref().map(|observed| tunnel_badge(observed).word);
        match (&agent.tunnel_name, health) {
            (Some(name), Some(health)) => parts.push(format!("tunnel {name} {health}")),
            (Some(name), None) => parts.push(format!("tunnel {name}")),
            (None, Some(health)) => parts.push(format!("tunnel {health}")),
            (None, None) => {}
        }
        parts.push(count(view.routes, "route", "routes"));
        parts.push(count(view.containers, "container", "containers"));
        Self {
            name: agent.display_name.clone(),
            href: format!("/agents/{}", agent.id),
            detail: parts.join(" · "),
            state: agent_badge(agent.status, presence.is_online),
            heard: presence.last_seen.map(|at| Moment::of(at, now)),
            warning,
        }
    }
}

impl AgentLine {
    /// Its place in a list by name.
    pub fn place(&self) -> (String, String) {
        (self.name.to_lowercase(), self.href.clone())
    }
}

impl Line for AgentLine {
    fn texts(&self) -> Vec<&str> {
        vec![&self.name, &self.detail]
    }

    fn word(&self) -> Option<&str> {
        Some(&self.state.word)
    }
}

/// Returns the words for where an agent on the list can stand.
pub fn agent_words() -> Vec<String> {
    let states = [
        (AgentStatus::Enrolled, true),
        (AgentStatus::Enrolled, false),
        (AgentStatus::Pending, true),
        (AgentStatus::Pending, false),
        (AgentStatus::Revoked, false),
    ];
    states.into_iter().map(|(status, is_online)| agent_badge(status, is_online).word).collect()
}

/// Says where an agent stands.
fn agent_badge(status: AgentStatus, is_online: bool) -> Badge {
    match (status, is_online) {
        (AgentStatus::Enrolled, true) => badge("good", "online"),
        (AgentStatus::Enrolled, false) => badge("bad", "offline"),
        (AgentStatus::Pending, true) => badge("busy", "waits to be enrolled"),
        (AgentStatus::Pending, false) => badge("idle", "pending, offline"),
        (AgentStatus::Revoked, _) => badge("bad", "key revoked"),
        (AgentStatus::Removed, _) => badge("idle", "removed"),
    }
}

/// Says how an agent sees its tunnel.
pub fn tunnel_badge(observed: &TunnelObservedRow) -> Badge {
    match observed.report.health {
        TunnelHealth::Running => badge("good", "running"),
        TunnelHealth::Degraded => badge("warn", "degraded"),
        TunnelHealth::Unknown => badge("idle", "state unknown"),
        TunnelHealth::Restarting => badge("warn", "restarting"),
        TunnelHealth::Failed => badge("bad", "failed"),
        TunnelHealth::Stopped => badge("idle", "stopped"),
    }
}

/// A route on a line.
pub struct RouteLine {
    /// Public name with its path.
    pub name: String,
    /// Its address, if it is published.
    pub href: Option<String>,
    /// The page that tells its story.
    pub story: String,
    /// What it leads to.
    pub service: String,
    /// Whose it is.
    pub source: Source,
    /// What protects it.
    pub protection: String,
    /// Where it stands.
    pub state: Badge,
    /// Until when it stays.
    pub due: Option<String>,
    /// Why it stands there.
    pub reason: Option<String>,
    /// How the reason looks: on a live route it is a warning.
    pub reason_tone: &'static str,
    /// Last answer of Cloudflare.
    pub cloudflare: Option<String>,
}

/// Whose a route is.
pub enum Source {
    /// A container asks for it.
    Container {
        /// Its name.
        container: String,
        /// On whose host.
        agent: String,
        /// That agent's page.
        href: String,
    },
    /// A person made it.
    Rule {
        /// Name of the tunnel that it is in.
        tunnel: String,
        /// Where it is changed.
        href: String,
    },
}

impl RouteLine {
    /// Puts a route on a line.
    pub fn of(route: &Route, standing: Standing<'_>, agent: Option<&str>) -> Self {
        let due = match &route.state {
            RouteState::PendingDeletion { due_at, .. } => Some(due_at.format("%H:%M:%S UTC").to_string()),
            RouteState::Active => None,
        };
        let source = Source::Container {
            container: route.container_name.clone(),
            agent: agent.unwrap_or(route.agent_id.as_str()).to_owned(),
            href: format!("/agents/{}", route.agent_id),
        };
        Self { due, ..Self::new(&route.spec, &standing, source) }
    }

    /// Puts a rule that a person made on a line.
    pub fn of_rule(view: &RuleView) -> Self {
        let spec = &view.row.rule.spec;
        let source = Source::Rule { tunnel: view.tunnel_name().to_owned(), href: form_of(&spec.key) };
        Self::new(spec, &view.standing(), source)
    }

    fn new(spec: &Service, standing: &Standing<'_>, source: Source) -> Self {
        let is_link = standing.state == PublicState::Published
            && !spec.key.hostname.starts_with('*')
            && !is_expression(&spec.key.path);
        let state = route_badge(standing.state, standing.reach.map(|reach| reach.reach));
        let unreached = standing.reach.and_then(|reach| reach.reason.as_deref());
        Self {
            reason_tone: if state.tone == "good" { "warn" } else { state.tone },
            name: spec.key.to_string(),
            href: is_link.then(|| format!("https://{}", spec.key)),
            story: story_of(&spec.key),
            service: spec.service.clone(),
            source,
            protection: spec.access.in_words(),
            state,
            due: None,
            reason: match (unreached, standing.reasons()) {
                (Some(one), Some(other)) => Some(format!("{one}; {other}")),
                (one, other) => other.or_else(|| one.map(str::to_owned)),
            },
            cloudflare: standing.answer.map(str::to_owned),
        }
    }
}

/// The page that tells the story of a route.
pub fn story_of(key: &RouteKey) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("hostname", &key.hostname);
    if !key.path.is_empty() {
        query.append_pair("path", &key.path);
    }
    format!("/routes/of?{}", query.finish())
}

impl Line for RouteLine {
    fn texts(&self) -> Vec<&str> {
        let common = [&self.name, &self.service, &self.protection].map(String::as_str);
        let of_source = match &self.source {
            Source::Container { container, agent, .. } => vec![container, agent],
            Source::Rule { tunnel, .. } => vec![tunnel],
        };
        common.into_iter().chain(of_source.into_iter().map(String::as_str)).collect()
    }

    fn word(&self) -> Option<&str> {
        Some(&self.state.word)
    }
}

/// Returns the words for where a route can stand. What is in conflict is no route: it is among the refused.
pub fn route_words() -> Vec<String> {
    let published = Reach::ALL.map(|reach| route_badge(PublicState::Published, Some(reach)));
    let is_other = |state: &PublicState| !matches!(state, PublicState::Published | PublicState::Conflict);
    let others = PublicState::ALL.into_iter().filter(is_other).map(|state| route_badge(state, None));
    published.into_iter().chain(others).map(|badge| badge.word).collect()
}

/// Says where a route stands, for a person: what is published is live only if it can be reached.
pub fn route_badge(state: PublicState, reach: Option<Reach>) -> Badge {
    match state {
        PublicState::Published => match reach {
            Some(Reach::Yes) => badge("good", "live"),
            Some(Reach::Outdated) => badge("warn", "published, not in force yet"),
            Some(Reach::No) => badge("bad", "published, not reachable"),
            Some(Reach::Unknown) | None => badge("warn", "published, not checked"),
        },
        PublicState::Planned => badge("idle", "planned"),
        PublicState::Publishing => badge("busy", "being published"),
        PublicState::Waiting => badge("warn", "waits for you"),
        PublicState::Blocked => badge("bad", "not published"),
        PublicState::PendingDeletion => badge("warn", "container gone"),
        PublicState::Held => badge("warn", "removal held"),
        PublicState::Conflict | PublicState::Failed => badge("bad", state.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_a_page_whatever_its_path_holds() {
        let key = |path: &str| RouteKey { hostname: "*.example.com".into(), path: path.into() };
        assert_eq!(story_of(&key("")), "/routes/of?hostname=*.example.com");
        assert_eq!(story_of(&key("/a&b c")), "/routes/of?hostname=*.example.com&path=%2Fa%26b+c");
    }
}
