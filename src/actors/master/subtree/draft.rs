//! What is to be committed about one agent's containers and routes. All rules are in `domain`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;

use super::Own;
use super::containers::Change;
use super::picture::{CONFLICT, Picture, Seen};
use crate::actors::master::error::MasterError;
use crate::db::cloudflare::RouteStatusRow;
use crate::db::containers::ContainerProblem;
use crate::db::{self, Batch, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::container::{Container, check_all};
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::labels::{Allowance, Labels};
use crate::domain::mirror::{Conflict, Decided, Mirrored, Running, decide_routes};
use crate::domain::route::RouteKey;

/// Labels that are read at a stretch; then the shard's other agents have their turn.
const STRETCH: usize = 500;

/// What is to be committed, and how the picture looks after that.
pub struct Draft {
    /// Decisions about routes.
    pub events: Vec<Event>,
    /// Rows of containers and refused routes that change.
    pub rows: Vec<RowChange>,
    /// Containers that run.
    pub containers: BTreeMap<ContainerId, Seen>,
    /// Routes that are asked for and not given.
    pub conflicts: BTreeMap<RouteKey, String>,
}

impl Draft {
    /// What follows from changes of containers.
    pub async fn mirror(own: &Own, picture: &Picture, changes: &[Change]) -> Result<Self, MasterError> {
        if picture.standing.status == AgentStatus::Removed {
            return Err(MasterError::KeyRevoked);
        }
        let containers = after(&picture.containers, changes);
        if changes.iter().any(|change| !matches!(change, Change::Gone(_))) {
            check_all(containers.values()).map_err(|too_much| MasterError::TooMuch(too_much.to_string()))?;
        }
        let read = read_all(own, picture, &containers).await;
        let running: Vec<Running> = read
            .iter()
            .map(|(container, labels)| Running {
                container_id: container.id.clone(),
                container_name: container.name.clone(),
                services: labels.services.clone(),
            })
            .collect();
        let enrolled = picture.standing.status == AgentStatus::Enrolled;
        let others = if enrolled { claims_of_others(own, &running).await? } else { BTreeMap::new() };
        let decided = decide_routes(&Mirrored {
            agent_id: &own.agent,
            enrolled,
            running: &running,
            routes: &picture.routes,
            others: &others,
            limits: &picture.limits,
            now: own.env.now(),
            grace: TimeDelta::from_std(own.env.settings.grace).unwrap_or(TimeDelta::MAX),
        });
        let conflicts = decided
            .conflicts
            .iter()
            .map(|c| (c.wanted.key.clone(), c.reason.to_string()))
            .collect::<BTreeMap<_, _>>();
        let seen = with_problems(&read, &decided);
        let mut rows = container_rows(&own.agent, &picture.containers, &seen);
        rows.extend(conflict_rows(own, picture, &conflicts));
        Ok(Self { events: decided.events, rows, containers: seen, conflicts })
    }

    /// Decisions that leave containers as they are.
    pub fn of_routes(picture: &Picture, events: Vec<Event>) -> Self {
        let (containers, conflicts) = (picture.containers.clone(), picture.conflicts.clone());
        Self { events, rows: Vec::new(), containers, conflicts }
    }

    /// What is to be written, if the agent still stands as `picture` says and its stream of routes still ends there.
    pub fn batch(&self, own: &Own, by: &str, picture: &Picture) -> Batch {
        let mut batch = own.env.batch(by).assume(own.stands_at(picture.standing.version));
        if !self.events.is_empty() {
            let end = Expected::Version(picture.version);
            batch = batch.append(Stream::routes(&own.agent), end, self.events.clone());
        }
        batch.rows.clone_from(&self.rows);
        batch
    }
}

/// Returns the containers that run after these changes.
fn after(known: &BTreeMap<ContainerId, Seen>, changes: &[Change]) -> BTreeMap<ContainerId, Container> {
    let mut containers: BTreeMap<_, _> =
        known.iter().map(|(id, seen)| (id.clone(), seen.container.clone())).collect();
    for change in changes {
        match change {
            Change::All(all) => containers = all.iter().map(|c| (c.id.clone(), c.clone())).collect(),
            Change::Seen(container) => {
                containers.insert(container.id.clone(), container.clone());
            }
            Change::Gone(id) => {
                containers.remove(id);
            }
        }
    }
    containers
}

/// Reads what the containers ask for. Those that hold routes come first, so that no other one takes their share.
async fn read_all<'a>(
    own: &Own,
    picture: &Picture,
    containers: &'a BTreeMap<ContainerId, Container>,
) -> Vec<(&'a Container, Labels)> {
    let holders: HashSet<&str> = picture.routes.iter().map(|route| route.container_name.as_str()).collect();
    let mut sorted: Vec<&Container> = containers.values().collect();
    sorted.sort_by_key(|container| {
        (!holders.contains(container.name.as_str()), &container.name, &container.id)
    });
    let prefix = own.env.settings.label_prefix.as_deref();
    let (mut allowance, mut at_a_stretch) = (Allowance::default(), 0);
    let mut read = Vec::with_capacity(sorted.len());
    for container in sorted {
        at_a_stretch += container.labels.len();
        if at_a_stretch > STRETCH {
            at_a_stretch = 0;
            tokio::task::yield_now().await;
        }
        read.push((container, allowance.read(&container.labels, prefix)));
    }
    read
}

async fn claims_of_others(own: &Own, running: &[Running]) -> Result<BTreeMap<String, AgentId>, MasterError> {
    let hostnames: BTreeSet<&String> =
        running.iter().flat_map(|r| r.services.iter().map(|service| &service.key.hostname)).collect();
    let hostnames: Vec<String> = hostnames.into_iter().cloned().collect();
    let mut others = BTreeMap::new();
    // Looked up in bites: one query takes a limited number of names.
    for names in hostnames.chunks(500) {
        let claims = db::routes::list_claims(&own.env.db, names).await?;
        others.extend(claims.into_iter().filter(|(_, by)| *by != own.agent));
    }
    Ok(others)
}

fn with_problems(read: &[(&Container, Labels)], decided: &Decided) -> BTreeMap<ContainerId, Seen> {
    let mut refused: HashMap<&ContainerId, Vec<&Conflict>> = HashMap::new();
    for conflict in &decided.conflicts {
        refused.entry(&conflict.container_id).or_default().push(conflict);
    }
    let seen = read.iter().map(|(container, labels)| {
        let of_labels = labels.problems.iter().map(|problem| ContainerProblem {
            label: problem.label.clone(),
            value: problem.value.clone(),
            reason: problem.reason.clone(),
        });
        let of_claims = refused.get(&container.id).into_iter().flatten();
        let of_claims = of_claims.map(|conflict| ContainerProblem {
            label: "hostname".into(),
            value: conflict.wanted.key.to_string(),
            reason: conflict.reason.to_string(),
        });
        let problems = of_labels.chain(of_claims).collect();
        (container.id.clone(), Seen { container: (*container).clone(), problems })
    });
    seen.collect()
}

fn container_rows(
    agent: &AgentId,
    known: &BTreeMap<ContainerId, Seen>,
    seen: &BTreeMap<ContainerId, Seen>,
) -> Vec<RowChange> {
    let gone = known.keys().filter(|id| !seen.contains_key(id));
    let gone =
        gone.map(|id| RowChange::DeleteContainer { agent_id: agent.clone(), container_id: id.clone() });
    let changed = seen.iter().filter(|(id, now)| known.get(*id) != Some(*now));
    let changed = changed.map(|(_, seen)| RowChange::PutContainer {
        agent_id: agent.clone(),
        container: seen.container.clone(),
        problems: seen.problems.clone(),
    });
    gone.chain(changed).collect()
}

fn conflict_rows(own: &Own, picture: &Picture, conflicts: &BTreeMap<RouteKey, String>) -> Vec<RowChange> {
    // A route that was given meanwhile gets its row from the publisher; ours is in its way until then.
    let gone = picture.conflicts.keys().filter(|key| !conflicts.contains_key(key));
    let gone = gone.map(|key| RowChange::DeleteRouteStatus { agent_id: own.agent.clone(), key: key.clone() });
    // Between two containers of this agent the route itself is held: its state is the publisher's to tell.
    let held: HashSet<&RouteKey> = picture.routes.iter().map(|route| &route.spec.key).collect();
    let new = conflicts
        .iter()
        .filter(|(key, reason)| picture.conflicts.get(*key) != Some(*reason) && !held.contains(key));
    let new = new.map(|(key, reason)| {
        RowChange::PutRouteStatus(RouteStatusRow {
            agent_id: own.agent.clone(),
            key: key.clone(),
            state: CONFLICT.into(),
            reason: Some(reason.clone()),
            answer: None,
            updated_at: own.env.now(),
        })
    });
    gone.chain(new).collect()
}
