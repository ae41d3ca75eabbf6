//! What is known of one route, rule or container, read for its story.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::find::{Owner, Subject, asker};
use crate::db::read::{
    self, AccessApplicationRow, AccessPolicyRow, AgentRow, AppliedRule, Claimant, ContainerProblem,
    ContainerRow, DnsRecordRow, RouteRow, RouteStatusRow, TunnelObservedRow, TunnelRow, TunnelStatusRow,
};
use crate::domain::access::Group;
use crate::domain::connector::Reach;
use crate::domain::id::{AgentId, GroupId, TunnelId};
use crate::domain::ingress::IngressRule;
use crate::domain::publish::PublicState;
use crate::domain::route::{RouteKey, Service};
use crate::web::error::ApiError;
use crate::web::picture::{Standing, Statuses};
use crate::web::rules::RuleView;
use crate::web::state::WebState;

/// What is known of an agent.
pub(super) struct Known {
    pub row: AgentRow,
    pub statuses: Statuses,
    pub observed: Option<TunnelObservedRow>,
}

/// What is known of a tunnel that something is published in.
pub(super) struct Place {
    pub id: TunnelId,
    pub row: Option<TunnelRow>,
    pub status: Option<TunnelStatusRow>,
    pub applied: Vec<AppliedRule>,
}

impl Place {
    pub fn name(&self) -> &str {
        self.row.as_ref().map_or(self.id.as_str(), |row| &row.name)
    }
}

/// What is known of one route, rule or container.
pub(super) struct Scene {
    pub key: Option<RouteKey>,
    pub owner: Owner,
    /// The agent: whose route it is, or whose tunnel the rule is in. None if there is none, or it is on the list no more.
    pub known: Option<Arc<Known>>,
    pub container: Option<ContainerRow>,
    pub problems: Vec<ContainerProblem>,
    /// The route, if this agent holds it.
    pub route: Option<RouteRow>,
    /// The rule, if a person made it.
    pub rule: Option<RuleView>,
    /// The tunnel that it is published in.
    pub tunnel: Option<Arc<Place>>,
    /// What was said of it.
    pub status: Option<RouteStatusRow>,
    /// Who holds the hostname.
    pub holder: Option<Holder>,
    /// What others ask for under the same name, and who they are.
    pub others: Vec<(String, RouteStatusRow)>,
    pub records: Vec<DnsRecordRow>,
    /// The groups that it asks for, as far as people made them.
    pub groups: BTreeMap<GroupId, Group>,
    /// What of ours stands before it at Cloudflare.
    pub application: Option<AccessApplicationRow>,
    /// The policies of the account that are ours.
    pub policies: Vec<AccessPolicyRow>,
    /// Names of agents by their ids, for sentences that have those.
    pub names: HashMap<AgentId, String>,
}

/// Who holds a hostname.
pub(super) enum Holder {
    /// An agent.
    Agent {
        id: AgentId,
        name: String,
        /// The first of its routes there.
        since: Option<DateTime<Utc>>,
    },
    /// Rules of people.
    Rules {
        /// Name of their tunnel.
        tunnel: String,
    },
}

impl Scene {
    fn of(owner: Owner, key: Option<RouteKey>, container: Option<ContainerRow>) -> Self {
        Self {
            key,
            owner,
            container,
            known: None,
            problems: Vec::new(),
            route: None,
            rule: None,
            tunnel: None,
            status: None,
            holder: None,
            others: Vec::new(),
            records: Vec::new(),
            groups: BTreeMap::new(),
            application: None,
            policies: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// The agent whose route or container it is.
    pub fn agent(&self) -> Option<&AgentId> {
        match &self.owner {
            Owner::Agent(id) => Some(id),
            Owner::Person => None,
        }
    }

    /// What that agent is called.
    pub fn agent_name(&self) -> Option<&str> {
        let id = self.agent()?;
        Some(self.known.as_ref().map_or(id.as_str(), |known| &known.row.display_name))
    }

    pub fn container_name(&self) -> Option<&str> {
        let of_route = || self.route.as_ref().map(|row| row.route.container_name.as_str());
        self.container.as_ref().map(|row| row.container.name.as_str()).or_else(of_route)
    }

    /// What it publishes and where to, if this agent or a person has it.
    pub fn spec(&self) -> Option<&Service> {
        let of_rule = || self.rule.as_ref().map(|rule| &rule.row.rule.spec);
        self.route.as_ref().map(|row| &row.route.spec).or_else(of_rule)
    }

    /// Where it stands, if this agent or a person has it.
    pub fn standing(&self) -> Option<Standing<'_>> {
        match (&self.rule, &self.route, &self.known) {
            (Some(rule), ..) => Some(rule.standing()),
            (None, Some(row), Some(known)) => Some(known.statuses.standing(&row.route)),
            _ => None,
        }
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

    /// The rule that is to be in the tunnel.
    pub fn wanted(&self) -> Option<IngressRule> {
        self.spec().map(IngressRule::new)
    }

    /// A sentence with the names of agents where it has their ids.
    pub fn with_names(&self, reason: &str) -> String {
        let word = |word| self.names.get(&AgentId::new(word)).map_or(word, String::as_str);
        reason.split('`').map(word).collect::<Vec<_>>().join("`")
    }
}

/// Reads scenes; what is known of an agent or a tunnel is read once.
pub(super) struct Teller<'a> {
    state: &'a WebState,
    known: HashMap<AgentId, Option<Arc<Known>>>,
    tunnels: HashMap<TunnelId, Arc<Place>>,
}

impl<'a> Teller<'a> {
    pub fn new(state: &'a WebState) -> Self {
        Self { state, known: HashMap::new(), tunnels: HashMap::new() }
    }

    pub async fn scene(&mut self, subject: Subject) -> Result<Scene, ApiError> {
        let Subject { owner, key, container } = subject;
        let mut scene = Scene::of(owner, key, container);
        if let Some(id) = scene.agent().cloned() {
            scene.known = self.known(&id).await?;
        }
        if let Some(key) = scene.key.clone() {
            self.read_claims(&mut scene, &key).await?;
            match scene.owner.clone() {
                Owner::Agent(id) => self.read_route(&mut scene, &id, &key).await?,
                Owner::Person => self.read_rule(&mut scene, &key).await?,
            }
            self.read_protection(&mut scene, &key).await?;
        }
        if let (Owner::Agent(id), Some(row)) = (&scene.owner, &scene.container) {
            let problems = read::problems_of_container(&self.state.master().db, id, &row.container.id).await;
            scene.problems = problems.map_err(ApiError::internal)?;
        }
        Ok(scene)
    }

    /// Who has or wants the name, and what was said of it.
    async fn read_claims(&self, scene: &mut Scene, key: &RouteKey) -> Result<(), ApiError> {
        let db = &self.state.master().db;
        let claimed = read::routes_of_hostname(db, &key.hostname).await.map_err(ApiError::internal)?;
        let said = read::statuses_of_hostname(db, &key.hostname).await.map_err(ApiError::internal)?;
        let claimant = read::find_claimant(db, &key.hostname).await.map_err(ApiError::internal)?;
        scene.records = read::records_of_name(db, &key.hostname).await.map_err(ApiError::internal)?;

        let mut agents: Vec<AgentId> = said.iter().filter_map(|row| row.agent_id.clone()).collect();
        if let Some(Claimant::Agent(id)) = &claimant {
            agents.push(id.clone());
        }
        scene.names = read::agent_names(db, &agents).await.map_err(ApiError::internal)?;
        let name = |id: &AgentId| scene.names.get(id).cloned().unwrap_or_else(|| id.to_string());
        scene.holder = match claimant {
            None => None,
            Some(Claimant::Rule(tunnel)) => {
                let row = read::find_tunnel(db, &tunnel).await.map_err(ApiError::internal)?;
                Some(Holder::Rules { tunnel: row.map_or_else(|| tunnel.to_string(), |row| row.name) })
            }
            Some(Claimant::Agent(id)) => {
                let own = claimed.iter().filter(|row| row.route.agent_id == id);
                Some(Holder::Agent { since: own.map(|row| row.claimed_at).min(), name: name(&id), id })
            }
        };
        let who = |row: &RouteStatusRow| match &row.agent_id {
            Some(id) => format!("agent {}", name(id)),
            None => "a rule that a person made".to_owned(),
        };
        let (own, others): (Vec<_>, Vec<_>) = said
            .into_iter()
            .filter(|row| row.key == *key)
            .partition(|row| row.agent_id.as_ref() == scene.agent());
        scene.others = others.into_iter().map(|row| (who(&row), row)).collect();
        scene.status = own.into_iter().next();
        let is_own =
            |row: &RouteRow| row.route.spec.key == *key && Some(&row.route.agent_id) == scene.agent();
        scene.route = claimed.into_iter().find(is_own);
        Ok(())
    }

    async fn read_route(
        &mut self,
        scene: &mut Scene,
        agent: &AgentId,
        key: &RouteKey,
    ) -> Result<(), ApiError> {
        let db = &self.state.master().db;
        if scene.container.is_none() {
            scene.container = match &scene.route {
                Some(row) => read::find_container(db, agent, &row.route.container_name)
                    .await
                    .map_err(ApiError::internal)?,
                None => asker(self.state, agent, key).await?,
            };
        }
        if let Some(id) = scene.known.as_ref().and_then(|known| known.row.publishes_in()).cloned() {
            scene.tunnel = Some(self.place(&id).await?);
        }
        Ok(())
    }

    async fn read_rule(&mut self, scene: &mut Scene, key: &RouteKey) -> Result<(), ApiError> {
        let row = read::find_rule(&self.state.master().db, key).await.map_err(ApiError::internal)?;
        let Some(row) = row else { return Ok(()) };
        let place = self.place(&row.rule.tunnel_id).await?;
        let agent = place.row.as_ref().and_then(|tunnel| tunnel.agent_id.clone());
        if let Some(id) = agent {
            scene.known = self.known(&id).await?;
        }
        let reach = scene.known.as_ref().and_then(|known| known.statuses.member.reach.clone());
        scene.rule = Some(RuleView::read(self.state, row, place.row.clone(), reach).await?);
        scene.tunnel = Some(place);
        Ok(())
    }

    /// What of ours stands before the name, and what it is made of.
    async fn read_protection(&mut self, scene: &mut Scene, key: &RouteKey) -> Result<(), ApiError> {
        let db = &self.state.master().db;
        let asked = scene.spec().map(|spec| spec.access.groups().to_vec()).unwrap_or_default();
        for id in asked {
            if let Some(row) = read::find_group(db, &id).await.map_err(ApiError::internal)? {
                scene.groups.insert(id, row.group);
            }
        }
        let account =
            scene.tunnel.as_ref().and_then(|place| place.row.as_ref()).map(|row| row.account_id.clone());
        let Some(account) = account else { return Ok(()) };
        let found = read::find_application(db, &account, &key.to_string()).await;
        let tunnel = scene.tunnel.as_ref().map(|place| &place.id);
        // One of another tunnel protects a name that this one does not have.
        scene.application = found.map_err(ApiError::internal)?.filter(|row| Some(&row.tunnel_id) == tunnel);
        if scene.application.is_some() {
            let policies = read::policies_of(db, &account).await.map_err(ApiError::internal)?;
            scene.policies = policies.into_values().collect();
        }
        Ok(())
    }

    async fn place(&mut self, id: &TunnelId) -> Result<Arc<Place>, ApiError> {
        if let Some(place) = self.tunnels.get(id) {
            return Ok(Arc::clone(place));
        }
        let db = &self.state.master().db;
        let place = Arc::new(Place {
            id: id.clone(),
            row: read::find_tunnel(db, id).await.map_err(ApiError::internal)?,
            status: read::find_tunnel_status(db, id).await.map_err(ApiError::internal)?,
            applied: read::list_applied_rules(db, id).await.map_err(ApiError::internal)?,
        });
        self.tunnels.insert(id.clone(), Arc::clone(&place));
        Ok(place)
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
                Some(Arc::new(Known { row, statuses, observed }))
            }
        };
        self.known.insert(agent.clone(), known.clone());
        Ok(known)
    }
}
