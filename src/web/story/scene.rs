//! What is known of one route or container, read for its story.

use std::collections::HashMap;
use std::sync::Arc;

use super::find::{Subject, asker};
use crate::db::read::{
    self, AgentRow, AppliedRule, ContainerProblem, ContainerRow, DnsRecordRow, RouteRow, RouteStatusRow,
    TunnelObservedRow, TunnelStatusRow,
};
use crate::domain::connector::Reach;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::ingress::IngressRule;
use crate::domain::publish::PublicState;
use crate::domain::route::RouteKey;
use crate::web::error::ApiError;
use crate::web::picture::{Standing, Statuses};
use crate::web::state::WebState;

/// What is known of an agent, and of the tunnel that its names are published in.
pub(super) struct Known {
    pub row: AgentRow,
    pub statuses: Statuses,
    pub observed: Option<TunnelObservedRow>,
    pub tunnel: Option<TunnelStatusRow>,
    pub applied: Vec<AppliedRule>,
}

/// What is known of one route or container.
pub(super) struct Scene {
    pub key: Option<RouteKey>,
    /// The agent; none if it is not on the list any more.
    pub known: Option<Arc<Known>>,
    pub agent: AgentId,
    pub container: Option<ContainerRow>,
    pub problems: Vec<ContainerProblem>,
    /// The route, if this agent holds it.
    pub route: Option<RouteRow>,
    /// What was said of it.
    pub status: Option<RouteStatusRow>,
    /// Who holds the hostname, and since when, with the name of that agent.
    pub holder: Option<Holder>,
    /// What others ask for under the same name, and who they are.
    pub others: Vec<(String, RouteStatusRow)>,
    pub records: Vec<DnsRecordRow>,
    /// Names of agents by their ids, for sentences that have those.
    pub names: HashMap<AgentId, String>,
}

/// Who holds a hostname.
pub(super) struct Holder {
    pub agent: AgentId,
    pub name: String,
    /// The first of its routes there.
    pub since: Option<chrono::DateTime<chrono::Utc>>,
}

impl Scene {
    pub fn agent_name(&self) -> &str {
        self.known.as_ref().map_or(self.agent.as_str(), |known| &known.row.display_name)
    }

    pub fn container_name(&self) -> Option<&str> {
        let of_route = || self.route.as_ref().map(|row| row.route.container_name.as_str());
        self.container.as_ref().map(|row| row.container.name.as_str()).or_else(of_route)
    }

    /// Where the route stands, if this agent holds it.
    pub fn standing(&self) -> Option<Standing<'_>> {
        Some(self.known.as_ref()?.statuses.standing(&self.route.as_ref()?.route))
    }

    /// The word for where it stands; none if nothing is asked for.
    pub fn state(&self) -> Option<PublicState> {
        let of_status = || self.status.as_ref().and_then(|status| PublicState::parse(&status.state));
        self.standing().map(|standing| standing.state).or_else(of_status)
    }

    /// Whether requests reach its tunnel; none if it is not published.
    pub fn reach(&self) -> Option<Reach> {
        self.standing().and_then(|standing| standing.reach.map(|reach| reach.reach))
    }

    /// The tunnel that the names of its agent are published in.
    pub fn tunnel_id(&self) -> Option<&TunnelId> {
        self.known.as_ref()?.row.publishes_in()
    }

    /// The rule that its labels ask for, if the route is held.
    pub fn wanted(&self) -> Option<IngressRule> {
        self.route.as_ref().map(|row| IngressRule::new(&row.route.spec))
    }

    /// A sentence with the names of agents where it has their ids.
    pub fn with_names(&self, reason: &str) -> String {
        let word = |word| self.names.get(&AgentId::new(word)).map_or(word, String::as_str);
        reason.split('`').map(word).collect::<Vec<_>>().join("`")
    }
}

/// Reads scenes; what is known of an agent is read once.
pub(super) struct Teller<'a> {
    state: &'a WebState,
    known: HashMap<AgentId, Option<Arc<Known>>>,
}

impl<'a> Teller<'a> {
    pub fn new(state: &'a WebState) -> Self {
        Self { state, known: HashMap::new() }
    }

    pub async fn scene(&mut self, subject: Subject) -> Result<Scene, ApiError> {
        let db = &self.state.master().db;
        let Subject { agent, key, container } = subject;
        let mut scene = Scene {
            known: self.known(&agent).await?,
            key,
            agent,
            container,
            problems: Vec::new(),
            route: None,
            status: None,
            holder: None,
            others: Vec::new(),
            records: Vec::new(),
            names: HashMap::new(),
        };
        if let Some(key) = scene.key.clone() {
            self.read_route(&mut scene, &key).await?;
        }
        if let Some(row) = &scene.container {
            let problems = read::problems_of_container(db, &scene.agent, &row.container.id).await;
            scene.problems = problems.map_err(ApiError::internal)?;
        }
        Ok(scene)
    }

    async fn read_route(&self, scene: &mut Scene, key: &RouteKey) -> Result<(), ApiError> {
        let db = &self.state.master().db;
        let claimed = read::routes_of_hostname(db, &key.hostname).await.map_err(ApiError::internal)?;
        let said = read::statuses_of_hostname(db, &key.hostname).await.map_err(ApiError::internal)?;
        let holder = read::find_claim(db, &key.hostname).await.map_err(ApiError::internal)?;
        scene.records = read::records_of_name(db, &key.hostname).await.map_err(ApiError::internal)?;

        let mut agents: Vec<AgentId> = said.iter().filter_map(|row| row.agent_id.clone()).collect();
        agents.extend(holder.clone());
        scene.names = read::agent_names(db, &agents).await.map_err(ApiError::internal)?;
        let name = |id: &AgentId| scene.names.get(id).cloned().unwrap_or_else(|| id.to_string());

        scene.holder = holder.map(|agent| Holder {
            since: claimed.iter().filter(|row| row.route.agent_id == agent).map(|row| row.claimed_at).min(),
            name: name(&agent),
            agent,
        });
        let is_other = |row: &&RouteStatusRow| row.key == *key && row.agent_id.as_ref() != Some(&scene.agent);
        let who = |row: &RouteStatusRow| match &row.agent_id {
            Some(id) => format!("agent {}", name(id)),
            None => "the rule that a person made".to_owned(),
        };
        scene.others = said.iter().filter(is_other).map(|row| (who(row), row.clone())).collect();
        scene.status =
            said.into_iter().find(|row| row.key == *key && row.agent_id.as_ref() == Some(&scene.agent));
        scene.route =
            claimed.into_iter().find(|row| row.route.spec.key == *key && row.route.agent_id == scene.agent);
        if scene.container.is_none() {
            scene.container = match &scene.route {
                Some(row) => read::find_container(db, &scene.agent, &row.route.container_name)
                    .await
                    .map_err(ApiError::internal)?,
                None => asker(self.state, &scene.agent, key).await?,
            };
        }
        Ok(())
    }

    async fn known(&mut self, agent: &AgentId) -> Result<Option<Arc<Known>>, ApiError> {
        if let Some(known) = self.known.get(agent) {
            return Ok(known.clone());
        }
        let db = &self.state.master().db;
        let known = match read::find_agent(db, agent).await.map_err(ApiError::internal)? {
            None => None,
            Some(row) => {
                let statuses = Statuses::read(self.state, &row).await?;
                let observed = read::find_tunnel_observed(db, agent).await.map_err(ApiError::internal)?;
                let (mut tunnel, mut applied) = (None, Vec::new());
                if let Some(id) = row.publishes_in() {
                    tunnel = read::find_tunnel_status(db, id).await.map_err(ApiError::internal)?;
                    applied = read::list_applied_rules(db, id).await.map_err(ApiError::internal)?;
                }
                Some(Arc::new(Known { row, statuses, observed, tunnel, applied }))
            }
        };
        self.known.insert(agent.clone(), known.clone());
        Ok(known)
    }
}
